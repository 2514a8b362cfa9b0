"""Training the temporal head on what a frozen frame model says of composed streams."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from convert import interface, models, steadiness, streams
from convert.compare import Embedded, compare
from convert.data import Data, Tiles, normalise
from convert.interface import Interface
from convert.run import Figures, StreamReport, TrainingRecord, sha256_of, write_record
from convert.steadiness import Spans
from convert.streams import LEARNING, StreamSettings
from convert.train import begin, load_network, loop, resumed, seeded
from edge.datatypes import Float32Array

MEASURED_STREAMS = 600
"""Of `val`, to fit the temperature of a head that was trained elsewhere."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What decides how a head comes out, besides the data, the frame model and the streams.

    The loss is the cross-entropy and, `steadiness` times, `steadiness.excess`: how far the answer
    wanders while nothing changes.

    Attributes
    ----------
    embedding_dropout : float
        Share of each embedding that is hidden while training: the frame model is surer of the
        faces it learned from than of any it will meet.
    warm_up : int
        Batches over which the learning rate rises.
    steadiness : float
        In nats, what it costs to go from one answer to another and half of the way back; per
        step, as the cross-entropy is.
    sharpness : float
        What the logits are multiplied by before their wandering is measured. Of 1, a head escapes
        by being unsure; the larger, the more only the answer itself counts, and the less there is
        to learn from.
    steady_from, steady_whole : float
        Shares of the training at which `steadiness` begins to count, and counts in full. A head
        that has not learned yet what to answer finds peace in always answering the same.
    """

    epochs: int = 30
    seed: int = 1
    batch: int = 64
    train_streams: int = 3600
    val_streams: int = 600
    learning_rate: float = 3e-3
    warm_up: int = 50
    weight_decay: float = 1e-3
    embedding_dropout: float = 0.4
    steadiness: float = 40.0
    sharpness: float = 2.0
    steady_from: float = 0.1
    steady_whole: float = 0.7

    def weight(self, share: float) -> float:
        """Return what steadiness weighs when so much of the training, 0 to 1, is done.

        Examples
        --------
        >>> [round(HeadSettings().weight(share), 3) for share in (0.0, 0.1, 0.4, 0.7, 1.0)]
        [0.0, 0.0, 20.0, 40.0, 40.0]
        """
        risen = (share - self.steady_from) / (self.steady_whole - self.steady_from)
        return self.steadiness * min(1.0, max(0.0, risen))


def train_head(
    run: Path,
    faces: Data,
    settings: HeadSettings,
    composition: StreamSettings = LEARNING,
) -> tuple[TrainingRecord, StreamReport]:
    """Train the head for the frame model in a run folder, then fit its temperature.

    Leaves `head.keras`, `head.json` and `streams.json`; resumes as `train.train` does. The epoch
    that is kept is the one of least loss on streams of `val`, steadiness in full: accuracy alone
    would choose a restless one.

    Raises
    ------
    RunError
        The folder has no frame model, or holds a head begun otherwise.
    """
    frame = load_network(run / "frame.keras")
    taken = interface.read(run)
    chosen = dataclasses.asdict(settings) | flat("stream", dataclasses.asdict(composition))
    chosen |= {"stream_slowest_fps": streams.SLOWEST, "stream_fastest_fps": streams.FASTEST}
    fresh = begin(chosen | {"frame_sha256": sha256_of(run / "frame.keras")}, faces)
    # Composing takes minutes; a folder of another run is refused before.
    resumed(run / "head.json", fresh)
    seeded(settings.seed)
    seen = functools.partial(embed, frame, taken, settings=composition)
    learn = seen(faces.train, settings.train_streams, seed=[settings.seed, 0])
    check = seen(faces.val, settings.val_streams, seed=[settings.seed, 1])
    parts, batches = steadiness.spans(learn.stretch), -(-settings.train_streams // settings.batch)

    def epoch(trainee: keras.Model, number: int) -> Figures:
        random = np.random.default_rng([settings.seed, number])
        step = through_time(trainee, settings.embedding_dropout, settings.sharpness)
        terms = []
        order = np.array_split(random.permutation(len(learn.embeddings)), batches)
        for place, some in enumerate(order, (number - 1) * batches):
            weight = np.float32(settings.weight(place / (batches * settings.epochs)))
            seed = random.integers(2**31, size=2)
            batch = learn.embeddings[some], learn.targets[some], parts.of(some), weight, seed
            terms.append(step(*tf.nest.map_structure(tf.constant, batch)))
        entropy, wandering = np.mean(terms, axis=0).tolist()
        held_out = validate(free_run(trainee, check.embeddings)[0], check, settings)
        return {"train_loss": entropy, "train_wandering": wandering, **held_out}

    network = models.gru_step(frame.outputs[0].shape[1], len(taken.labels))
    step = compiled(network, settings, batches=batches)
    record = loop(
        run, "head", fresh, step, epoch,
        whole=lambda trainee: trainee, worth=lambda figures: -figures["val_loss"],
    )  # fmt: skip
    logits, _ = free_run(load_network(run / "head.keras"), check.embeddings)
    report = compare(check, logits)
    write_record(run / "streams.json", report)
    return record, report


def compiled(step: keras.Model, settings: HeadSettings, *, batches: int) -> keras.Model:
    """Return a head made ready for epochs of so many batches."""
    total = batches * settings.epochs
    warm_up = min(settings.warm_up, total // 2)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, total - warm_up, alpha=0.01, warmup_target=settings.learning_rate, warmup_steps=warm_up
    )
    step.compile(
        keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, global_clipnorm=1.0)
    )
    # Its state exists from here on, so that a saved head holds it.
    step.optimizer.build(step.trainable_variables)
    return step


def validate(logits: Float32Array, seen: Embedded, settings: HeadSettings) -> Figures:
    """Measure what a head says of streams it does not learn from, [streams, steps, labels].

    `val_loss` is with steadiness in full.
    """
    report = compare(seen, logits, temperature=1.0)
    parts = steadiness.spans(seen.stretch)
    entropy, wandering = map(float, loss_terms(logits, seen.targets, parts, settings.sharpness))
    return {
        "val_loss": entropy + settings.steadiness * wandering,
        "val_wandering": wandering,
        "val_accuracy": report.head_accuracy,
        "val_flips_a_minute": report.head_flips_a_minute,
    }


def embed(
    frame: keras.Model,
    taken: Interface,
    tiles: Tiles,
    count: int,
    *,
    settings: StreamSettings,
    seed: list[int],
) -> Embedded:
    """Compose `count` streams and run the frame model over what the head is given of them.

    Each has its own frame rate. Stream `i` depends on the seed and `i` alone. Where the detector
    missed the face, the head steps on the embedding that was newest then, as on the device.
    """
    rows: list[tuple[npt.NDArray[Any], ...]] = []
    for index in tqdm(range(count), "compose", file=sys.stderr):
        random = np.random.default_rng([*seed, index])
        fps = streams.frame_rate(random)
        stream = streams.compose(tiles, settings, random, len(taken.labels), fps=fps)
        when = streams.ticks(stream, settings.steps)
        real = normalise(stream.pixels[when.seen], taken.mean, taken.std)
        embedding, logits = frame.predict_on_batch(real)
        rows.append((embedding, logits, stream.targets[when.shown], stream.stretch[when.shown]))
    return Embedded(*(np.stack(each) for each in zip(*rows, strict=True)))


def flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of settings as one record.

    Examples
    --------
    >>> flat("stream", {"seconds": 8.0, "motion": {"calm": 0.7}})
    {'stream_seconds': 8.0, 'stream_motion_calm': 0.7}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}_{name}"
        found |= flat(key, value) if isinstance(value, Mapping) else {key: value}
    return found


def measure(run: Path, faces: Data) -> StreamReport:
    """Measure a head that was not trained here on composed streams of `val`.

    Its temperature is fitted there. Leaves `streams.json`.

    Raises
    ------
    RunError
        The run folder lacks a network.
    """
    frame, head = (load_network(run / f"{stem}.keras") for stem in ("frame", "head"))
    taken = interface.read(run)
    seen = embed(
        frame, taken, faces.val, MEASURED_STREAMS, settings=LEARNING, seed=[1, 1]
    )  # fmt: skip
    report = compare(seen, free_run(head, seen.embeddings)[0])
    write_record(run / "streams.json", report)
    return report


def free_run(
    head: keras.Model, embeddings: Float32Array
) -> tuple[Float32Array, list[Float32Array]]:
    """Run a head over embeddings, float32 [streams, steps, width], from states of zero.

    Returns
    -------
    float32 array, [streams, steps, labels]
        The logits.
    list of float32 array, [steps, streams, units]
        Each state after each step.
    """
    step = tf.function(lambda *inputs: head(list(inputs), training=False))
    states = [
        np.zeros((len(embeddings), tensor.shape[1]), np.float32) for tensor in head.inputs[1:]
    ]
    logits, kept = [], []
    for index in range(embeddings.shape[1]):
        answer, *states = step(embeddings[:, index], *states)
        logits.append(np.array(answer))
        kept.append([np.array(each) for each in states])
    return np.stack(logits, axis=1), [np.stack(each) for each in zip(*kept, strict=True)]


@functools.lru_cache(maxsize=1)
def through_time(step: keras.Model, dropout: float, sharpness: float) -> Callable[..., Any]:
    """Return a compiled function that trains a head by backpropagation through time.

    Werbos, "Backpropagation through time: what it does and how to do it", 1990, over whole
    streams. The function takes embeddings, [streams, steps, width], targets, [streams, steps,
    labels], their `steadiness.Spans`, what wandering weighs, and a seed of two integers for what is
    hidden of the embeddings; it returns the two terms of `loss_terms`.
    """

    @tf.function  # type: ignore[untyped-decorator]  # tensorflow publishes no types
    def train(
        embeddings: tf.Tensor, targets: tf.Tensor, parts: Spans, weight: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        kept = tf.random.stateless_uniform(tf.shape(embeddings), seed) >= dropout
        shown = tf.where(kept, embeddings / (1 - dropout), 0.0)
        with tf.GradientTape() as tape:
            state = tf.zeros([tf.shape(embeddings)[0], models.HIDDEN])
            answers = []
            for index in range(embeddings.shape[1]):
                logits, state = step([shown[:, index], state], training=True)
                answers.append(logits)
            entropy, wandering = loss_terms(tf.stack(answers, axis=1), targets, parts, sharpness)
            loss = entropy + weight * wandering
        variables = step.trainable_variables
        step.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return entropy, wandering

    return train  # type: ignore[no-any-return]  # likewise


def loss_terms(
    logits: tf.Tensor, targets: tf.Tensor, parts: Spans, sharpness: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a head's cross-entropy, in nats a step, and `steadiness.excess` of its answers.

    Logits and targets are [streams, steps, labels]; see `HeadSettings` for the sharpness.
    """
    entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
    return entropy, steadiness.excess(tf.nn.softmax(sharpness * logits), parts)
