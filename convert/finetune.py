"""A frame model is trained a little further, so that int8 answers as its source does.

For networks that post-training quantisation hurts. Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 3: training goes
through a simulation of the int8 file (`convert.simulation`), so that the weights come to suit it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from convert.data import Labels
from convert.errors import DataError, RunError
from convert.folding import plan_of
from convert.rounding import Tensor
from convert.simulation import RANGES, Simulation
from convert.train import seeded
from edge.datatypes import Float32Array

_KEPT_ASIDE = 10
"""One tile in so many is not trained on, and chooses the best epoch."""

_FEWEST = 2

_STEPS_A_RANGE = 20
"""After so many batches the converter's ranges are worked out again."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """What decides how fine-tuning comes out, besides the network and the tiles.

    Attributes
    ----------
    epochs : int
        Times through the tiles.
    seed : int
        Of their order; same settings and data, same weights.
    batch : int
        Tiles a step.
    learning_rate : float
        Relative to the size of a unit's weights; falls to nothing along a half cosine.
    label_weight : float
        Of the cross-entropy of the labels, beside the distillation.
    embedding_weight : float
        Of the embedding's distance from the source's, beside the distillation.
    percentile : float or None
        Which share of each tensor's values its range holds, in percent, if the converter will be
        told the same; None for all.
    """

    epochs: int = 3
    seed: int = 1
    batch: int = 128
    learning_rate: float = 1e-3
    label_weight: float = 0.005
    embedding_weight: float = 1.0
    percentile: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Lessons:
    """Tiles and what is wanted of them: labels, and the source's embeddings and logits."""

    pixels: Float32Array
    labels: Labels
    embeddings: Float32Array
    logits: Float32Array

    def of(self, chosen: Indices) -> _Lessons:
        return _Lessons(
            self.pixels[chosen], self.labels[chosen], self.embeddings[chosen], self.logits[chosen]
        )


def finetune(
    frame: keras.Model,
    pixels: Float32Array,
    labels: Labels,
    calibration: Float32Array,
    settings: FinetuneSettings,
) -> keras.Model:
    """Return a network whose int8 file answers more like a float frame model than its own does.

    The loss is above all distillation (Hinton et al., "Distilling the Knowledge in a Neural
    Network", 2015, section 2, at temperature 1): the parity gates compare the int8 file with the
    source, right or wrong, so labels that it does not share pull away from what is wanted. They
    keep a small weight, for what the source is unsure of. The embedding is held to the source's
    as well, for a head may have been trained on it.

    Ranges are neither averaged nor learned, as they are in section 3.1 of Jacob et al.: the
    converter will take them from the calibration again, so the simulation does too, every few
    batches.

    Parameters
    ----------
    frame
        From `face`, float32 [n, size, size, 1], to embedding and logits; left as it is.
    pixels
        Normalised tiles to train on, float32 [n, size, size, 1].
    labels
        Indices, int64 [n].
    calibration
        What the converter will be calibrated on, float32 [n, size, size, 1], its extremes
        included: see `quantise.pinned`.
    settings
        How.

    Returns
    -------
    keras.Model
        With the same input and outputs, its batch normalisation folded into the layers before it
        and without dropout. Of all epochs, and of no training at all, the one whose simulation
        is nearest to the source on the tiles kept aside.

    Raises
    ------
    ConversionError
        A layer's int8 arithmetic is not known; the message names it.
    DataError
        There are not two tiles, one to learn from and one to measure by.
    RunError
        Training diverged.
    """
    if len(labels) < _FEWEST:
        raise DataError(f"{len(labels)} tiles to fine-tune on; give some hundreds")
    seeded(settings.seed)
    simulation = Simulation(plan_of(frame), calibration, settings.percentile)
    embeddings, logits = frame.predict(pixels, batch_size=512, verbose=0)
    lessons = _Lessons(pixels, labels, embeddings, logits)
    aside = np.arange(0, len(labels), _KEPT_ASIDE)
    shown = np.setdiff1d(np.arange(len(labels)), aside)
    tuning = _Tuning(simulation, settings, lessons.of(shown), lessons.of(aside))
    return simulation.plan.network(tuning.best())


class _Tuning:
    """The training loop."""

    def __init__(
        self, simulation: Simulation, settings: FinetuneSettings, lessons: _Lessons, aside: _Lessons
    ) -> None:
        self._simulation, self._settings = simulation, settings
        self._lessons, self._aside = lessons, aside
        self._batches = -(-len(lessons.labels) // settings.batch)
        steps = max(1, self._batches * settings.epochs)
        self._optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
        )
        self._optimizer.build(simulation.weights)
        # The embedding's own spread is the measure of its error.
        self._spread = float(np.mean(np.var(aside.embeddings, axis=0))) or 1.0
        arrays = (lessons.pixels, lessons.labels, lessons.embeddings, lessons.logits)
        given = [tf.TensorSpec([None, *each.shape[1:]], each.dtype) for each in arrays]
        self._stepping = tf.function(self._step, [*given, RANGES], autograph=False)

    def best(self) -> list[list[Float32Array]]:
        """Train; return the weights of the best epoch, as `Plan.network` takes them."""
        lowest, agreed = self._measure()
        chosen = self._simulation.trained()
        tqdm.write(f"before: distance={lowest:.4f} agreement={agreed:.3f}", file=sys.stderr)
        total = self._settings.epochs * self._batches
        with tqdm(total=total, desc="fine-tune", file=sys.stderr) as bar:
            for number in range(1, self._settings.epochs + 1):
                loss = self._epoch(number, bar)
                distance, agreed = self._measure()
                _finite(distance, number)
                tqdm.write(
                    f"epoch {number}: loss={loss:.4f} distance={distance:.4f} "
                    f"agreement={agreed:.3f}",
                    file=sys.stderr,
                )
                if distance < lowest:
                    lowest, chosen = distance, self._simulation.trained()
        return chosen

    def _epoch(self, number: int, bar: tqdm[None]) -> float:
        """Train once through the tiles; return the mean loss."""
        random = np.random.default_rng([self._settings.seed, number])
        order = random.permutation(len(self._lessons.labels))
        losses, ranges = [], self._simulation.ranges()
        for index in range(self._batches):
            if index and index % _STEPS_A_RANGE == 0:
                ranges = self._simulation.ranges()
            batch = self._lessons.of(order[index * self._settings.batch :][: self._settings.batch])
            loss = float(
                self._stepping(batch.pixels, batch.labels, batch.embeddings, batch.logits, ranges)
            )
            losses.append(_finite(loss, number))
            bar.update()
        return float(np.mean(losses))

    def _step(
        self, pixels: Tensor, labels: Tensor, embeddings: Tensor, logits: Tensor, ranges: Tensor
    ) -> Tensor:
        """Train on one batch; return its loss."""
        weights = [each.value for each in self._simulation.weights]
        with tf.GradientTape() as tape:
            answers = self._simulation.answers(pixels, ranges)
            likelihoods = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers[1])
            loss = self._distance(answers, (embeddings, logits))
            loss += self._settings.label_weight * tf.reduce_mean(likelihoods)
        gradients = tape.gradient(loss, weights)
        self._optimizer.apply(gradients, self._simulation.weights)
        return loss

    def _distance(self, answers: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> Tensor:
        """Return how far answers lie from the source's: nats, and shares of the variance."""
        log_answer, log_source = (tf.nn.log_softmax(each[1]) for each in (answers, wanted))
        divergence = tf.reduce_sum(tf.exp(log_source) * (log_source - log_answer), axis=1)
        astray = tf.reduce_mean(tf.square(answers[0] - wanted[0])) / self._spread
        return tf.reduce_mean(divergence) + self._settings.embedding_weight * astray

    def _measure(self) -> tuple[float, float]:
        """Return distance and agreement of the simulation on the tiles kept aside."""
        aside = self._aside
        answers = self._simulation.predict(aside.pixels, self._simulation.ranges())
        agreed = answers[1].argmax(axis=1) == aside.logits.argmax(axis=1)
        distance = self._distance(answers, (aside.embeddings, aside.logits))
        return float(distance), float(agreed.mean())


def _finite(loss: float, epoch: int) -> float:
    """Return a loss.

    Raises
    ------
    RunError
        It is not a finite number.
    """
    if not math.isfinite(loss):
        raise RunError(
            f"fine-tuning diverged in epoch {epoch}; lower its learning rate, or quantise without "
            "--finetune"
        )
    return loss
