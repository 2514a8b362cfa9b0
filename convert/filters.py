"""Temporal filters without a network: what the head has to be better than.

Each takes what the frame model says of a face, look by look, and how many seconds passed since
the look before; a look that the detector missed is one that passes time and says nothing. What a
filter remembers goes in and comes out, as the head's state does. Many faces are filtered at once,
each by itself. The logits they take are calibrated: already divided by the frame model's
temperature (Guo et al., "On calibration of modern neural networks", 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from convert.data import Labels

Float64Array = npt.NDArray[np.float64]
Memory = TypeVar("Memory")

_ROUNDING = 1e-6
"""Seconds by which a time may be off."""
_TIE = 1e-6
"""Of a vote, for the answer that stands."""
_TERMS = 12
"""Of the exponential's series; at a norm of 1/4 the next one is below a double's last digit."""
_PRIOR_CHANGES = 0.5
"""How many changes from each label to each other are thought to have been seen before any were."""


class Filter(Protocol[Memory]):
    """Turns looks at faces into probabilities, one look at each of them at a time."""

    def start(self, faces: int, labels: int) -> Memory:
        """Return what is remembered of faces that were never seen."""

    def step(
        self, memory: Memory, logits: Float64Array, elapsed_s: Float64Array
    ) -> tuple[Memory, Float64Array]:
        """Take in one look at each face.

        Parameters
        ----------
        memory
            From the step before.
        logits
            float64 [faces, labels], calibrated.
        elapsed_s
            float64 [faces], above zero: seconds since the look before. Infinite for a first look,
            and for one that is to forget all that was before it.

        Returns
        -------
        Memory
            To be given to the next step.
        float64 array, [faces, labels]
            Probabilities, each row of sum 1; the answer is the likeliest label.
        """


@dataclass(frozen=True, slots=True)
class Averaging:
    """An exponentially weighted mean of probabilities, or of logits; of 0 s: no smoothing.

    Roberts, "Control chart tests based on geometric moving averages", 1959, with the weight of
    the past falling by the second rather than by the look: `exp(-elapsed / seconds)`, as in
    Zumbach and Müller, "Operators on inhomogeneous time series", 2001 (its "next point" form). A
    mean of logits is a geometric mean of probabilities.
    """

    seconds: float
    of: Literal["probabilities", "logits"] = "probabilities"

    def start(self, faces: int, labels: int) -> Float64Array:
        """Return zeros, float64 [faces, labels], which the first look replaces."""
        return np.zeros((faces, labels))

    def step(
        self, memory: Float64Array, logits: Float64Array, elapsed_s: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """See `Filter.step`."""
        of_logits = self.of == "logits"
        keep = np.exp(-elapsed_s / self.seconds)[:, None] if self.seconds else 0.0
        mean = keep * memory + (1 - keep) * (logits if of_logits else normalised(logits))
        return mean, normalised(mean) if of_logits else mean


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """The answers in a window, oldest first, and the one given last.

    Attributes
    ----------
    age_s : float64 array, [faces, looks]
    votes : float64 array, [faces, looks, labels]
        1 for the look's own answer, 0 for the others.
    standing : float64 array, [faces, labels]
        The same of the majority's last answer; zeros before the first.
    """

    age_s: Float64Array
    votes: Float64Array
    standing: Float64Array


@dataclass(frozen=True, slots=True)
class Majority:
    """What most looks of the last seconds answer; a tie leaves the answer as it was.

    Englehart and Hudgins, "A robust, real-time control scheme for multifunction myoelectric
    control", 2003, where it smooths the decisions of a classifier on a stream.
    """

    seconds: float

    def start(self, faces: int, labels: int) -> Ballots:
        """Return a window without a look in it."""
        return Ballots(
            np.zeros((faces, 0)), np.zeros((faces, 0, labels)), np.zeros((faces, labels))
        )

    def step(
        self, memory: Ballots, logits: Float64Array, elapsed_s: Float64Array
    ) -> tuple[Ballots, Float64Array]:
        """See `Filter.step`; the probabilities are shares of the votes."""
        one_hot = np.eye(logits.shape[1])
        ages = np.column_stack([memory.age_s + elapsed_s[:, None], np.zeros(len(logits))])
        votes = np.concatenate([memory.votes, one_hot[logits.argmax(axis=1)][:, None]], axis=1)
        # The newest look always counts, however short the window.
        counted = ages < max(self.seconds - _ROUNDING, _ROUNDING)
        oldest = int(counted.any(axis=0).argmax())
        sums = np.einsum("fn,fnl->fl", counted, votes)
        standing = np.where(np.isinf(elapsed_s)[:, None], 0.0, memory.standing)
        sums = sums + _TIE * standing
        shares = sums / sums.sum(axis=1, keepdims=True)
        answers = one_hot[shares.argmax(axis=1)]
        return Ballots(ages[:, oldest:], votes[:, oldest:], answers), shares


@dataclass(frozen=True, slots=True, eq=False)
class HiddenMarkov:
    """The forward algorithm: how likely each label is now, given all looks so far.

    Rabiner, "A tutorial on hidden Markov models and selected applications in speech recognition",
    1989, section III A, equations 19 and 20, made to sum to 1 at each look (section V A). Labels
    change in continuous time: `exp(rates * elapsed)` takes the place of his matrix A. The
    likelihood of a look is the frame model's probability divided by the label's prior (Bourlard
    and Morgan, "Connectionist speech recognition", 1994, chapter 7).

    Attributes
    ----------
    rates : float64 array, [labels, labels]
        Of change from the row's label to the column's, a second; each row sums to 0. See
        `fit_rates`.
    prior : float64 array, [labels]
        What the frame model expects before it looks, above zero; of any sum.
    stickiness : float
        By how much all rates are divided.
    looks_hz : float
        How many looks a second count as independent of each other. Frames follow each other
        faster than what disturbs them changes, and taken for independent they make the filter
        too sure too soon: a look's log-likelihood is multiplied by `min(1, looks_hz * elapsed)`.
        Infinite: every look counts in full, as in the textbook.
    """

    rates: Float64Array
    prior: Float64Array
    stickiness: float = 1.0
    looks_hz: float = math.inf

    def start(self, faces: int, labels: int) -> Float64Array:
        """Return the labels' long-run shares, float64 [faces, labels]."""
        return np.broadcast_to(stationary(self.rates), (faces, labels))

    def step(
        self, memory: Float64Array, logits: Float64Array, elapsed_s: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """See `Filter.step`."""
        new = np.isinf(elapsed_s)
        passed = np.where(new, 0.0, elapsed_s)
        changed = transitions(self.rates / self.stickiness, passed)
        expected = np.einsum("fl,flm->fm", memory, changed)
        if new.any():
            expected[new] = stationary(self.rates)
        weight = np.minimum(1.0, self.looks_hz * elapsed_s)[:, None]
        likelihood = weight * (np.log(normalised(logits)) - np.log(self.prior))
        now = normalised(likelihood + np.log(expected))
        return now, now


def normalised(logarithms: Float64Array) -> Float64Array:
    """Return the probabilities of logits or of unscaled log-probabilities, float64 [..., labels].

    None is exactly zero, so that whatever they are multiplied by can recover.
    """
    powers = np.exp(logarithms - logarithms.max(axis=-1, keepdims=True))
    powers = np.maximum(powers, np.finfo(np.float64).tiny)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def transitions(rates: Float64Array, elapsed_s: Float64Array) -> Float64Array:
    """Return how likely each label is to have become each other, float64 [n, labels, labels].

    The matrix exponential of `rates * elapsed` by scaling and squaring: Moler and Van Loan,
    "Nineteen dubious ways to compute the exponential of a matrix, twenty-five years later", 2003,
    method 3, with a Taylor series in place of Padé's fraction.

    Parameters
    ----------
    rates
        float64 [labels, labels], a second.
    elapsed_s
        float64 [n], finite; of a camera's frames few differ, and each is computed once.
    """
    seconds, places = np.unique(np.round(elapsed_s, 9), return_inverse=True)
    largest = float(np.abs(rates).sum(axis=1).max() * seconds.max())
    doublings = max(0, math.ceil(math.log2(4 * largest))) if largest > 0 else 0
    scaled = rates * (seconds / 2**doublings)[:, None, None]
    total = np.eye(len(rates)) + scaled
    term = scaled
    for index in range(2, _TERMS + 1):
        term = term @ scaled / index
        total = total + term
    for _ in range(doublings):
        total = total @ total
    return np.asarray(total[places])


def stationary(rates: Float64Array) -> Float64Array:
    """Return the share of time spent in each label in the long run, float64 [labels].

    It is what `rates` leave as it is: `shares @ rates = 0`, of sum 1.
    """
    conditions = np.vstack([rates.T, np.ones(len(rates))])
    shares = np.linalg.lstsq(conditions, np.eye(len(conditions))[-1], rcond=None)[0]
    shares = np.maximum(shares, np.finfo(np.float64).tiny)
    return np.asarray(shares / shares.sum())


def fit_rates(times: Sequence[Float64Array], truth: Sequence[Labels], labels: int) -> Float64Array:
    """Count how often, a second, each label changes into each other.

    The truth is known, so that no expectation-maximisation is needed: the likeliest rate is the
    number of changes over the time in which they could have happened (Albert, "Estimating the
    infinitesimal generator of a continuous time, finite state Markov process", 1962). Half a change
    of each kind at the mean rate is added, so that none is impossible.

    Parameters
    ----------
    times
        Seconds, float64 [frames], of each stream.
    truth
        What is shown, [frames], of each stream.
    labels
        How many there are.

    Returns
    -------
    float64 array, [labels, labels]
        Rates a second, each row of sum 0.

    Examples
    --------
    >>> rates = fit_rates([np.arange(401.0)], [np.arange(401) // 4 % 2], 2)
    >>> [round(float(rate), 3) for rate in rates[0]]
    [-0.25, 0.25]
    """
    changes, spent = np.zeros((labels, labels)), np.zeros(labels)
    for seconds, shown in zip(times, truth, strict=True):
        np.add.at(changes, (shown[:-1], shown[1:]), 1)
        np.add.at(spent, shown[:-1], np.diff(seconds))
    np.fill_diagonal(changes, 0)
    hold_s = spent.sum() / max(1.0, changes.sum())
    counted = changes + _PRIOR_CHANGES
    np.fill_diagonal(counted, 0)
    rates = counted / (spent + _PRIOR_CHANGES * (labels - 1) * hold_s)[:, None]
    np.fill_diagonal(rates, -rates.sum(axis=1))
    return np.asarray(rates)
