"""Is the head better than smoothing without a network? Measured at several frame rates.

Every filter is run over its whole range of settings, and the best of them are chosen in hindsight,
on the very streams they are measured on; the head has one setting, which it came with. What the
filters have to know of the frame model and of how labels change is fitted on other streams. The
faces of all streams are composed of the stills of `val`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from convert import filter_front, filter_measures, filter_run, streams
from convert.data import Labels, Tiles
from convert.errors import DataError
from convert.filter_measures import KINDS, NOTICE_S, DelayKind, Figures, interval
from convert.filter_record import Condition, Entry, Filters, FittedRecord
from convert.filter_run import PACES_HZ, Fitted, Seen
from convert.filters import Averaging, Filter, Majority
from convert.measure import DataFacts
from convert.metrics import RESAMPLES
from edge.bundle import StreamManifest
from edge.emotion import EmotionModel
from edge.networks import StreamNetworks

STREAMS = 150
LEARNING_HZ = 10.0
"""Frames a second of the streams that the filters are fitted on."""

CONDITIONS = (
    (10.0, 0.0), (5.0, 0.0), (15.0, 0.0), (30.0, 0.0), (10.0, 0.3), (30.0, 0.5),
)  # fmt: skip
"""Frames a second, and the share of them that the camera loses; tables say most of the first."""

AVERAGES_S = tuple(round(0.05 * 2 ** (index / 2), 3) for index in range(17))
WINDOWS_S = (
    0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.4,
)  # fmt: skip
STICKINESS = tuple(float(f"{10 ** (index / 2 - 2):.3g}") for index in range(17))

AnyFilter: TypeAlias = Filter[Any]
"""What it remembers is its own business."""


@dataclass(frozen=True, slots=True, eq=False)
class Entrant:
    """Somebody who answers streams; `answer` returns indices of labels, [frames] of each."""

    name: str
    family: str
    setting: float | None
    answer: Callable[[Sequence[Seen]], list[Labels]]


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
) -> Filters:
    """Measure a bundle's head and the filters at every frame rate.

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
        All stills have one label.
    """
    streams.check_labels(tiles.labels)

    shown = functools.partial(
        filter_run.shown, networks, tiles, labels=len(manifest.labels), count=count
    )
    learned = shown(settings=streams.LEARNING, fps=LEARNING_HZ, seed=[seed, 0])
    fitted = filter_run.fit(learned, manifest.reset_after_s)
    model = EmotionModel(networks, manifest)
    everybody = [
        *entrants(fitted, manifest.reset_after_s),
        Entrant(manifest.name, "head", None, lambda seen: filter_run.headed(model, seen)),
    ]
    conditions, rates = [], dict[float, list[Seen]]()
    for fps, lost in CONDITIONS:
        if fps not in rates:
            rates[fps] = shown(settings=streams.SCORING, fps=fps, seed=[seed, 1])
        left = filter_run.thinned(rates[fps], lost, [seed, 2])
        conditions.append(measure(everybody, left, fps=fps, dropped=lost, resamples=resamples))
    return Filters(
        command=f"mien-convert filters {manifest.name} --data DATA --count {count} --seed {seed}",
        bundle=manifest.name,
        files=files,
        labels=manifest.labels,
        data=facts,
        count=count,
        seed=seed,
        notice_s=NOTICE_S,
        learning=dataclasses.asdict(streams.LEARNING),
        scoring=dataclasses.asdict(streams.SCORING),
        fitted=_recorded(fitted, manifest.labels),
        conditions=tuple(conditions),
    )


def entrants(fitted: Fitted, reset_after_s: float) -> list[Entrant]:
    """Return every filter with each of its settings; the first smoothes nothing."""

    def entrant(name: str, family: str, setting: float | None, way: AnyFilter) -> Entrant:
        return Entrant(
            name,
            family,
            setting,
            lambda seen: filter_run.filtered(way, seen, fitted.temperature, reset_after_s),
        )

    curves: list[tuple[str, str, tuple[float, ...], Callable[[float], AnyFilter]]] = [
        ("mean of probabilities", "{:g} s", AVERAGES_S, Averaging),
        ("mean of logits", "{:g} s", AVERAGES_S, lambda seconds: Averaging(seconds, "logits")),
        ("majority", "{:g} s", WINDOWS_S, Majority),
    ]
    for looks_hz in (math.inf, *PACES_HZ):
        name = "HMM" if math.isinf(looks_hz) else f"HMM of {looks_hz:g} looks/s"
        hidden = functools.partial(fitted.hidden, looks_hz=looks_hz)
        curves.append((name, "× {:g}", STICKINESS, hidden))
    return [
        entrant("no smoothing", "none", None, Averaging(0.0)),
        *(
            entrant(f"{name}, {spelt.format(setting)}", name, setting, make(setting))
            for name, spelt, settings, make in curves
            for setting in settings
        ),
    ]


def measure(
    everybody: Sequence[Entrant],
    seen: Sequence[Seen],
    *,
    fps: float,
    dropped: float = 0.0,
    resamples: int = RESAMPLES,
) -> Condition:
    """Measure all entrants on the same streams; the last is held against the others.

    Raises
    ------
    DataError
        In no stream anything changes that anybody notices.
    """
    lines = [filter_measures.timeline(each.stream) for each in seen]
    changes = sum(len(line.changes) for line in lines)
    tallies = filter_measures.gathered(
        [
            [
                filter_measures.tally(line, given)
                for line, given in zip(lines, each.answer(seen), strict=True)
            ]
            for each in everybody
        ]
    )
    counted = int((~np.isnan(tallies.delays_s[0])).sum())
    if not counted:
        raise DataError(
            f"nobody notices any change in {len(seen)} streams at {fps:g} fps; ask for more streams"
        )
    figures, again = tallies.of(np.arange(len(seen))), tallies.resampled(resamples)
    minutes = float(tallies.unchanged_s[0].sum()) / 60
    least = 0.5 / minutes
    return Condition(
        fps=fps,
        dropped=dropped,
        streams=len(seen),
        frames=sum(len(line.times) for line in lines),
        changes=counted,
        unnoticed=changes - counted,
        unchanged_minutes=minutes,
        entries=tuple(_entry(each, index, figures, again) for index, each in enumerate(everybody)),
        fronts={kind: _front(everybody, figures, kind, least) for kind in KINDS},
        verdicts=tuple(
            filter_front.verdict(figures, again, len(everybody) - 1, kind, least) for kind in KINDS
        ),
    )


def _entry(each: Entrant, index: int, figures: Figures, again: Figures) -> Entry:
    return Entry(
        name=each.name,
        family=each.family,
        setting=each.setting,
        accuracy=float(figures.accuracy[index]),
        accuracy_interval=interval(again.accuracy[:, index]),
        flicker=float(figures.flicker[index]),
        flicker_interval=interval(again.flicker[:, index]),
        mean_s=float(figures.mean_s[index]),
        mean_interval=interval(again.mean_s[:, index]),
        median_s=float(figures.median_s[index]),
        median_interval=interval(again.median_s[:, index]),
        missed=float(figures.missed[index]),
    )


def _front(
    everybody: Sequence[Entrant], figures: Figures, kind: DelayKind, least: float
) -> tuple[str, ...]:
    found = filter_front.competitors(
        figures.accuracy, figures.flicker, figures.delay_s(kind), len(everybody) - 1, least
    )
    return tuple(everybody[place].name for place in found.places)


def _recorded(fitted: Fitted, labels: tuple[str, ...]) -> FittedRecord:
    return FittedRecord(
        temperature=fitted.temperature,
        prior=dict(zip(labels, fitted.prior.tolist(), strict=True)),
        rates=tuple(tuple(row) for row in fitted.rates.tolist()),
        discount=fitted.discount,
    )
