"""Frame -> list[Event]: the stages, wired."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

import cv2
import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge import schema
from edge.datatypes import (
    UNSURE,
    Box,
    Detection,
    Event,
    Frame,
    Keypoints,
    Point,
    UInt8Array,
)
from edge.emotion import Look, Memory
from edge.events import EventFactory
from edge.imaging import luma_of, read_image
from edge.pipeline import Pipeline, load_models
from edge.settings import PRESETS, Events, Limits, Preset, Settings, Tracker
from edge.settings import Detector as DetectorSettings

SETTINGS = Settings(
    tracker=Tracker(confirm=1, bridge_s=0.35),
    events=Events(settle_s=0.2, hold_s=0.2, heartbeat_s=1.0),
)
MODELS = load_models(SETTINGS)
VALIDATOR = Draft202012Validator(json.loads(schema.text("event")))
PORTRAIT = read_image(Path(__file__).parents[1] / "data" / "astronaut.webp")


class Script:
    """A detector that finds what it is told to, one list a look."""

    def __init__(self, *looks: Sequence[Detection]) -> None:
        self.looks = list(looks)
        self.count = 0

    def __call__(self, _: Frame) -> list[Detection]:
        self.count += 1
        return list(self.looks.pop(0)) if self.looks else []


def face(x: float, y: float = 0.5, size: float = 0.2) -> Detection:
    eye = size / 5
    points = Keypoints(
        Point(x - eye, y - eye), Point(x + eye, y - eye), Point(x, y), Point(x, y + eye),
        Point(x - 2 * eye, y), Point(x + 2 * eye, y),
    )  # fmt: skip
    return Detection(Box(x - size / 2, y - size / 2, size, size), points, 0.9)


def frames(count: int, per_second: float = 10) -> list[Frame]:
    assert PORTRAIT is not None
    now = monotonic()
    luma = luma_of(PORTRAIT)
    return [Frame(luma, PORTRAIT, now + index / per_second, monotonic()) for index in range(count)]


def pipeline(
    detector: Script | None = None, settings: Settings = SETTINGS, camera: str = "door"
) -> Pipeline:
    models = MODELS if detector is None else replace(MODELS, detector=detector)  # type: ignore[arg-type]
    return Pipeline(camera, settings, models, EventFactory("b00t", models.bundle.ident))


def told(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.type, event.track.id) for event in events]


def run(line: Pipeline, pictures: list[Frame]) -> list[Event]:
    events = [event for frame in pictures for event in line(frame)]
    return events + line.finish()


def test_a_portrait_becomes_a_start_heartbeats_and_an_end() -> None:
    events = run(pipeline(), frames(14))
    assert told(events) == [("start", 1), ("update", 1), ("end", 1)]
    assert {event.emotion for event in events} == {"happy"}
    start = events[0]
    assert start.bundle == MODELS.bundle.ident
    assert 0.2 <= start.box.x <= start.box.x + start.box.width <= 0.7


def test_every_event_is_what_its_schema_says() -> None:
    for event in run(pipeline(), frames(14)):
        VALIDATOR.validate(json.loads(msgspec.json.encode(event)))


def test_events_carry_where_the_time_went() -> None:
    start = run(pipeline(), frames(5))[0].latency_ms
    parts = start.detect + start.crop + start.quality + start.frame + start.head
    assert min(start.detect, start.crop, start.quality, start.frame, start.head) > 0
    assert start.total >= parts * 0.99


def test_a_face_that_comes_back_is_a_new_track() -> None:
    seen, away = [face(0.5)], []
    events = run(pipeline(Script(*[seen] * 5, *[away] * 5, *[seen] * 5)), frames(15))
    assert told(events) == [("start", 1), ("end", 1), ("start", 2), ("end", 2)]


def test_a_face_too_short_to_be_told_is_never_ended() -> None:
    events = run(pipeline(Script([face(0.5)])), frames(10))
    assert events == []


def test_two_faces_have_stories_of_their_own() -> None:
    both, one = [face(0.2), face(0.8)], [face(0.8)]
    events = run(pipeline(Script(*[both] * 4, *[one] * 6)), frames(10))
    assert told(events) == [("start", 1), ("start", 2), ("end", 1), ("end", 2)]
    assert [event.seq for event in events] == [1, 2, 3, 4]


def test_looking_less_often_still_follows_the_face() -> None:
    script = Script(*[[face(0.5)]] * 4)
    settings = msgspec.structs.replace(SETTINGS, detector=DetectorSettings(every=3))
    events = run(pipeline(script, settings), frames(10))
    assert script.count == 4
    assert told(events) == [("start", 1), ("end", 1)]


def test_cameras_number_their_events_together_and_their_tracks_apart() -> None:
    factory = EventFactory("b00t", "x")
    lines = [
        Pipeline(name, SETTINGS, replace(MODELS, detector=Script(*[[face(0.5)]] * 5)), factory)  # type: ignore[arg-type]
        for name in ("door", "hall")
    ]
    events = [event for frame in frames(5) for line in lines for event in line(frame)]
    events += [event for line in lines for event in line.finish()]
    assert [(event.camera, event.type, event.track.id) for event in events] == [
        ("door", "start", 1),
        ("hall", "start", 1),
        ("door", "end", 1),
        ("hall", "end", 1),
    ]
    assert [event.seq for event in events] == [1, 2, 3, 4]


def test_the_stages_are_observed() -> None:
    seen: dict[str, int] = {}

    def observe(stage: str, seconds: float) -> None:
        assert seconds >= 0
        seen[stage] = seen.get(stage, 0) + 1

    line = Pipeline("door", SETTINGS, MODELS, EventFactory("b", "x"), observe=observe)
    for frame in frames(3):
        line(frame)
    stages = ["capture", "detect", "crop", "quality", "frame", "head", "total"]
    assert seen == dict.fromkeys(stages, 3)


def blurred(pictures: list[Frame], first: int, last: int) -> list[Frame]:
    """The same, with what comes from `first` to before `last` out of focus."""
    soft = cv2.GaussianBlur(pictures[0].luma, (0, 0), 10)
    return [
        replace(each, luma=soft) if first <= index < last else each
        for index, each in enumerate(pictures)
    ]


STAY = msgspec.structs.replace(SETTINGS, tracker=Tracker(confirm=1, bridge_s=60))


def still(count: int) -> Script:
    (found,) = MODELS.detector(frames(1)[0])
    return Script(*[[found]] * count)


def test_a_face_that_is_too_poor_for_long_is_unsure_and_why_is_told() -> None:
    line = pipeline(still(40), STAY)
    events = [event for frame in blurred(frames(40), 10, 30) for event in line(frame)]
    told = [(event.type, event.emotion, event.poor) for event in events]
    assert told == [
        ("start", "happy", ()),
        ("update", "happy", ("blurred",)),  # a heartbeat: the answer stands
        ("update", UNSURE, ("blurred",)),
        ("update", "happy", ()),
    ]
    (state,) = line.present
    assert (state.emotion, state.poor) == ("happy", ())
    assert state.valence == pytest.approx(events[-1].valence, abs=0.1)
    assert state.valence > 0
    standing, unsure = events[1:3]
    assert standing.probs == pytest.approx(events[0].probs, abs=0.05)
    assert set(unsure.probs.values()) == {round(1 / 7, 4)}
    assert (unsure.latency_ms.frame, unsure.latency_ms.head) == (0, 0)
    assert unsure.latency_ms.quality > 0
    VALIDATOR.validate(json.loads(msgspec.json.encode(unsure)))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_moment_of_blur_changes_nothing(preset: Preset) -> None:
    line = pipeline(still(20), msgspec.structs.replace(STAY, events=Events(preset=preset)))
    events = [event for frame in blurred(frames(20), 10, 15) for event in line(frame)]
    assert {event.emotion for event in events} == {"happy"}


def test_a_face_that_was_never_seen_well_is_unsure_of_everything() -> None:
    line = pipeline(still(10), STAY)
    (start,) = [event for frame in blurred(frames(10), 0, 10) for event in line(frame)]
    assert (start.type, start.emotion, start.poor) == ("start", UNSURE, ("blurred",))
    assert set(start.probs.values()) == {round(1 / 7, 4)}
    (end,) = line.finish()
    assert (end.emotion, end.poor) == (UNSURE, ("blurred",))


def test_the_head_never_sees_a_look_that_is_too_poor() -> None:
    class Watched:
        def __init__(self) -> None:
            self.times: list[float] = []

        def look(self, tile: UInt8Array, memory: Memory | None, time_s: float) -> Look:
            self.times.append(time_s)
            return MODELS.emotion.look(tile, memory, time_s)

    watched = Watched()
    models = replace(MODELS, detector=still(20), emotion=watched)  # type: ignore[arg-type]
    line = Pipeline("door", STAY, models, EventFactory("b", "x"))
    pictures = blurred(frames(20), 5, 9)
    for frame in pictures:
        line(frame)
    good = pictures[:5] + pictures[9:]
    assert watched.times == [frame.time_s for frame in good]


def test_limits_are_settings() -> None:
    lax = msgspec.structs.replace(STAY, quality=Limits(least_sharpness=0))
    line = pipeline(still(20), lax)
    events = [event for frame in blurred(frames(20), 5, 20) for event in line(frame)]
    assert all(event.poor == () for event in events)


def test_in_a_crowd_no_more_faces_are_told_than_are_asked_for() -> None:
    crowd = [face(0.1, size=0.1), face(0.5, size=0.3), face(0.9, size=0.2)]
    two = msgspec.structs.replace(SETTINGS, detector=DetectorSettings(most_faces=2))
    events = run(pipeline(Script(*[crowd] * 5), two), frames(5))
    assert sorted(told(events)) == [("end", 1), ("end", 2), ("start", 1), ("start", 2)]
    assert {round(event.box.width, 1) for event in events} == {0.3, 0.2}


def test_nothing_of_the_picture_is_in_an_event() -> None:
    for event in run(pipeline(), frames(5)):
        assert len(msgspec.json.encode(event)) < 1200
        assert not any(
            isinstance(value, bytes | np.ndarray) for value in msgspec.to_builtins(event).values()
        )
