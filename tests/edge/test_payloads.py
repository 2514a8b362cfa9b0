"""Payloads fit their schemas, and a subscriber of version 1 may meet new keys."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge import payloads, schema
from edge.datatypes import EventBox
from edge.payloads import (
    BundleInfo,
    CameraState,
    CameraStatus,
    Drops,
    FaceNow,
    Health,
    Info,
    Percentiles,
    Problem,
    Result,
    dominant,
)

TS = "2026-01-02T03:04:05.678Z"
BOX = EventBox(x=0.0, y=0.25, width=0.5, height=0.75)


def face(emotion: str, confidence: float = 0.5, track: int = 1, valence: float = 0.0) -> FaceNow:
    return FaceNow(track=track, emotion=emotion, confidence=confidence, box=BOX, valence=valence)


EXAMPLES = {
    "info": Info(
        device_id="kiosk",
        boot_id="b",
        started=TS,
        clock_synced=False,
        versions={"mien": "0.1.0"},
        board="unknown",
        machine="aarch64",
        bundle=BundleInfo(ident="a@1+0", sha256="ab" * 32),
        backend="cpu",
        cameras=("door",),
    ),
    "health": Health(
        boot_id="b",
        ts=TS,
        clock_synced=True,
        uptime_s=0.0,
        fps={"door": 14.9},
        latency_ms={"detect": Percentiles(p50=1.0, p95=2.0, p99=3.0)},
        rss_mb=80.5,
        celsius=None,
        throttled=None,
        drops=Drops(frames={"door": 1}, events=0),
        spool_depth=0,
        problems=(Problem(code="under-voltage", text="weak supply", since=TS),),
    ),
    "status": CameraStatus(
        camera="door", status="stalled", since=TS, clock_synced=True, reason="no frame for 5 s"
    ),
    "result": Result(
        device_id="kiosk",
        boot_id="b",
        command="pause",
        id=None,
        outcome="done",
        text="paused: door",
        ts=TS,
        clock_synced=True,
    ),
    "state": payloads.state("door", [face("happy")], ts=TS, clock_synced=True),
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_payload_fits_its_schema_and_reads_back(name: str) -> None:
    payload = EXAMPLES[name]
    encoded = msgspec.json.encode(payload)
    validator = Draft202012Validator(json.loads(schema.text(name)))
    validator.validate(json.loads(encoded))
    assert msgspec.json.decode(encoded, type=type(payload)) == payload
    validator.validate({**json.loads(encoded), "added_later": 1})
    missing = json.loads(encoded)
    del missing["clock_synced"]
    assert not validator.is_valid(missing)


def test_every_payload_names_its_schema() -> None:
    named = {name: payload.schema for name, payload in EXAMPLES.items()}
    assert named == {
        "info": "mien-info/1",
        "health": "mien-health/1",
        "result": "mien-result/1",
        "status": "mien-camera-status/1",
        "state": "mien-camera-state/1",
    }


@pytest.mark.parametrize(
    ("faces", "emotion"),
    [
        ([], None),
        ([face("sad")], "sad"),
        ([face("sad", 0.9), face("happy", 0.3), face("happy", 0.3)], "happy"),
        ([face("sad", 0.4), face("happy", 0.6)], "happy"),
        ([face("happy", 0.6), face("unsure", 0.3), face("unsure", 0.3)], "unsure"),
    ],
)
def test_the_dominant_emotion_is_what_most_faces_show(
    faces: list[FaceNow], emotion: str | None
) -> None:
    assert dominant(faces) == emotion


def test_how_sure_a_state_is_of_its_emotion_is_the_mean_of_those_who_show_it() -> None:
    present = [face("happy", 0.8), face("happy", 0.6), face("sad", 0.9)]
    assert payloads.state("door", present, ts=TS, clock_synced=False).confidence == 0.7


def test_the_valence_of_a_state_is_the_mean_of_all_in_view() -> None:
    present = [face("happy", valence=0.75), face("happy", valence=0.5), face("sad", valence=-0.5)]
    assert payloads.state("door", present, ts=TS, clock_synced=False).valence == 0.25


def test_without_a_face_there_is_neither_emotion_nor_confidence_nor_valence() -> None:
    state = payloads.state("door", ts=TS, clock_synced=False)
    assert (state.emotion, state.confidence, state.valence) == (None, None, None)


faces = st.builds(
    face, st.sampled_from(["happy", "sad", "unsure"]), st.floats(0, 1), st.integers(1, 9)
)


@given(st.lists(faces, max_size=6))
def test_a_state_counts_its_faces(present: list[FaceNow]) -> None:
    state = payloads.state("door", present, ts=TS, clock_synced=False)
    assert isinstance(state, CameraState)
    assert state.faces == len(state.present) == len(present)
    shown = [each.emotion for each in present]
    if shown:
        assert state.emotion is not None
        assert shown.count(state.emotion) == max(map(shown.count, shown))
    else:
        assert state.emotion is None
