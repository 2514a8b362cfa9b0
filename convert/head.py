"""Training the temporal head on what a frozen frame model says of composed streams."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from convert import metrics, models, streams
from convert.data import LABELS, Data, Tiles, normalise
from convert.run import Figures, StreamReport, TrainingRecord, sha256_of, write_record
from convert.streams import STEP_HZ, Stream, StreamSettings
from convert.train import begin, load_network, loop, resumed, seeded
from edge.datatypes import Float32Array
from edge.networks import softmax

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.6)


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


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Streams as a frame model sees them.

    Attributes
    ----------
    embeddings : float32 array, [streams, steps, 128]
    frame_logits : float32 array, [streams, steps, labels]
    targets : float32 array, [streams, steps, labels]
    stretch : int64 array, [streams, steps]
        As in `streams.Stream`.
    """

    embeddings: Float32Array
    frame_logits: Float32Array
    targets: Float32Array
    stretch: npt.NDArray[np.int64]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label that most of the picture shows, [streams, steps]."""
        return np.asarray(np.argmax(self.targets, axis=2), dtype=np.int64)


def train_head(
    run: Path,
    faces: Data,
    settings: HeadSettings,
    composition: StreamSettings = StreamSettings(),  # noqa: B008  # frozen
) -> tuple[TrainingRecord, StreamReport]:
    """Train the head for the frame model in a run folder, then fit its temperature.

    Leaves `head.keras`, `head.json` and `streams.json`; resumes as `train.train` does.

    Raises
    ------
    RunError
        The folder has no frame model, or holds a head begun otherwise.
    """
    frame = load_network(run / "frame.keras")
    chosen = dataclasses.asdict(settings) | {
        f"stream_{name}": value for name, value in dataclasses.asdict(composition).items()
    }
    fresh = begin(chosen | {"frame_sha256": sha256_of(run / "frame.keras")}, faces)
    # Composing takes minutes; a folder of another run is refused before.
    resumed(run / "head.json", fresh)
    seeded(settings.seed)
    learn = embed(frame, faces.train, settings.train_streams, composition, [settings.seed, 0])
    check = embed(frame, faces.val, settings.val_streams, composition, [settings.seed, 1])
    batches = -(-settings.train_streams // settings.batch)

    def epoch(trainee: keras.Model, number: int) -> Figures:
        random = np.random.default_rng([settings.seed, number])
        learn_from = through_time(trainee, settings.embedding_dropout)
        losses = []
        for some in np.array_split(random.permutation(len(learn.embeddings)), batches):
            seed = random.integers(2**31, size=2)
            batch = learn.embeddings[some], learn.targets[some], seed
            losses.append(float(learn_from(*map(tf.constant, batch))))
        report = compare(check, unrolled(trainee, check.embeddings), temperature=1.0)
        return {
            "train_loss": float(np.mean(losses)),
            "val_accuracy": report.head_accuracy,
            "val_flips_a_minute": report.head_flips_a_minute,
        }

    step = compiled(settings, batches=batches)
    record = loop(run, "head", fresh, step, epoch, whole=lambda trainee: trainee)
    report = compare(check, unrolled(load_network(run / "head.keras"), check.embeddings))
    write_record(run / "streams.json", report)
    return record, report


def compiled(settings: HeadSettings, *, batches: int) -> keras.Model:
    """Return a new head, ready for epochs of so many batches."""
    step = models.gru_step()
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, batches * settings.epochs, alpha=0.01
    )
    step.compile(keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, clipnorm=1.0))
    # Its state exists from here on, so that a saved head holds it.
    step.optimizer.build(step.trainable_variables)
    return step


def embed(
    frame: keras.Model, tiles: Tiles, count: int, settings: StreamSettings, seed: list[int]
) -> Embedded:
    """Compose `count` streams and run the frame model over them.

    Stream `i` depends on the seed and `i` alone.
    """
    rows: list[tuple[Float32Array, Float32Array, Stream]] = []
    for index in tqdm(range(count), "compose", file=sys.stderr):
        stream = streams.compose(tiles, settings, np.random.default_rng([*seed, index]))
        embedding, logits = frame.predict_on_batch(normalise(stream.pixels))
        rows.append((embedding, logits, stream))
    return Embedded(
        np.stack([embedding for embedding, _, _ in rows]),
        np.stack([logits for _, logits, _ in rows]),
        np.stack([stream.targets for _, _, stream in rows]),
        np.stack([stream.stretch for _, _, stream in rows]),
    )


def unrolled(step: keras.Model, embeddings: Float32Array) -> Float32Array:
    """Run a head over streams, [streams, steps, 128], and return its logits."""
    state = np.zeros((len(embeddings), models.HIDDEN), np.float32)
    logits = np.empty((*embeddings.shape[:2], len(LABELS)), np.float32)
    for index in range(embeddings.shape[1]):
        logits[:, index], state = step.predict_on_batch([embeddings[:, index], state])
    return logits


def compare(seen: Embedded, logits: Float32Array, temperature: float | None = None) -> StreamReport:
    """Measure the head's logits beside the frame model's; fit the temperature unless given."""
    steady = seen.stretch >= 0
    truth = seen.labels
    answers, alone = logits.argmax(axis=2), seen.frame_logits.argmax(axis=2)
    if temperature is None:
        temperature = metrics.fit_temperature(logits[steady], truth[steady])
    probabilities = softmax(logits[steady], temperature)
    before = softmax(logits[steady], 1.0)
    return StreamReport(
        streams=len(truth),
        steps=truth.shape[1],
        frame_accuracy=float((alone == truth)[steady].mean()),
        head_accuracy=float((answers == truth)[steady].mean()),
        frame_flips_a_minute=metrics.flips_a_minute(alone, seen.stretch, STEP_HZ),
        head_flips_a_minute=metrics.flips_a_minute(answers, seen.stretch, STEP_HZ),
        temperature=temperature,
        ece_before=metrics.calibration_error(before, truth[steady]),
        ece=metrics.calibration_error(probabilities, truth[steady]),
        coverage=metrics.coverage(probabilities, truth[steady], THRESHOLDS),
    )


@functools.lru_cache(maxsize=1)
def through_time(step: keras.Model, dropout: float) -> Callable[..., tf.Tensor]:
    """Return a compiled function that trains a head by backpropagation through time.

    Werbos, "Backpropagation through time: what it does and how to do it", 1990, over whole
    streams. The function takes embeddings, [streams, steps, 128], targets, [streams, steps,
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
