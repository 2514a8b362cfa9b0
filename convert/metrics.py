"""What is measured of answers; numpy in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.data import LABELS, Labels
from edge.datatypes import Float32Array
from edge.networks import softmax

Float64Array = npt.NDArray[np.float64]


RESAMPLES = 1000
BINS = 15
"""Of confidence, as Guo et al. (2017) have them."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence lies from `low` to below `high`.

    There are `count` of them; `confidence` is their mean confidence, `accuracy` the share of them
    that is right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Scores:
    """How well a classifier does on `n` samples; shares are 0 to 1, intervals 95 %.

    Attributes
    ----------
    n : int
    accuracy, accuracy_interval
        The interval is Wilson's, for a share of `n` samples drawn anew.
    accuracy_bootstrap, balanced_accuracy_interval, macro_f1_interval, mse_interval
        See `bootstrapped`.
    balanced_accuracy, macro_f1
        Means, over the labels that occur, of recall and of F1.
    mse : float
        The mean over samples and labels of the squared difference of the probability and of what
        is true, 1 for the true label and 0 for the others: 0 to 2 / labels.
    brier : float
        The same summed over the labels, 0 to 2: equation 2 of Brier, "Verification of forecasts
        expressed in terms of probability", 1950.
    ece : float
        See `calibration_error`. It has no interval: chance in a resample's bins adds to the gaps
        and never takes from them, so that a bootstrap would lie above the figure itself.
    precision, recall
        Of each label, by its name, in the order of the logits.
    confusion
        Counts of samples by true label (row) and answer (column), in that order.
    reliability
        See `reliability`.
    """

    n: int
    accuracy: float
    accuracy_interval: Interval
    accuracy_bootstrap: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    mse: float
    mse_interval: Interval
    brier: float
    ece: float
    precision: dict[str, float]
    recall: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[Bin, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The labels, in the order of the logits."""
        return tuple(self.recall)


@dataclass(frozen=True, slots=True)
class Published:
    """How a model does by the protocol of published results; see `policies.by_majority`.

    Of `n` faces, `contempt` bear the label that no answer can meet; `right` of all were answered
    rightly, which is a share `accuracy` with Wilson's 95 % `interval`.
    """

    n: int
    contempt: int
    right: int
    accuracy: float
    interval: Interval


def published(logits: Float32Array, labels: Labels) -> Published:
    """Hold logits, [n, labels], against labels of which the last, one more, is contempt."""
    right, n = int((logits.argmax(axis=1) == labels).sum()), len(labels)
    contempt = int((labels == logits.shape[1]).sum())
    return Published(n, contempt, right, right / n, wilson(right, n))


def score(
    logits: Float32Array,
    labels: Labels,
    temperature: float = 1.0,
    names: Sequence[str] = LABELS,
) -> Scores:
    """Measure logits, [n, labels], against true labels, [n]; `names` are the labels' own."""
    return score_probabilities(softmax(logits, temperature), labels, names)


def score_probabilities(
    probabilities: Float32Array, labels: Labels, names: Sequence[str] = LABELS
) -> Scores:
    """Measure probabilities, [n, labels] of sum 1, against true labels, [n]."""
    answers = probabilities.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    errors = squared_errors(probabilities, labels)
    balanced, f1, recall, precision = _means(confusion[None].astype(float))
    right, n = int(np.trace(confusion)), len(labels)
    ends = bootstrapped(answers, errors, labels, len(names))
    return Scores(
        n=n,
        accuracy=right / n,
        accuracy_interval=wilson(right, n),
        accuracy_bootstrap=ends["accuracy"],
        balanced_accuracy=float(balanced[0]),
        balanced_accuracy_interval=ends["balanced_accuracy"],
        macro_f1=float(f1[0]),
        macro_f1_interval=ends["macro_f1"],
        mse=float(errors.mean()) / len(names),
        mse_interval=ends["mse"],
        brier=float(errors.mean()),
        ece=calibration_error(probabilities, labels),
        precision=dict(zip(names, precision[0].tolist(), strict=True)),
        recall=dict(zip(names, recall[0].tolist(), strict=True)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        reliability=reliability(probabilities, labels),
    )


def bootstrapped(
    answers: Labels, errors: Float64Array, labels: Labels, count: int, seed: int = 1
) -> dict[str, Interval]:
    """Return percentile bootstrap intervals, 95 %.

    Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13, over 1,000
    resamples. Each is stratified: samples are drawn with replacement within each true label, so
    that every resample has as many of each as the data has, and a rare label is never absent.
    What the intervals leave out is therefore that another data set has another mix of labels.

    Parameters
    ----------
    answers, labels
        What was answered and what is true, indices, [n].
    errors
        Of each sample, [n]; see `squared_errors`.
    count
        How many labels there are.
    seed
        The same seed and samples give the same intervals.
    """
    random = np.random.default_rng(seed)
    counts = np.zeros((RESAMPLES, count, count))
    sums = np.zeros(RESAMPLES)
    for label in np.unique(labels):
        chosen = labels == label
        rows = np.column_stack([np.eye(count)[answers[chosen]], errors[chosen]])
        for index in range(RESAMPLES):
            drawn = random.integers(len(rows), size=len(rows))
            *counts[index, label], error = np.bincount(drawn, minlength=len(rows)) @ rows
            sums[index] += error
    balanced, f1, _, _ = _means(counts)
    return {
        "accuracy": _middle(np.trace(counts, axis1=1, axis2=2) / len(labels)),
        "balanced_accuracy": _middle(balanced),
        "macro_f1": _middle(f1),
        "mse": _middle(sums / (len(labels) * count)),
    }


def _middle(values: Float64Array) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return low, high


def _means(
    confusion: Float64Array,
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return balanced accuracy and macro F1, [...], recall and precision, [..., labels].

    A label that never occurs, or is never answered, counts as zero rather than as undefined; the
    two means are over labels that occur.
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    recall = right / np.maximum(confusion.sum(axis=2), 1)
    precision = right / np.maximum(confusion.sum(axis=1), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    present = confusion[0].sum(axis=1) > 0
    return recall[:, present].mean(axis=1), f1[:, present].mean(axis=1), recall, precision


def squared_errors(probabilities: Float32Array, labels: Labels) -> Float64Array:
    """Return each sample's squared distance from the truth, summed over labels, [n], 0 to 2."""
    apart = probabilities.astype(np.float64)
    apart[np.arange(len(labels)), labels] -= 1
    return np.asarray((apart**2).sum(axis=1))


def wilson(right: int, n: int) -> Interval:
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


def matched(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return by how much a share exceeds another of the same samples, [n], and its standard error.

    Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
    2005, section 2: half a sample is added to each of the four ways in which two answers can be
    right or wrong, so that no disagreement seen does not pass for none possible. An interval is
    made of the two; the difference as seen lies a little further from zero than its middle.

    Examples
    --------
    >>> import numpy as np
    >>> middle, error = matched(np.ones(98, bool), np.ones(98, bool))
    >>> middle, round(error, 5)
    (0.0, 0.01)
    """
    n = len(first) + 2.0
    only_first = float((first & ~second).sum()) + 0.5
    only_second = float((~first & second).sum()) + 0.5
    apart = only_first - only_second
    return apart / n, math.sqrt(only_first + only_second - apart**2 / n) / n


def calibration_error(probabilities: Float32Array, labels: Labels, bins: int = BINS) -> float:
    """Return the expected calibration error (Guo et al., 2017, equation 3), 0 to 1."""
    confidence, right, places = binned(probabilities, labels, bins)
    gaps = np.bincount(places, weights=right - confidence.astype(float), minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(probabilities: Float32Array, labels: Labels, bins: int = BINS) -> tuple[Bin, ...]:
    """Return the bins of a reliability diagram (Guo et al., 2017, section 2) that hold any."""
    confidence, right, places = binned(probabilities, labels, bins)
    return tuple(
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean(dtype=float)),
            accuracy=float(right[inside].mean()),
        )
        for index in range(bins)
        if (inside := places == index).any()
    )


def binned(
    probabilities: Float32Array, labels: Labels, bins: int = BINS
) -> tuple[Float32Array, npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return the confidence of each answer, whether it is right, and its bin."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    return confidence, right, np.minimum((confidence * bins).astype(int), bins - 1)


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
