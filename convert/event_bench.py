"""How long should a change hold before it is told? Measured, with the device's own code.

Composed streams are shown to a bundle as to the device: frame model, head, calibrated answer or
`unsure`, and `edge.events` itself, over a grid of its rules. A rule buys fewer needless changes
with being late. Of the rules that none beats in both, a preset takes the one with which a
subscriber loses least: every second with a wrong label is lost, whether late, mistaken or `unsure`,
and a change that is told while nothing changes counts as `CHANGE_S` more. That is 1 s for `quick`,
where something follows the face at once, and 10 s for `calm`, where a person hears every change.

How long a new face settles is not chosen here: that keeps from subscribers what the detector takes
for a face for a moment, which happens in no composed stream.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from convert import filter_measures, filter_run, streams
from convert.data import Labels, Tiles
from convert.errors import DataError
from convert.event_record import Choice, EventsBench, Heard, Listened
from convert.filter_measures import NO_ANSWER, Tallies, Timeline, interval
from convert.filter_run import Seen
from convert.measure import DataFacts
from convert.metrics import RESAMPLES
from convert.streams import SCORING
from edge.bundle import StreamManifest
from edge.datatypes import UNSURE, Estimate
from edge.emotion import EmotionModel, Memory
from edge.events import Story, advance
from edge.networks import StreamNetworks
from edge.settings import PRESETS, Preset, Rules

STREAMS = 150
CONDITIONS = ((10.0, 0.0), (30.0, 0.0), (10.0, 0.3))
"""Frames a second, and the share of them that the camera loses."""

HOLDS_S = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5)
MARGINS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
"""A still is shown for 1.2 seconds or more: what holds longer cannot be measured on it."""

CHANGE_S: dict[Preset, float] = {"calm": 10.0, "quick": 1.0}


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A stream with what the networks say of it; `estimates` are of its looks, [looks]."""

    seen: Seen
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """The streams of one condition, and what there is to notice in each."""

    fps: float
    dropped: float
    shown: tuple[Shown, ...]
    lines: tuple[Timeline, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """What was counted under some rules, [rules], in one condition.

    Attributes
    ----------
    fps, dropped : float
        The condition.
    rules : tuple of Rules
    tallies : Tallies
        Changes that are told under none of the rules are left out: a still that the networks take
        for another label throughout says nothing of when to tell.
    unsure : tuple of float
        Share of the frames that can be answered rightly in which `unsure` is told.
    """

    fps: float
    dropped: float
    rules: tuple[Rules, ...]
    tallies: Tallies
    unsure: tuple[float, ...]


def bench(
    networks: StreamNetworks,
    manifest: StreamManifest,
    tiles: Tiles,
    facts: DataFacts,
    *,
    files: dict[str, str],
    count: int = STREAMS,
    seed: int = 1,
    resamples: int = RESAMPLES,
) -> EventsBench:
    """Measure every rule of the grid, and choose the presets.

    Parameters
    ----------
    networks, manifest
        The bundle.
    tiles, facts
        The stills of which streams are composed, and what they are.
    files
        The sha256 of each file of the bundle.
    count, seed, resamples
        Of streams, of what is drawn, of the bootstrap.

    Raises
    ------
    DataError
        All stills have one label, or in no stream anything changes.
    """
    streams.check_labels(tiles.labels)
    settings = watched(networks, manifest, tiles, count=count, seed=seed)
    rules = [
        msgspec.structs.replace(PRESETS["calm"], hold_s=hold_s, margin=margin)
        for hold_s in HOLDS_S
        for margin in MARGINS
    ]
    counted = [count_under(setting, rules) for setting in settings]
    grid = overall(counted)
    front = undominated(grid)
    presets = {name: choice(CHANGE_S[name], grid, front, counted, resamples) for name in PRESETS}
    return EventsBench(
        bundle=manifest.name,
        files=files,
        labels=manifest.labels,
        data=facts,
        count=count,
        seed=seed,
        scoring=dataclasses.asdict(SCORING),
        grid=tuple(grid),
        front=front,
        presets=presets,
    )


def watched(
    networks: StreamNetworks, manifest: StreamManifest, tiles: Tiles, *, count: int, seed: int
) -> list[Setting]:
    """Show a bundle the streams of every condition."""
    model, labels = EmotionModel(networks, manifest), len(manifest.labels)
    rates, settings = dict[float, list[Seen]](), []
    for fps, dropped in CONDITIONS:
        if fps not in rates:
            rates[fps] = filter_run.shown(
                networks, tiles, SCORING, labels, fps=fps, count=count, seed=[seed, 1]
            )
        left = filter_run.thinned(rates[fps], dropped, [seed, 2])
        shown = tuple(Shown(each, estimated(model, each)) for each in left)
        lines = tuple(filter_measures.timeline(each.stream) for each in left)
        settings.append(Setting(fps, dropped, shown, lines))
    return settings


def estimated(model: EmotionModel, seen: Seen) -> tuple[Estimate, ...]:
    """Return what the device makes of each look at a face, [looks]."""
    memory: Memory | None = None
    found = []
    for embedding, time_s in zip(seen.embeddings, seen.times.tolist(), strict=True):
        logits, memory = model.advance(embedding, memory, time_s)
        found.append(model.estimate(logits))
    return tuple(found)


def told(shown: Shown, rules: Rules) -> Labels:
    """Return what a subscriber was last told at each frame of a stream, [frames].

    Indices of labels; one more than the last is `unsure`, and `NO_ANSWER` that nothing was told
    yet. What was told stands while the detector misses the face.
    """
    story: Story | None = None
    heard = []
    for estimate, time_s in zip(shown.estimates, shown.seen.times.tolist(), strict=True):
        story, _ = advance(story, estimate, time_s, rules)
        names = (*estimate.labels, UNSURE)
        heard.append(NO_ANSWER if story.told is None else names.index(story.told))
    return filter_run.held(shown.seen, np.array(heard, np.int64))


def count_under(setting: Setting, rules: Sequence[Rules]) -> Counted:
    """Tell every stream's story under each rule, and count."""
    rows, unsure = [], []
    doubted = len(setting.shown[0].estimates[0].labels)
    for which in rules:
        given = [told(each, which) for each in setting.shown]
        both = list(zip(setting.lines, given, strict=True))
        rows.append([filter_measures.tally(line, some) for line, some in both])
        silent = np.concatenate([(some == doubted)[line.scored] for line, some in both])
        unsure.append(float(silent.mean()))
    return Counted(
        fps=setting.fps,
        dropped=setting.dropped,
        rules=tuple(rules),
        tallies=filter_measures.gathered(rows),
        unsure=tuple(unsure),
    )


def figures(counted: Counted) -> npt.NDArray[np.float64]:
    """Return flicker, delay, and the shares missed, right and `unsure`, float64 [rules, 5].

    Raises
    ------
    DataError
        In no stream any change is told.
    """
    tallies = counted.tallies
    if np.isnan(tallies.delays_s).all():
        raise DataError("no change is ever told in these streams; ask for more of them")
    found = tallies.of(np.arange(tallies.frames.shape[1]))
    unsure = np.array(counted.unsure)
    return np.column_stack([found.flicker, found.mean_s, found.missed, found.accuracy, unsure])


def overall(counted: Sequence[Counted]) -> list[Heard]:
    """Return what is heard under each rule, as a mean over all conditions."""
    each = [figures(some) for some in counted]
    return [
        heard(which, values)
        for which, values in zip(counted[0].rules, np.mean(each, axis=0), strict=True)
    ]


def heard(which: Rules, values: npt.NDArray[np.float64]) -> Heard:
    """Return figures, in the order of `figures`, with the rules they belong to."""
    flicker, delay_s, missed, right, unsure = values.tolist()
    return Heard(
        settle_s=which.settle_s,
        hold_s=which.hold_s,
        margin=which.margin,
        flicker=flicker,
        delay_s=delay_s,
        missed=missed,
        right=right,
        unsure=unsure,
    )


def undominated(grid: Sequence[Heard]) -> tuple[int, ...]:
    """Return the places of those that no other beats in flicker or delay and equals in the other.

    Soonest first; of several with the same figures the first.
    """
    order = sorted(range(len(grid)), key=lambda at: (grid[at].delay_s, grid[at].flicker, at))
    front, least = [], float("inf")
    for place in order:
        if grid[place].flicker < least:
            front.append(place)
            least = grid[place].flicker
    return tuple(front)


def choice(
    change_s: float,
    grid: Sequence[Heard],
    front: Sequence[int],
    counted: Sequence[Counted],
    resamples: int,
) -> Choice:
    """Choose from the front the rule with which least is lost, and tell all that is known of it."""
    place = min(front, key=lambda at: grid[at].cost_s(change_s))
    return Choice(
        change_s=change_s,
        chosen=grid[place],
        conditions=tuple(listened(each, place, resamples) for each in counted),
    )


def listened(counted: Counted, place: int, resamples: int) -> Listened:
    """Return what is heard under one of the rules in one condition, with intervals."""
    again = counted.tallies.resampled(resamples)
    return Listened(
        fps=counted.fps,
        dropped=counted.dropped,
        heard=heard(counted.rules[place], figures(counted)[place]),
        flicker_interval=interval(again.flicker[:, place]),
        delay_interval=interval(again.mean_s[:, place]),
        right_interval=interval(again.accuracy[:, place]),
    )
