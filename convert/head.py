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

from convert import interface, models, streams
from convert.compare import Embedded, compare
from convert.data import Data, Tiles, normalise
from convert.interface import Interface
from convert.run import Figures, StreamReport, TrainingRecord, sha256_of, write_record
from convert.streams import LEARNING, StreamSettings
from convert.train import begin, load_network, loop, resumed, seeded
from edge.datatypes import Float32Array

MEASURED_STREAMS = 600
"""Of `val`, to fit the temperature of a head that was trained elsewhere."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What decides how a head comes out, besides the data, the frame model and the streams.

    `embedding_dropout` hides part of each embedding while training: the frame model is surer of
    the faces it learned from than of any it will meet.
    """

    epochs: int = 30
    seed: int = 1
    batch: int = 64
    train_streams: int = 2400
    val_streams: int = 600
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    embedding_dropout: float = 0.3


def train_head(
    run: Path,
    faces: Data,
    settings: HeadSettings,
    composition: StreamSettings = LEARNING,
) -> tuple[TrainingRecord, StreamReport]:
    """Train the head for the frame model in a run folder, then fit its temperature.

    Leaves `head.keras`, `head.json` and `streams.json`; resumes as `train.train` does.

    Raises
    ------
    RunError
        The folder has no frame model, or holds a head begun otherwise.
    """
    frame = load_network(run / "frame.keras")
    taken = interface.read(run)
    chosen = dataclasses.asdict(settings) | flat("stream", dataclasses.asdict(composition))
    fresh = begin(chosen | {"frame_sha256": sha256_of(run / "frame.keras")}, faces)
    # Composing takes minutes; a folder of another run is refused before.
    resumed(run / "head.json", fresh)
    seeded(settings.seed)
    seen = functools.partial(embed, frame, taken, settings=composition)
    learn = seen(faces.train, settings.train_streams, seed=[settings.seed, 0])
    check = seen(faces.val, settings.val_streams, seed=[settings.seed, 1])
    batches = -(-settings.train_streams // settings.batch)

    def epoch(trainee: keras.Model, number: int) -> Figures:
        random = np.random.default_rng([settings.seed, number])
        learn_from = through_time(trainee, settings.embedding_dropout)
        losses = []
        for some in np.array_split(random.permutation(len(learn.embeddings)), batches):
            seed = random.integers(2**31, size=2)
            batch = learn.embeddings[some], learn.targets[some], seed
            losses.append(float(learn_from(*map(tf.constant, batch))))
        logits, _ = free_run(trainee, check.embeddings)
        report = compare(check, logits, temperature=1.0)
        return {
            "train_loss": float(np.mean(losses)),
            "val_accuracy": report.head_accuracy,
            "val_flips_a_minute": report.head_flips_a_minute,
        }

    network = models.gru_step(frame.outputs[0].shape[1], len(taken.labels))
    step = compiled(network, settings, batches=batches)
    record = loop(run, "head", fresh, step, epoch, whole=lambda trainee: trainee)
    logits, _ = free_run(load_network(run / "head.keras"), check.embeddings)
    report = compare(check, logits)
    write_record(run / "streams.json", report)
    return record, report


def compiled(step: keras.Model, settings: HeadSettings, *, batches: int) -> keras.Model:
    """Return a head made ready for epochs of so many batches."""
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, batches * settings.epochs, alpha=0.01
    )
    step.compile(keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, clipnorm=1.0))
    # Its state exists from here on, so that a saved head holds it.
    step.optimizer.build(step.trainable_variables)
    return step


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

    Stream `i` depends on the seed and `i` alone. Where the detector missed the face, the head steps
    on the embedding that was newest then, as on the device.
    """
    rows: list[tuple[npt.NDArray[Any], ...]] = []
    for index in tqdm(range(count), "compose", file=sys.stderr):
        random = np.random.default_rng([*seed, index])
        stream = streams.compose(tiles, settings, random, len(taken.labels))
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
def through_time(step: keras.Model, dropout: float) -> Callable[..., tf.Tensor]:
    """Return a compiled function that trains a head by backpropagation through time.

    Werbos, "Backpropagation through time: what it does and how to do it", 1990, over whole
    streams. The function takes embeddings, [streams, steps, width], targets, [streams, steps,
    labels], and a seed of two integers for what is hidden of the embeddings; it returns the
    loss in nats a step.
    """

    @tf.function  # type: ignore[untyped-decorator]  # tensorflow publishes no types
    def train(embeddings: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        kept = tf.random.stateless_uniform(tf.shape(embeddings), seed) >= dropout
        shown = tf.where(kept, embeddings / (1 - dropout), 0.0)
        steps = embeddings.shape[1]
        with tf.GradientTape() as tape:
            state = tf.zeros([tf.shape(embeddings)[0], models.HIDDEN])
            loss = 0.0
            for index in range(steps):
                logits, state = step([shown[:, index], state], training=True)
                loss += tf.reduce_mean(
                    tf.nn.softmax_cross_entropy_with_logits(targets[:, index], logits)
                )
            loss /= steps
        variables = step.trainable_variables
        step.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return train  # type: ignore[no-any-return]  # likewise
