"""Whether a series rises: Theil and Sen's slope, with the confidence interval that Sen gave it.

The slope is the median of the slopes between all pairs of points, so that a few wild values move it
little. The interval asks nothing of the noise but that its values be independent: its ends are
those slopes which Kendall's rank correlation of what is left would just not refuse.

P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, Journal of the American
Statistical Association 63 (1968), 1379-1389, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

CONFIDENCE = 0.98
"""The most that `LEAST` points can give: one order of five in 120 is all upwards."""

LEAST = 5
"""With fewer points no slope can be told from chance at this confidence."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope, per unit of time, and the interval it lies in with `CONFIDENCE`."""

    slope: float
    low: float
    high: float

    def over(self, duration: float) -> Trend:
        """Return by how much the series changes in `duration`."""
        return Trend(self.slope * duration, self.low * duration, self.high * duration)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a series may change over what was watched.

    `most` is the change that is allowed, in the series' unit; a negative one limits how much it
    may fall. It is broken only where the whole interval lies beyond it: a machine that others use
    may be noisy, but must not hide a rise for long.
    """

    name: str
    unit: str
    most: float

    def broken_by(self, change: Trend) -> bool:
        """Whether even the end of the interval that is kinder to it lies beyond the limit."""
        return change.low > self.most if self.most >= 0.0 else change.high < self.most


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the slope of `values` over `times`.

    Raises
    ------
    ValueError
        There are fewer than `LEAST` points, or two at the same time.
    """
    if len(values) < LEAST:
        raise ValueError(f"{len(values)} points show no slope; {LEAST} may")
    points = sorted(zip(times, values, strict=True))
    pairs = list(combinations(points, 2))
    if any(after == before for (before, _), (after, _) in pairs):
        raise ValueError("two points have the same time")
    slopes = sorted(
        float((high - low) / (after - before)) for (before, low), (after, high) in pairs
    )
    rank = _critical(len(points))
    return Trend(float(np.median(slopes)), slopes[rank], slopes[len(slopes) - 1 - rank])


@cache
def _critical(count: int) -> int:
    """Return which of the sorted slopes of `count` points, from either end, bounds the interval.

    As many slopes lie below the true one as there are inversions in a random order; the answer is
    the largest k with P(inversions <= k) at most half of what `CONFIDENCE` leaves. How inversions
    are distributed: M. G. Kendall, Rank Correlation Methods (1948), chapter 5.
    """
    ways = np.ones(1)
    for item in range(2, count + 1):
        # A new item, put in anywhere, makes 0 to item-1 further inversions.
        ways = np.convolve(ways, np.full(item, 1.0 / item))
    return int(np.searchsorted(np.cumsum(ways), (1.0 - CONFIDENCE) / 2.0, side="right")) - 1
