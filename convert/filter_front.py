"""What the best of the competing filters trade for what, and whether a head lies beyond it.

A competitor is on the front if no other is both sooner and calmer. Between two neighbours on it
the logarithm of flicker and accuracy are taken to be linear in the delay, which is kinder than the
truth: who tosses a coin between two filters gets the mean of their flickers, not the geometric
mean. Beyond its ends the front keeps the value it has there, so that a head which is sooner than
every competitor is held against the soonest, and one which is calmer against the calmest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from convert.filter_measures import DelayKind, Figures, interval
from convert.filters import Float64Array
from convert.metrics import Interval

FLICKER_BAR = 0.5
"""Of the best competitor's flicker, at equal delay."""
DELAY_BAR = 0.7
"""Of the best competitor's delay, at equal flicker."""

_LEAST_S = 1e-3
"""No delay that is divided by is less."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """The head beside the front, at equal delay or at equal flicker.

    Attributes
    ----------
    competitor
        What the front has there: flicker a minute at equal delay, or seconds at equal flicker.
    ratio, ratio_interval
        The head's figure over it.
    accuracy, accuracy_interval
        The head's minus the front's, a share.
    """

    competitor: float
    ratio: float
    ratio_interval: Interval
    accuracy: float
    accuracy_interval: Interval


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the head lies beyond the front by as much as it should.

    Attributes
    ----------
    delay
        Which delay is meant.
    at_equal_delay, at_equal_flicker
        See `Side`.
    passed
        At equal delay at most half the flicker, or at equal flicker at most 70 % of the delay,
        and there no less accurate.
    """

    delay: DelayKind
    at_equal_delay: Side
    at_equal_flicker: Side
    passed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """The competitors that none beats, the soonest first; float64 arrays, [competitors].

    `places` are theirs among all competitors, `log_flicker` falls as `delay_s` grows.
    """

    places: npt.NDArray[np.int64]
    delay_s: Float64Array
    log_flicker: Float64Array
    accuracy: Float64Array

    def at_delay(self, delay_s: float) -> tuple[float, float]:
        """Return flicker a minute and accuracy of a competitor that is as soon."""
        return (
            float(np.exp(np.interp(delay_s, self.delay_s, self.log_flicker))),
            float(np.interp(delay_s, self.delay_s, self.accuracy)),
        )

    def at_flicker(self, flicker: float) -> tuple[float, float]:
        """Return delay in seconds and accuracy of a competitor that is as calm."""
        place, calmer = np.log(flicker), self.log_flicker[::-1]
        return (
            float(np.interp(place, calmer, self.delay_s[::-1])),
            float(np.interp(place, calmer, self.accuracy[::-1])),
        )


def front(delay_s: Float64Array, flicker: Float64Array, accuracy: Float64Array) -> Front:
    """Find the front; all float64 [competitors], flicker above zero.

    Examples
    --------
    >>> ones = np.ones(3)
    >>> found = front(np.array([0.1, 0.4, 0.3]), np.array([8.0, 4.0, 2.0]), ones)
    >>> found.places.tolist(), round(found.at_delay(0.2)[0], 3), round(found.at_flicker(4.0)[0], 3)
    ([0, 2], 4.0, 0.2)
    """
    order = np.lexsort((flicker, delay_s))
    lowest = np.minimum.accumulate(flicker[order])
    places = order[np.diff(lowest, prepend=np.inf) < 0]
    return Front(places, delay_s[places], np.log(flicker[places]), accuracy[places])


def verdict(seen: Figures, resampled: Figures, head: int, kind: DelayKind, least: float) -> Verdict:
    """Hold one of several filters against the others.

    Parameters
    ----------
    seen
        What all of them came to, [filters].
    resampled
        The same of each resample, [resamples, filters]; the front is found anew in each.
    head
        The number of the one that is held against the others.
    kind
        Which delay is meant.
    least
        Flicker a minute that cannot be told from none; above zero.
    """
    found = _sides(seen.accuracy, seen.flicker, seen.delay_s(kind), head, least)
    again = np.array(
        [
            _sides(*each, head, least)
            for each in zip(
                resampled.accuracy, resampled.flicker, resampled.delay_s(kind), strict=True
            )
        ]
    )
    sides = [
        Side(
            competitor=found[start],
            ratio=found[start + 1],
            ratio_interval=interval(again[:, start + 1]),
            accuracy=found[start + 2],
            accuracy_interval=interval(again[:, start + 2]),
        )
        for start in (0, 3)
    ]
    bars = zip(sides, (FLICKER_BAR, DELAY_BAR), strict=True)
    return Verdict(
        delay=kind,
        at_equal_delay=sides[0],
        at_equal_flicker=sides[1],
        passed=any(side.ratio <= bar and side.accuracy >= 0 for side, bar in bars),
    )


def competitors(
    accuracy: Float64Array, flicker: Float64Array, delay_s: Float64Array, head: int, least: float
) -> Front:
    """Return the front of all filters but one; their figures are [filters]."""
    others = np.flatnonzero(np.arange(len(accuracy)) != head)
    found = front(delay_s[others], np.maximum(flicker, least)[others], accuracy[others])
    return replace(found, places=others[found.places])


def _sides(
    accuracy: Float64Array, flicker: Float64Array, delay_s: Float64Array, head: int, least: float
) -> tuple[float, float, float, float, float, float]:
    """Return competitor, ratio and accuracy's difference, at equal delay, then at equal flicker."""
    others = competitors(accuracy, flicker, delay_s, head, least)
    own = max(float(flicker[head]), least)
    calm, calm_accuracy = others.at_delay(float(delay_s[head]))
    soon, soon_accuracy = others.at_flicker(own)
    return (
        calm, own / calm, float(accuracy[head]) - calm_accuracy,
        soon, float(delay_s[head]) / max(soon, _LEAST_S), float(accuracy[head]) - soon_accuracy,
    )  # fmt: skip
