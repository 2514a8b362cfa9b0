"""What `convert.filter_bench` leaves: JSON that holds all its tables and its figure."""

from __future__ import annotations

from typing import Literal

import msgspec

from convert.filter_front import Verdict
from convert.measure import DataFacts
from convert.metrics import Interval

MOST_MISSED = 0.2
"""Who misses a larger share of changes is of no use, and left out of the table and the figure."""

StreamRecord = dict[str, float | dict[str, float]]
"""The fields of `streams.StreamSettings`, and theirs."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one filter with one setting, or the head, came to.

    Attributes
    ----------
    name, family
        What it is, with and without its setting; of the head, `head`.
    setting
        Seconds of a mean or a window, or how many times stickier than fitted a hidden Markov
        model is; None where there is none.
    accuracy, flicker, mean_s, median_s, missed
        See `convert.filter_measures`; shares, changes a minute, and seconds.
    accuracy_interval, flicker_interval, mean_interval, median_interval
        Of 95 %, by bootstrap over streams.
    """

    name: str
    family: str
    setting: float | None
    accuracy: float
    accuracy_interval: Interval
    flicker: float
    flicker_interval: Interval
    mean_s: float
    mean_interval: Interval
    median_s: float
    median_interval: Interval
    missed: float


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody on the same streams.

    Attributes
    ----------
    fps, dropped
        Frames a second, and the share of them that was then lost.
    streams, frames, changes
        How many there were; of the changes, those that anybody noticed.
    unnoticed
        How many changes nobody noticed, so that they are left out.
    unchanged_minutes
        In which nothing changed.
    entries
        The head is the last.
    fronts
        The names of the filters that none beats, by which delay is meant.
    verdicts
        By the mean delay, and by the median.
    """

    fps: float
    dropped: float
    streams: int
    frames: int
    changes: int
    unnoticed: int
    unchanged_minutes: float
    entries: tuple[Entry, ...]
    fronts: dict[str, tuple[str, ...]]
    verdicts: tuple[Verdict, ...]

    @property
    def name(self) -> str:
        """Return what tables call it."""
        lost = f", {self.dropped:.0%} lost".replace("%", " %") if self.dropped else ""
        return f"{self.fps:g} fps{lost}"

    @property
    def head(self) -> Entry:
        """Return the one that is held against the others."""
        return self.entries[-1]


class FittedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was fitted for the filters; see `convert.filter_run.Fitted`."""

    temperature: float
    prior: dict[str, float]
    rates: tuple[tuple[float, ...], ...]
    discount: float


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured.

    Attributes
    ----------
    command
        Which measures the same again.
    bundle, files
        What was measured, and the sha256 of each of its files.
    labels
        In the order of the logits.
    data
        The stills that the streams are composed of.
    count, seed
        Of the streams of each frame rate; the same give the same figures.
    notice_s
        How long a new label must be answered to count.
    learning, scoring
        How the streams were composed that were fitted on, and measured on.
    fitted
        What the filters were told.
    conditions
        See `CONDITIONS`.
    """

    schema: Literal["mien-filters/1"] = "mien-filters/1"
    command: str
    bundle: str
    files: dict[str, str]
    labels: tuple[str, ...]
    data: DataFacts
    count: int
    seed: int
    notice_s: float
    learning: StreamRecord
    scoring: StreamRecord
    fitted: FittedRecord
    conditions: tuple[Condition, ...]
