"""How steady the answers on a stream are, and how soon they follow it; numbers only.

Three things are told apart, because a filter buys each with another. *Accuracy* is of the frames
that show one still alone. *Flicker* is how often the answer changes while nothing does: on one
still, leaving out the one change that is only late, which is already paid for as delay. *Delay* is
how long a change of the picture goes unnoticed. It is counted from the middle of the fade, the
moment from which the picture shows more of the new label than of the old; before it the new answer
would be wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from convert.data import Labels
from convert.filters import Float64Array
from convert.metrics import RESAMPLES, Interval
from convert.streams import Stream

NOTICE_S = 0.3
"""How long the new label must be answered, without a break, for a change to count as noticed."""
ROOM_S = 1.0
"""A change that is followed by less than this before the stream ends is left out."""
NO_ANSWER = -1

DelayKind = Literal["mean", "median"]
KINDS: tuple[DelayKind, ...] = ("mean", "median")

_ROUNDING = 1e-6
"""Seconds by which a time may be off."""


@dataclass(frozen=True, slots=True)
class Change:
    """From `start_s` to `end_s` the picture shows more of `label` than of any other."""

    start_s: float
    end_s: float
    label: int


@dataclass(frozen=True, eq=False)
class Timeline:
    """What there is to notice in a stream; the same for all who are measured on it.

    Attributes
    ----------
    times : float64 array, [frames]
        Seconds.
    truth : int64 array, [frames]
        The label that most of the picture shows.
    stretch : int64 array, [frames]
        See `streams.Stream`.
    present : bool array, [frames]
        False where the detector missed the face, so that nothing new is answered.
    changes : tuple of Change
        In their order.
    """

    times: Float64Array
    truth: Labels
    stretch: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]
    changes: tuple[Change, ...]

    @cached_property
    def scored(self) -> npt.NDArray[np.bool_]:
        """The frames that can be answered rightly: a face is seen, and one still alone."""
        return np.asarray((self.stretch >= 0) & self.present)

    @cached_property
    def unchanged(self) -> npt.NDArray[np.bool_]:
        """Whether each frame but the first, [frames - 1], shows the still of the one before."""
        return np.asarray((self.stretch[1:] == self.stretch[:-1]) & (self.stretch[1:] >= 0))

    @cached_property
    def unchanged_s(self) -> float:
        """Seconds in which nothing changes."""
        return float(np.diff(self.times)[self.unchanged].sum())

    @cached_property
    def arrivals(self) -> tuple[tuple[int, int, int], ...]:
        """For each change: the last frame of the old still, and the first and last of the new."""
        found = []
        for before, first, last in _borders(self.stretch):
            if self.truth[before] != self.truth[first]:
                found.append((before, first, last))
        return tuple(found)


def timeline(stream: Stream) -> Timeline:
    """Find out when a stream changes.

    The middle of a fade lies where the shares of the two labels cross, between two frames if need
    be. A still that follows one of the same label is no change.
    """
    truth = np.asarray(stream.targets.argmax(axis=1), dtype=np.int64)
    starts = []
    for before, first, _ in _borders(stream.stretch):
        old, new = int(truth[before]), int(truth[first])
        if old != new:
            fade = slice(before, first + 1)
            lead = stream.targets[fade, new] - stream.targets[fade, old]
            starts.append((_crossing(stream.times[fade], lead), new))
    # The stream may end in a fade of which more than half has passed.
    last = stream.times[truth == starts[-1][1]][-1:] if starts else []
    ends = [*(start for start, _ in starts[1:]), *map(float, last)]
    changes = tuple(
        Change(start, end, label)
        for (start, label), end in zip(starts, ends, strict=True)
        if end - start >= ROOM_S
    )
    return Timeline(stream.times, truth, stream.stretch, stream.present, changes)


def _borders(stretch: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return the last frame of each still but the last, and the first and last of the next."""
    numbers = [int(number) for number in np.unique(stretch[stretch >= 0])]
    frames = [np.flatnonzero(stretch == number) for number in numbers]
    return [
        (int(before[-1]), int(after[0]), int(after[-1]))
        for before, after in itertools.pairwise(frames)
    ]


def _crossing(times: Float64Array, lead: npt.NDArray[np.float32]) -> float:
    """Return when a lead, which starts below zero and ends above, first comes to zero."""
    after = int((lead >= 0).argmax())
    low, high = float(lead[after - 1]), float(lead[after])
    share = -low / (high - low)
    return float(times[after - 1] + share * (times[after] - times[after - 1]))


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What was counted on one stream.

    Attributes
    ----------
    frames, right
        Frames that can be answered rightly, and those that were.
    flicks, unchanged_s
        Changes of the answer while nothing changed, and the seconds in which nothing did.
    delays_s : float64 array, [changes]
        Until each change was noticed; of one that was not, until the next or the stream's end.
    noticed : bool array, [changes]
        Which were.
    """

    frames: int
    right: int
    flicks: int
    unchanged_s: float
    delays_s: Float64Array
    noticed: npt.NDArray[np.bool_]


def tally(shown: Timeline, answers: Labels) -> Tally:
    """Count what answers, [frames], are worth; `NO_ANSWER` before the face is first seen.

    A frame without a face has the answer of the one before, which stands until a new one is given.
    """
    delays = [noticed_after(shown, answers, change) for change in shown.changes]
    waited = [
        change.end_s - change.start_s if delay is None else delay
        for delay, change in zip(delays, shown.changes, strict=True)
    ]
    return Tally(
        frames=int(shown.scored.sum()),
        right=int((answers == shown.truth)[shown.scored].sum()),
        flicks=flicks(shown, answers),
        unchanged_s=shown.unchanged_s,
        delays_s=np.array(waited, np.float64),
        noticed=np.array([delay is not None for delay in delays], bool),
    )


def flicks(shown: Timeline, answers: Labels) -> int:
    """Count changes of the answer while the same still is shown.

    Where the still is new and its first frame is answered as the last of the old one was, the
    answer has still to follow: its first change is late rather than idle, and is not counted.
    """
    changed = (answers[1:] != answers[:-1]) & (answers[:-1] != NO_ANSWER) & shown.unchanged
    late = sum(
        1
        for before, first, last in shown.arrivals
        if answers[first] == answers[before] and changed[first:last].any()
    )
    return int(changed.sum()) - late


def noticed_after(shown: Timeline, answers: Labels, change: Change) -> float | None:
    """Return how many seconds after a change its label is answered for good; None for never.

    That is the first frame from which on all frames of the next `NOTICE_S` have the new label,
    which must be over before the picture changes again.
    """
    first = int(np.searchsorted(shown.times, change.start_s - _ROUNDING))
    right = answers == change.label
    wrong = shown.times[~right]
    for frame in np.flatnonzero(right[first:]) + first:
        time_s = float(shown.times[frame])
        if time_s + NOTICE_S > change.end_s + _ROUNDING:
            return None
        following = int(np.searchsorted(wrong, time_s))
        if following == len(wrong) or wrong[following] > time_s + NOTICE_S + _ROUNDING:
            return max(0.0, time_s - change.start_s)
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """What several filters, or several resamples of streams, came to; float64 arrays of one shape.

    `accuracy` and `missed` are shares, `flicker` is a minute, `mean_s` and `median_s` are delays.
    """

    accuracy: Float64Array
    flicker: Float64Array
    mean_s: Float64Array
    median_s: Float64Array
    missed: Float64Array

    def delay_s(self, kind: DelayKind) -> Float64Array:
        """Return the mean or the median delay."""
        return self.mean_s if kind == "mean" else self.median_s


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """The tallies of several filters on the same streams, to be summed over any of the streams.

    All are float64 arrays, [filters, streams], and `delays_s` [filters, streams, most changes],
    filled up with NaN. Changes that none of the filters notices are left out: a still that the
    frame model takes for another label throughout says nothing of what smooths its answers.
    """

    frames: Float64Array
    right: Float64Array
    flicks: Float64Array
    unchanged_s: Float64Array
    missed: Float64Array
    delays_s: Float64Array

    def of(self, streams: npt.NDArray[np.int64]) -> Figures:
        """Return each filter's figures, [filters], over streams by their number; some may recur."""
        count = len(self.frames)
        delays = self.delays_s[:, streams].reshape(count, -1)
        # All filters have the same changes, so that the same places are empty.
        delays = delays[:, ~np.isnan(delays[0])]
        changes = max(1, delays.shape[1])
        minutes = self.unchanged_s[:, streams].sum(axis=1) / 60
        some = delays if delays.shape[1] else np.full((count, 1), np.nan)
        return Figures(
            accuracy=self.right[:, streams].sum(axis=1)
            / np.maximum(1, self.frames[:, streams].sum(axis=1)),
            flicker=self.flicks[:, streams].sum(axis=1) / np.maximum(minutes, _ROUNDING),
            mean_s=np.asarray(some.mean(axis=1)),
            median_s=np.asarray(np.median(some, axis=1)),
            missed=self.missed[:, streams].sum(axis=1) / changes,
        )

    def resampled(self, resamples: int = RESAMPLES, seed: int = 1) -> Figures:
        """Return figures, [resamples, filters], over streams drawn with replacement.

        The bootstrap of Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
        All filters are measured on the same streams each time, as they were.
        """
        random, streams = np.random.default_rng(seed), self.frames.shape[1]
        drawn = random.integers(streams, size=(resamples, streams))
        each = [self.of(chosen) for chosen in drawn]
        return Figures(
            *(np.array([getattr(one, field.name) for one in each]) for field in fields(Figures))
        )


def gathered(rows: Sequence[Sequence[Tally]]) -> Tallies:
    """Gather tallies, of each filter of each stream."""
    most = max(len(each.delays_s) for each in rows[0])
    delays = np.full((len(rows), len(rows[0]), most), np.nan)
    missed = np.zeros(delays.shape, bool)
    for place in np.ndindex(delays.shape[:2]):
        each = rows[place[0]][place[1]]
        delays[place][: len(each.delays_s)] = each.delays_s
        missed[place][: len(each.noticed)] = ~each.noticed
    unnoticed = missed.all(axis=0)
    delays[:, unnoticed] = np.nan

    def field(name: str) -> Float64Array:
        return np.array([[getattr(each, name) for each in row] for row in rows], np.float64)

    return Tallies(
        frames=field("frames"),
        right=field("right"),
        flicks=field("flicks"),
        unchanged_s=field("unchanged_s"),
        missed=np.asarray((missed & ~unnoticed).sum(axis=2), dtype=np.float64),
        delays_s=delays,
    )


def interval(values: Float64Array) -> Interval:
    """Return the 95 % percentile interval of resampled values; those that are no number aside."""
    low, high = np.nanpercentile(values, (2.5, 97.5)).tolist()
    return low, high
