"""When something is worth telling."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.datatypes import UNSURE, Box, Detection, Estimate, Keypoints, Latency, Point, Track
from edge.events import EventFactory, Kind, Story, advance, clipped, confidence_in, valence
from edge.settings import PRESETS, Events, Preset, Rules

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
ROUNDING = 1e-6
RULES = Rules(settle_s=0.3, hold_s=0.35, margin=0.1, heartbeat_s=5.0)


def seems(label: str, confidence: float = 0.9, *, abstain_below: float = 0.4) -> Estimate:
    rest = (1 - confidence) / (len(LABELS) - 1)
    shares = tuple(confidence if each == label else rest for each in LABELS)
    return Estimate(LABELS, shares, label if confidence >= abstain_below else UNSURE, confidence)


def told(
    estimates: list[tuple[float, Estimate]], rules: Rules = RULES
) -> list[tuple[float, str, str]]:
    story: Story | None = None
    events = []
    for time_s, estimate in estimates:
        story, kind = advance(story, estimate, time_s, rules)
        if kind is not None:
            assert story.told is not None
            events.append((time_s, kind, story.told))
    return events


def steadily(*stretches: tuple[str, float]) -> list[tuple[float, Estimate]]:
    """Stretches of (label, seconds) at ten estimates a second."""
    labels = [label for label, seconds in stretches for _ in range(round(seconds * 10))]
    return [(index / 10, seems(label)) for index, label in enumerate(labels)]


def test_a_face_is_told_once_it_has_settled() -> None:
    assert told(steadily(("neutral", 2))) == [(0.3, "start", "neutral")]


def test_a_change_is_told_when_it_has_held() -> None:
    assert told(steadily(("neutral", 1), ("happy", 2))) == [
        (0.3, "start", "neutral"),
        (1.4, "update", "happy"),
    ]


def test_a_flicker_is_not_told() -> None:
    flicker = steadily(("neutral", 1), ("happy", 0.3), ("neutral", 1), ("sad", 0.3), ("neutral", 1))
    assert told(flicker) == [(0.3, "start", "neutral")]


def test_rivals_that_take_turns_do_not_add_up() -> None:
    turns = [("happy", 0.2), ("sad", 0.2)] * 5
    assert told(steadily(("neutral", 1), *turns)) == [(0.3, "start", "neutral")]


def test_a_narrow_lead_is_not_a_change() -> None:
    close = tuple(
        0.34 if each == "happy" else 0.30 if each == "neutral" else 0.072 for each in LABELS
    )
    narrow = Estimate(LABELS, close, "happy", 0.34)
    estimates = steadily(("neutral", 1)) + [(1 + index / 10, narrow) for index in range(20)]
    assert told(estimates) == [(0.3, "start", "neutral")]


def test_unsure_is_an_answer() -> None:
    doubt = [(1 + index / 10, seems("happy", 0.3)) for index in range(10)]
    assert told(steadily(("neutral", 1)) + doubt)[-1] == (1.4, "update", UNSURE)


def test_a_heartbeat_says_that_nothing_changed() -> None:
    events = told(steadily(("happy", 12)))
    assert [(round(time_s, 1), kind) for time_s, kind, _ in events] == [
        (0.3, "start"),
        (5.3, "update"),
        (10.3, "update"),
    ]


@given(
    st.lists(st.tuples(st.floats(0, 2), st.sampled_from(LABELS), st.floats(0.2, 1)), max_size=80)
)
def test_whatever_is_seen_the_story_makes_sense(steps: list[tuple[float, str, float]]) -> None:
    time_s = 0.0
    estimates = []
    for elapsed, label, confidence in steps:
        time_s += elapsed
        estimates.append((time_s, seems(label, confidence)))
    events = told(estimates)
    assert [kind for _, kind, _ in events[:1]] in ([], ["start"])
    assert all(kind == "update" for _, kind, _ in events[1:])
    for (before_s, _, before), (after_s, _, after) in zip(events, events[1:], strict=False):
        if before == after:
            assert after_s - before_s >= RULES.heartbeat_s - ROUNDING
        else:
            assert after_s - before_s >= RULES.hold_s - ROUNDING


@pytest.mark.parametrize("per_second", [5, 10, 15, 30])
def test_a_hold_of_some_frames_is_over_at_the_last_of_them(per_second: int) -> None:
    rules = msgspec.structs.replace(RULES, settle_s=0.0, hold_s=2 / per_second)
    for first in range(per_second, 10 * per_second):
        times = [0.0, *((first + index) / per_second for index in range(3))]
        seen = [seems("neutral"), *[seems("happy")] * 3]
        found = told(list(zip(times, seen, strict=True)), rules)
        assert ("update", "happy") in [
            (kind, label) for time, kind, label in found if time == times[3]
        ]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_what_is_left_out_and_a_setting_overrides_it(preset: Preset) -> None:
    told = Events(preset=preset, heartbeat_s=9.0).rules
    assert told == msgspec.structs.replace(PRESETS[preset], heartbeat_s=9.0)
    assert Events(preset=preset, hold_s=0.0).rules == msgspec.structs.replace(
        PRESETS[preset], hold_s=0.0
    )
    own = Events(preset=preset, settle_s=1.0, hold_s=2.0, margin=0.3).rules
    assert own == Rules(settle_s=1.0, hold_s=2.0, margin=0.3, heartbeat_s=5.0)


def test_calm_waits_longer_than_quick() -> None:
    calm, quick = PRESETS["calm"], PRESETS["quick"]
    assert (calm.hold_s, calm.margin) > (quick.hold_s, quick.margin)
    assert Events().rules == quick


@given(st.lists(st.floats(0.001, 1), min_size=7, max_size=7))
def test_valence_is_between_its_ends(weights: list[float]) -> None:
    total = math.fsum(weights)
    shares = tuple(weight / total for weight in weights)
    assert -1 <= valence(Estimate(LABELS, shares, "happy", max(shares))) <= 1


def test_a_smile_is_pleasant_and_anger_is_not() -> None:
    assert valence(seems("happy")) > 0.5
    assert valence(seems("angry")) < -0.4
    assert abs(valence(seems("neutral", 1.0))) < 1e-9


def test_a_label_that_is_not_known_counts_as_nothing() -> None:
    own = ("bored", "happy", "HAPPY")
    assert valence(Estimate(own, (1.0, 0.0, 0.0), "bored", 1.0)) == 0
    assert valence(Estimate(own, (0.25, 0.5, 0.25), "happy", 0.5)) == pytest.approx(0.405)


def test_confidence_is_that_of_the_told_label() -> None:
    estimate = seems("happy", 0.7)
    assert confidence_in("happy", estimate) == 0.7
    assert confidence_in("sad", estimate) < 0.1
    assert confidence_in(UNSURE, estimate) == 0.7


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 2), st.floats(0, 2))
def test_a_box_is_clipped_to_the_frame(x: float, y: float, width: float, height: float) -> None:
    box = clipped(Box(x, y, width, height))
    assert 0 <= box.x <= 1
    assert 0 <= box.y <= 1
    assert box.x + box.width <= 1.0001
    assert box.y + box.height <= 1.0001


def test_events_are_numbered_and_tell_where_they_come_from() -> None:
    factory = EventFactory("0123abcd", "mien-test@1+abc")
    latency = Latency(capture=1, detect=1, crop=1, frame=1, head=1, total=5)
    track = Track(7, Detection(Box(0, 0, 1, 1), Keypoints(*[Point(0, 0)] * 6), 0.9), 10.0, 12.0)
    kinds: list[Kind] = ["start", "update", "end"]
    events = [
        factory.make(
            kind,
            camera="door",
            track=track,
            emotion="happy",
            estimate=seems("happy"),
            latency=latency,
            time_s=12.0,
            ts="2026-01-01T00:00:00.000Z",
            clock_synced=True,
        )
        for kind in kinds
    ]
    assert [event.seq for event in events] == [1, 2, 3]
    assert len({event.id for event in events}) == 3
    assert msgspec.json.decode(msgspec.json.encode(events[0])) == {
        "schema": "mien-event/1",
        "id": "0123abcd-1",
        "seq": 1,
        "boot_id": "0123abcd",
        "type": "start",
        "camera": "door",
        "track": {"id": 7, "age_ms": 2000},
        "box": {"x": 0.0, "y": 0.0, "width": 1.0, "height": 1.0},
        "emotion": "happy",
        "confidence": 0.9,
        "probs": dict.fromkeys(LABELS, 0.0167) | {"happy": 0.9},
        "valence": events[0].valence,
        "ts": "2026-01-01T00:00:00.000Z",
        "clock_synced": True,
        "latency_ms": {
            "capture": 1.0,
            "detect": 1.0,
            "crop": 1.0,
            "frame": 1.0,
            "head": 1.0,
            "total": 5.0,
            "quality": 0.0,
        },
        "bundle": "mien-test@1+abc",
        "replayed": False,
        "poor": [],
    }
