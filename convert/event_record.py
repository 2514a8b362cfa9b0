"""What `convert.event_bench` leaves: JSON that holds all its tables and its figure."""

from __future__ import annotations

from typing import Literal

import msgspec

from convert.measure import DataFacts
from convert.metrics import Interval
from edge.settings import Preset


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscriber hears under some rules.

    Attributes
    ----------
    settle_s, hold_s, margin
        The rules; see `edge.events`.
    flicker
        Changes of the told label a minute while nothing changes.
    delay_s
        Mean seconds until a change is told; see `convert.filter_measures`.
    missed
        Share of the changes that were not told before the next.
    right
        Share of the time in which the told label is right, `unsure` and silence being wrong.
    unsure
        Share of the time in which `unsure` is told.
    """

    settle_s: float
    hold_s: float
    margin: float
    flicker: float
    delay_s: float
    missed: float
    right: float
    unsure: float

    def cost_s(self, change_s: float) -> float:
        """Return seconds a minute that are lost, a needless change counting `change_s` of them."""
        return 60 * (1 - self.right) + change_s * self.flicker


class Listened(msgspec.Struct, frozen=True, kw_only=True):
    """A preset under one condition, with 95 % intervals by bootstrap over streams."""

    fps: float
    dropped: float
    heard: Heard
    flicker_interval: Interval
    delay_interval: Interval
    right_interval: Interval


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen for a preset.

    Attributes
    ----------
    change_s
        The seconds of a wrong label that a needless change counts for.
    chosen
        The rules, and means over all conditions.
    conditions
        The same in each.
    """

    change_s: float
    chosen: Heard
    conditions: tuple[Listened, ...]


class EventsBench(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of events, measured on composed streams.

    Attributes
    ----------
    bundle, files, labels
        What answered.
    data
        The stills of which streams were composed.
    count, seed
        Of streams at each frame rate, and of what was drawn.
    scoring
        How streams were composed; the fields of `streams.StreamSettings`, and theirs.
    grid
        Every hold and margin, means over all conditions.
    front
        Places in `grid` of those that none beats in flicker and in delay, soonest first.
    presets
        By their names.
    """

    schema: Literal["mien-events-bench/1"] = "mien-events-bench/1"
    bundle: str
    files: dict[str, str]
    labels: tuple[str, ...]
    data: DataFacts
    count: int
    seed: int
    scoring: dict[str, float | dict[str, float]]
    grid: tuple[Heard, ...]
    front: tuple[int, ...]
    presets: dict[Preset, Choice]
