"""The bench of the rules of events: hand-made streams, whose figures can be checked."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from drawn import draw_tiles

from convert import event_bench, filter_measures, filter_run
from convert.data import Tiles
from convert.errors import DataError
from convert.event_bench import Setting, Shown
from convert.event_record import EventsBench, Heard
from convert.filter_measures import NO_ANSWER
from convert.filter_run import Seen
from convert.measure import DataFacts
from convert.streams import Stream
from edge import bundle
from edge.datatypes import UNSURE, Estimate
from edge.networks import StreamNetworks
from edge.settings import PRESETS, Rules

LABELS = ("angry", "happy", "neutral")
FPS = 10.0
QUICK = Rules(settle_s=0.0, hold_s=0.0, margin=0.0, heartbeat_s=5.0)
FACTS = DataFacts(name="drawn", sha256="0" * 64, split="val", counts={})


def rules(hold_s: float, margin: float = 0.0, settle_s: float = 0.0) -> Rules:
    return Rules(settle_s=settle_s, hold_s=hold_s, margin=margin, heartbeat_s=5.0)


def stream(present: np.ndarray | None = None) -> Stream:
    """Two seconds of angry, then three of happy."""
    truth = np.repeat([0, 1], [20, 30])
    return Stream(
        times=np.arange(50) / FPS,
        pixels=np.zeros((50, 1, 1), np.uint8),
        present=np.ones(50, bool) if present is None else present,
        targets=np.eye(3, dtype=np.float32)[truth],
        stretch=truth.astype(np.int64),
        fps=FPS,
    )


def estimate(label: str, confidence: float = 0.9) -> Estimate:
    rest = (1 - confidence) / 2
    shares = tuple(confidence if each == label else rest for each in LABELS)
    if label == UNSURE:
        shares = (0.4, 0.3, 0.3)
    return Estimate(LABELS, shares, label, max(shares))


def shown(*spans: tuple[str, int], present: np.ndarray | None = None) -> Shown:
    """A stream of which the networks say each label for so many looks."""
    film = stream(present)
    looks = np.flatnonzero(film.present)
    said = tuple(estimate(label) for label, count in spans for _ in range(count))
    assert len(said) == len(looks)
    return Shown(Seen(film, looks, np.zeros((len(looks), 3), np.float32)), said)


def setting(*streams: Shown) -> Setting:
    lines = tuple(filter_measures.timeline(each.seen.stream) for each in streams)
    return Setting(FPS, 0.0, streams, lines)


NERVOUS = shown(("angry", 10), ("neutral", 2), ("angry", 8), ("happy", 30))
"""Right but for a fifth of a second."""


def test_what_is_told_is_told_by_the_devices_own_rules() -> None:
    assert event_bench.told(NERVOUS, QUICK).tolist() == [0] * 10 + [2] * 2 + [0] * 8 + [1] * 30
    held = event_bench.told(NERVOUS, rules(0.3))
    assert held.tolist() == [0] * 23 + [1] * 27
    settled = event_bench.told(NERVOUS, rules(0.3, settle_s=0.2))
    assert settled.tolist() == [NO_ANSWER] * 2 + [0] * 21 + [1] * 27


def test_unsure_is_told_as_one_more_label() -> None:
    doubted = shown(("angry", 20), (UNSURE, 10), ("happy", 20))
    assert event_bench.told(doubted, QUICK).tolist() == [0] * 20 + [3] * 10 + [1] * 20


def test_what_was_told_stands_while_the_face_is_missed() -> None:
    present = np.ones(50, bool)
    present[20:25] = False
    missed = shown(("angry", 20), ("happy", 25), present=present)
    assert event_bench.told(missed, QUICK).tolist() == [0] * 25 + [1] * 25


def test_a_hold_buys_calm_with_delay() -> None:
    found = event_bench.figures(event_bench.count_under(setting(NERVOUS), [QUICK, rules(0.3)]))
    flicker, delay_s, missed, right, unsure = found.T
    minutes = (1.9 + 2.9) / 60
    assert flicker == pytest.approx([2 / minutes, 0])
    assert delay_s == pytest.approx([0.05, 0.35])  # the middle of a fade is between two frames
    assert missed.tolist() == unsure.tolist() == [0, 0]
    assert right == pytest.approx([48 / 50, 47 / 50])


def test_unsure_is_wrong_and_counted() -> None:
    doubted = shown(("angry", 20), (UNSURE, 10), ("happy", 20))
    (found,) = event_bench.figures(event_bench.count_under(setting(doubted), [QUICK]))
    assert found[3:] == pytest.approx([40 / 50, 10 / 50])


def test_changes_that_no_rule_tells_say_nothing_of_when_to_tell() -> None:
    blind = shown(("angry", 50))
    (found,) = event_bench.figures(event_bench.count_under(setting(NERVOUS, blind), [QUICK]))
    assert found[1] == pytest.approx(0.05)
    with pytest.raises(DataError, match=r"no change is ever told in these streams"):
        event_bench.figures(event_bench.count_under(setting(blind), [QUICK]))


def test_conditions_count_alike() -> None:
    both = [event_bench.count_under(setting(each), [rules(0.3)]) for each in (
        NERVOUS, shown(("angry", 20), ("happy", 30)))]  # fmt: skip
    (found,) = event_bench.overall(both)
    assert found.hold_s == 0.3
    assert found.right == pytest.approx(47 / 50)
    (one,), (other,) = (event_bench.overall([each]) for each in both)
    assert found.delay_s == pytest.approx((one.delay_s + other.delay_s) / 2)


def point(delay_s: float, flicker: float, right: float = 0.8) -> Heard:
    return Heard(
        settle_s=0, hold_s=0, margin=0, flicker=flicker, delay_s=delay_s, missed=0, right=right,
        unsure=0,
    )  # fmt: skip


def test_the_front_is_what_nobody_beats() -> None:
    grid = [point(0.5, 3), point(0.2, 9), point(0.6, 3), point(0.9, 1), point(0.5, 3)]
    assert event_bench.undominated(grid) == (1, 0, 3)


def test_a_preset_is_where_least_is_lost() -> None:
    counted = event_bench.count_under(setting(NERVOUS), [QUICK, rules(0.3)])
    grid = event_bench.overall([counted])
    hasty, patient = (
        event_bench.choice(change_s, grid, (0, 1), [counted], 20) for change_s in (0.01, 10.0)
    )
    assert (hasty.chosen.hold_s, patient.chosen.hold_s) == (0.0, 0.3)
    (only,) = patient.conditions
    assert only.heard == patient.chosen
    assert only.delay_interval == pytest.approx((0.35, 0.35))
    assert point(0.3, 4, right=0.9).cost_s(2.0) == pytest.approx(6 + 8)


def test_the_first_look_is_never_lost() -> None:
    present = np.ones(50, bool)
    present[:3] = False
    seen = Seen(stream(present), np.flatnonzero(present), np.zeros((47, 3), np.float32))
    gone = filter_run.lost(seen, 1.0, np.random.default_rng(1))
    assert gone.sum() == 49
    assert not gone[3]
    assert not filter_run.lost(seen, 0.0, np.random.default_rng(1)).any()


def benched(monkeypatch: pytest.MonkeyPatch, labels: np.ndarray) -> EventsBench:
    monkeypatch.setattr(event_bench, "CONDITIONS", ((10.0, 0.0), (10.0, 0.3)))
    monkeypatch.setattr(event_bench, "HOLDS_S", (0.0, 0.5))
    monkeypatch.setattr(event_bench, "MARGINS", (0.0, 0.4))
    loaded, manifest = bundle.load_stream("mien-fer2013")
    # An untaught eye sees little in drawn faces; it is to answer all the same.
    manifest = msgspec.structs.replace(
        manifest, calibration=msgspec.structs.replace(manifest.calibration, abstain_below=0.0)
    )
    networks = StreamNetworks(loaded, manifest)
    tiles = Tiles(draw_tiles(len(labels)), labels)
    return event_bench.bench(
        networks, manifest, tiles, FACTS, files={"frame.tflite": "1" * 64}, count=6, resamples=20
    )


def test_a_bundle_is_measured_over_the_whole_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    found = benched(monkeypatch, np.arange(28) % 7)
    assert [(each.hold_s, each.margin) for each in found.grid] == [
        (0.0, 0.0), (0.0, 0.4), (0.5, 0.0), (0.5, 0.4)
    ]  # fmt: skip
    assert tuple(found.presets) == tuple(PRESETS)
    for each in found.presets.values():
        assert each.chosen in [found.grid[place] for place in found.front]
        assert [(one.fps, one.dropped) for one in each.conditions] == [(10.0, 0.0), (10.0, 0.3)]
    assert found.scoring["seconds"] == 8.0
    assert msgspec.json.decode(msgspec.json.encode(found), type=EventsBench) == found
    assert found == benched(monkeypatch, np.arange(28) % 7)


def test_streams_need_two_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"all pictures of val have one label"):
        benched(monkeypatch, np.full(7, 3))


def test_presets_settle_a_face_alike() -> None:
    """As long as the bench does: it chooses hold and margin alone."""
    assert PRESETS["calm"].settle_s == PRESETS["quick"].settle_s
