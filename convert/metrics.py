"""What is measured of answers; numpy in, numbers out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.data import LABELS, Labels
from edge.datatypes import Float32Array
from edge.networks import softmax


@dataclass(frozen=True, slots=True)
class Scores:
    """How well a classifier does on `n` samples; shares are 0 to 1, intervals 95 %.

    `confusion` counts samples by true label (row) and answer (column), in the order of `LABELS`.
    """

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    ece: float
    precision: dict[str, float]
    recall: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]


def score(logits: Float32Array, labels: Labels, temperature: float = 1.0) -> Scores:
    """Measure logits, [n, labels], against true labels, [n]."""
    answers = logits.argmax(axis=1)
    confusion = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    right = np.diag(confusion).astype(float)
    # A label that never occurs, or is never answered, counts as zero rather than as undefined.
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    precision = right / np.maximum(confusion.sum(axis=0), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    present = confusion.sum(axis=1) > 0
    return Scores(
        n=len(labels),
        accuracy=float(right.sum() / len(labels)),
        accuracy_interval=wilson(int(right.sum()), len(labels)),
        balanced_accuracy=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        ece=calibration_error(softmax(logits, temperature), labels),
        precision=dict(zip(LABELS, precision.tolist(), strict=True)),
        recall=dict(zip(LABELS, recall.tolist(), strict=True)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927).

    Examples
    --------
    >>> [round(end, 3) for end in wilson(60, 100)]
    [0.502, 0.691]
    """
    z = 1.959964
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def calibration_error(probabilities: Float32Array, labels: Labels, bins: int = 15) -> float:
    """Return the expected calibration error (Guo et al., 2017, equation 3), 0 to 1."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(places, weights=right - confidence.astype(float), minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def log_loss(logits: Float32Array, labels: Labels, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of the true labels, in nats."""
    probabilities = softmax(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(probabilities, 1e-12)).mean())


def fit_temperature(logits: Float32Array, labels: Labels) -> float:
    """Return the temperature under which logits are likeliest (Guo et al., 2017, section 4.2).

    The loss has one minimum in the temperature, so a golden-section search finds it.
    """
    low, high = math.log(0.05), math.log(20.0)
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(24):  # narrows the bracket to a ten-thousandth
        left, right = high - golden * (high - low), low + golden * (high - low)
        if log_loss(logits, labels, math.exp(left)) < log_loss(logits, labels, math.exp(right)):
            high = right
        else:
            low = left
    return round(math.exp((low + high) / 2), 3)


def flips_a_minute(
    answers: npt.NDArray[np.int64], stretch: npt.NDArray[np.int64], step_hz: float
) -> float:
    """Return how often the answer changes while the same still is shown.

    Parameters
    ----------
    answers
        Indices of labels, [streams, steps].
    stretch
        Which still is shown, [streams, steps]; negative where none is shown alone.
    step_hz
        Steps a second.
    """
    same = (stretch[:, 1:] == stretch[:, :-1]) & (stretch[:, 1:] >= 0)
    changed = (answers[:, 1:] != answers[:, :-1]) & same
    return float(changed.sum() / max(1, same.sum()) * step_hz * 60)


def coverage(
    probabilities: Float32Array, labels: Labels, thresholds: tuple[float, ...]
) -> tuple[tuple[float, float, float], ...]:
    """Return (threshold, share answered, accuracy of those) for each threshold."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    rows = []
    for threshold in thresholds:
        sure = confidence >= threshold
        accuracy = float(right[sure].mean()) if sure.any() else 0.0
        rows.append((threshold, float(sure.mean()), accuracy))
    return tuple(rows)
