"""Doubt that can be believed: temperatures by cross-fitting, and when to answer `unsure`.

A temperature that is fitted and judged on the same faces is judged too kindly. The stills of `val`
are therefore parted into folds, every stream is composed of the stills of one fold, and each fold
is judged with the temperature that the others gave ("cross-fitting"; Chernozhukov et al.,
"Double/debiased machine learning", 2018, section 1; for calibration it is the cross-validation of
Platt, "Probabilistic outputs for support vector machines", 1999, section 2.1). The temperature that
ships is fitted on all folds; the error that is told is the cross-fitted one.

Below which confidence to abstain follows from what a wrong answer costs (Chow, "On optimum
recognition error and reject tradeoff", 1970): if it takes away as much as a right one gives and
`unsure` does neither, the best threshold is where answers begin to be right more often than wrong.
The threshold is not set to a half but read off the measured curve: the one with the most right
less wrong answers. That is where the isotonic regression of right on confidence crosses a half
(Barlow et al., "Statistical inference under order restrictions", 1972), so that a network which is
surer than right where it doubts most has to abstain earlier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert import metrics
from convert.data import Labels
from convert.metrics import Interval
from convert.run import Certainty, Doubt
from edge.datatypes import Float32Array
from edge.networks import softmax

FOLDS = 5
MOST_ERROR = 0.03
"""What the cross-fitted calibration error of a bundle that comes with Mien may be."""

THRESHOLDS = tuple(round(0.15 + 0.01 * index, 2) for index in range(81))
"""Of the curve: 0.15 is hardly above chance, and beyond 0.95 nearly nothing is answered."""


@dataclass(frozen=True, slots=True, eq=False)
class Crossfitted:
    """Logits made probabilities, each with a temperature that its own fold had no part in.

    Attributes
    ----------
    temperature : float
        Fitted on all.
    temperatures : tuple of float
        Fitted without each fold, in their order.
    probabilities : float32 array, [n, labels]
        Cross-fitted.
    """

    temperature: float
    temperatures: tuple[float, ...]
    probabilities: Float32Array


def folded(labels: Labels, folds: int = FOLDS, seed: int = 1) -> Labels:
    """Part stills into folds by chance, as many of each label in each as may be.

    Returns
    -------
    int64 array, [n]
        The fold of each, from 0; of as many folds as there are stills at most.

    Examples
    --------
    >>> folded(np.array([0, 0, 1, 1, 1, 1]), 2).tolist()
    [0, 1, 1, 1, 0, 0]
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(labels)) % min(folds, len(labels))
    return found


def crossfit(logits: Float32Array, labels: Labels, folds: Labels) -> Crossfitted:
    """Fit temperatures with each fold held out.

    Parameters
    ----------
    logits, labels, folds
        Float32 [n, labels]; the true labels, [n]; the fold of each, [n].

    Returns
    -------
    Crossfitted
        Where there is but one fold, it is fitted on itself.
    """
    whole = metrics.fit_temperature(logits, labels)
    probabilities, temperatures = np.empty_like(logits), []
    for fold in np.unique(folds):
        inside = folds == fold
        others = ~inside
        temperature = (
            metrics.fit_temperature(logits[others], labels[others]) if others.any() else whole
        )
        probabilities[inside] = softmax(logits[inside], temperature)
        temperatures.append(temperature)
    return Crossfitted(whole, tuple(temperatures), probabilities)


def certainty(
    logits: Float32Array, labels: Labels, fitted: Crossfitted, streams: Labels
) -> Certainty:
    """Measure how well a network knows how often it is right, on steps of `streams`, [n]."""

    def error(temperature: float) -> float:
        return metrics.calibration_error(softmax(logits, temperature), labels)

    return Certainty(
        temperature=fitted.temperature,
        fold_temperatures=fitted.temperatures,
        ece_before=error(1.0),
        ece_fitted=error(fitted.temperature),
        ece=metrics.calibration_error(fitted.probabilities, labels),
        ece_interval=error_interval(fitted.probabilities, labels, streams),
        reliability=metrics.reliability(fitted.probabilities, labels),
    )


def error_interval(
    probabilities: Float32Array,
    labels: Labels,
    streams: Labels,
    resamples: int = metrics.RESAMPLES,
    seed: int = 1,
) -> Interval:
    """Return the 95 % interval of a calibration error, by bootstrap over streams.

    Steps of one stream show the same few faces, so that whole streams are drawn (Davison and
    Hinkley, "Bootstrap methods and their application", 1997, section 3.8). Chance makes bins miss
    by more, never by less: the interval leans to the high side.

    Parameters
    ----------
    probabilities, labels
        Float32 [n, labels]; the true labels, [n].
    streams
        To which stream each belongs, [n], from 0.
    resamples, seed
        Of the bootstrap.
    """
    confidence, right, places = metrics.binned(probabilities, labels)
    count = int(streams.max()) + 1
    gaps = np.zeros((count, metrics.BINS))
    np.add.at(gaps, (streams, places), right - confidence.astype(np.float64))
    steps = np.bincount(streams, minlength=count)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    errors = [np.abs(gaps[each].sum(axis=0)).sum() / steps[each].sum() for each in drawn]
    low, high = np.percentile(errors, (2.5, 97.5)).tolist()
    return low, high


def doubt(
    head: Float32Array,
    frame: Float32Array,
    labels: Labels,
    stretch: npt.NDArray[np.int64],
    folds: Labels,
) -> Doubt:
    """Measure a head, and the frame model alone, on streams that were each composed of one fold.

    Parameters
    ----------
    head, frame
        Logits, float32 [streams, steps, labels].
    labels, stretch
        What is shown, [streams, steps]; see `compare.Embedded`. Only steps that show one still
        alone count.
    folds
        Of each stream, [streams].
    """
    steady = stretch >= 0
    truth = labels[steady]
    number = np.nonzero(steady)[0]
    fold = folds[number]
    ours, alone = (crossfit(logits[steady], truth, fold) for logits in (head, frame))
    curve = metrics.coverage(ours.probabilities, truth, THRESHOLDS)
    return Doubt(
        folds=len(ours.temperatures),
        streams=len(folds),
        steps=int(steady.sum()),
        head=certainty(head[steady], truth, ours, number),
        frame=certainty(frame[steady], truth, alone, number),
        abstain_below=threshold(curve),
        curve=curve,
    )


def threshold(curve: tuple[tuple[float, float, float], ...]) -> float:
    """Return the threshold with the most right less wrong answers; of equal ones the lowest.

    Parameters
    ----------
    curve
        (threshold, share answered, accuracy of those), as `metrics.coverage` gives it.

    Examples
    --------
    >>> threshold(((0.3, 1.0, 0.6), (0.5, 0.8, 0.7), (0.9, 0.3, 0.95)))
    0.5
    """
    return max(curve, key=lambda point: round(point[1] * (2 * point[2] - 1), 9))[0]
