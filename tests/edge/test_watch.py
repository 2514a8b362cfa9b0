"""What a subscriber hears, laid out to be read."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge.datatypes import Event, EventBox, Latency, TrackInfo
from edge.payloads import CameraStatus, Drops, FaceNow, Health, Problem, state
from edge.watch import Fleet, line, table

NOW = "2026-01-01T00:00:00.250Z"
BOX = EventBox(x=0, y=0, width=1, height=1)
HAPPY = FaceNow(track=3, emotion="happy", confidence=0.93, box=BOX)
NEUTRAL = FaceNow(track=4, emotion="neutral", confidence=0.5, box=BOX)
EVENT = Event(
    id="b-1",
    seq=1,
    boot_id="b",
    type="update",
    camera="door",
    track=TrackInfo(id=3, age_ms=900),
    box=BOX,
    emotion="happy",
    confidence=0.93,
    probs={"happy": 0.93},
    valence=0.7,
    ts=NOW,
    clock_synced=True,
    latency_ms=Latency(capture=1, detect=1, crop=1, frame=1, head=1, total=12.6),
    bundle="x",
)
HEALTH = Health(
    boot_id="b",
    ts=NOW,
    clock_synced=True,
    uptime_s=60,
    fps={"door": 14.8},
    latency_ms={},
    rss_mb=90,
    celsius=None,
    throttled=None,
    drops=Drops(frames={}, events=0),
    spool_depth=0,
    problems=(Problem(code="hot", text="cool the board", since=NOW),),
)


def heard(fleet: Fleet, topic: str, payload: object) -> Event | None:
    raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return fleet.receive(f"mien/kiosk/{topic}", raw)


def seen(camera: str, *faces: FaceNow) -> object:
    return state(camera, faces, ts=NOW, clock_synced=True)


def test_an_empty_table_says_so() -> None:
    assert "nothing heard yet" in table(Fleet())


def test_each_face_has_a_line() -> None:
    fleet = Fleet()
    heard(fleet, "availability", b"online")
    heard(fleet, "camera/door/state", seen("door", HAPPY, NEUTRAL))
    heard(fleet, "camera/hall/state", seen("hall"))
    rows = table(fleet).splitlines()
    assert rows[1].split() == ["kiosk", "online", "door", "3", "happy", "#########.", "93%"]
    assert rows[2].split() == ["4", "neutral", "#####.....", "50%"]
    assert rows[3].split() == ["hall", "-", "no", "face"]


def test_a_device_that_died_is_shown_as_dead() -> None:
    fleet = Fleet()
    heard(fleet, "availability", b"online")
    heard(fleet, "availability", b"offline")
    assert "OFFLINE" in table(fleet)


def test_trouble_is_shown_where_faces_would_be() -> None:
    fleet = Fleet()
    status = CameraStatus(
        camera="door", status="reconnecting", since=NOW, clock_synced=True, reason="unplugged"
    )
    heard(fleet, "availability", b"online")
    heard(fleet, "camera/door/status", status)
    heard(fleet, "health", HEALTH)
    assert "reconnecting" in table(fleet)
    assert "door 15 frames/s; cool the board" in table(fleet)


def test_an_events_latency_is_shown_beside_the_face() -> None:
    fleet = Fleet()
    heard(fleet, "camera/door/state", seen("door", HAPPY))
    heard(fleet, "camera/door/event", EVENT)
    assert table(fleet).splitlines()[1].endswith("93%  13 ms")


def test_a_cleared_topic_takes_the_camera_away() -> None:
    fleet = Fleet()
    heard(fleet, "camera/door/state", seen("door", HAPPY))
    heard(fleet, "camera/door/state", b"")
    assert "door" not in table(fleet)


def test_only_events_are_given_back() -> None:
    fleet = Fleet()
    assert heard(fleet, "availability", b"online") is None
    assert heard(fleet, "camera/door/event", EVENT) == EVENT
    assert fleet.receive("other/kiosk/camera/door/event", msgspec.json.encode(EVENT)) is None


def test_a_line_is_read_at_a_glance() -> None:
    shown = line(EVENT)
    for part in ("door", "face 3", "now", "happy", "#########.", "93%", "valence +0.70", "13 ms"):
        assert part in shown
    assert "appears" in line(replace(EVENT, type="start"))
    assert "left" in line(replace(EVENT, type="end"))


topics = st.sampled_from(
    ["mien/a/availability", "mien/a/health", "mien/a/camera/x/state", "mien/a/camera/x/status",
     "mien/a/camera/x/event", "mien/a", "mien", "else/a/b", "mien/a/camera/x/y/z"]
)  # fmt: skip
payloads = st.binary(max_size=20) | st.sampled_from(
    [
        b"{}",
        b"[]",
        b"3",
        b"null",
        b'{"present": 3}',
        b'{"id": "\x80"}',
        *map(msgspec.json.encode, (EVENT, HEALTH)),
    ]
)


@given(st.lists(st.tuples(topics, payloads), max_size=20))
def test_strangers_on_a_shared_broker_do_no_harm(messages: list[tuple[str, bytes]]) -> None:
    fleet = Fleet()
    for topic, payload in messages:
        fleet.receive(topic, payload)
    assert table(fleet)
