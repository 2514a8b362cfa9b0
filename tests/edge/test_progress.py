"""What counts as progress, rule by rule; the whole daemon is in test_liveness.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backoff import Backoff
from edge.capture import Capture
from edge.health import Monitor
from edge.liveness import UNSEEN_S, Liveness, words
from edge.mailbox import Mailbox, Situation
from edge.mqtt import Link, Publisher
from edge.notify import Notifier
from edge.settings import Camera, Mqtt

AWAY = Link(
    connected=False,
    protocol=None,
    depth=7,
    dropped=0,
    refused=0,
    trouble="Connection refused",
    troubles=(),
)


class Scripted(Capture):
    """A capture whose state a test sets."""

    def __init__(self, name: str = "door") -> None:
        super().__init__(Camera(uri="rtsp://a", name=name))
        self.now = Situation("ok", "", 0.0)
        self.punctual, self.over = True, False

    @property
    def situation(self) -> Situation:
        return self.now

    @property
    def ended(self) -> bool:
        return self.over

    def on_schedule(self, now_s: float) -> bool:  # noqa: ARG002  # its signature
        return self.punctual


class Loop:
    """A publisher's loop that turns, or does not."""

    def __init__(self) -> None:
        self.turns = True

    def turning(self, now_s: float) -> bool:  # noqa: ARG002  # its signature
        return self.turns


class Under:
    """A daemon under a watchdog of 3 s, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(str(folder / "notify"))
        self.ear.settimeout(0.0)
        self.notifier = Notifier(str(folder / "notify"), 3.0)
        self.camera, self.loop = Scripted(), Loop()
        self.liveness = Liveness(self.notifier, [self.camera], self.loop)
        self.begun_s = monotonic()

    def signs(self, seconds: float, *, frames: bool = True) -> int:
        """How often it says that it lives in so many seconds from the beginning, beat by beat."""
        heard = 0
        for tenth in range(round(seconds * 10)):
            if frames:
                self.liveness.inferred("door", self.begun_s + tenth / 10)
            self.liveness.beat(self.begun_s + tenth / 10)
            try:
                heard += self.ear.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                continue
        return heard


@pytest.fixture
def under(tmp_path: Path) -> Iterator[Under]:
    made = Under(tmp_path)
    yield made
    made.notifier.close()
    made.ear.close()


def test_signs_of_life_come_three_times_in_the_watchdogs_time(under: Under) -> None:
    assert under.signs(9.0) == 9


def test_frames_that_are_not_looked_at_are_no_progress(under: Under) -> None:
    # Frames come (the camera is ok), none is looked at; the first ones are owed UNSEEN_S.
    assert under.signs(60.0, frames=False) in (round(UNSEEN_S), round(UNSEEN_S) + 1)
    under.begun_s += 60.0
    assert under.liveness.trouble(under.begun_s) == "camera door: its frames are not looked at"


@pytest.mark.parametrize("condition", ["stalled", "reconnecting", "paused"])
def test_a_camera_without_frames_on_schedule_is_progress(condition: str, under: Under) -> None:
    under.camera.now = Situation(condition, "", 0.0)  # type: ignore[arg-type]
    assert under.signs(30.0, frames=False) == 30
    under.camera.punctual = False
    under.begun_s += 30.0
    expected = 30 if condition == "paused" else 0
    assert under.signs(30.0, frames=False) == expected


def test_a_recording_that_is_over_asks_for_nothing(under: Under) -> None:
    under.camera.over, under.camera.punctual = True, False
    assert under.signs(30.0, frames=False) == 30


def test_a_publisher_that_hangs_is_no_progress_until_it_turns_again(under: Under) -> None:
    under.loop.turns = False
    assert under.signs(9.0) == 0
    under.loop.turns, under.begun_s = True, under.begun_s + 9.0
    assert under.signs(9.0) == 9


@given(st.lists(st.sampled_from(["ok", "stalled", "reconnecting", "paused"]), max_size=4))
def test_words_name_every_camera_in_one_line(conditions: list[str]) -> None:
    captures = [Scripted(f"c{index}") for index in range(len(conditions))]
    for capture, condition in zip(captures, conditions, strict=True):
        capture.now = Situation(condition, "why", 0.0)  # type: ignore[arg-type]
    text = words(captures, AWAY)
    assert text.count(" (why)") == len(conditions)
    assert text.endswith("broker away (Connection refused), 7 events wait")
    assert "\n" not in text


def test_the_publishers_loop_turns_while_it_waits_for_a_broker_and_not_when_it_hangs() -> None:
    publisher = Publisher(Mqtt(url="mqtt://127.0.0.1:1"), "lobby", ["door"], backoff=Backoff(0.1))
    publisher.start()
    assert publisher.turning(monotonic())
    assert not publisher.turning(monotonic() + 1000.0), "which it would be had it not moved since"
    publisher.close()


def test_what_a_mailbox_was_noted_is_read_once_and_not_after_it_is_closed() -> None:
    mailbox = Mailbox()
    assert mailbox.situation.condition == "reconnecting"
    assert mailbox.note("ok")
    assert not mailbox.note("ok")
    assert mailbox.note("stalled", "no picture")
    since_s = mailbox.situation.since_s
    assert mailbox.note("stalled", "hangs")
    assert mailbox.situation.since_s == since_s, "only the reason is new"
    assert mailbox.changed
    assert [each.reason for each in mailbox.changes()] == ["", "no picture", "hangs"]
    assert mailbox.changes() == []
    mailbox.close()
    assert not mailbox.note("ok")
    assert mailbox.situation.condition == "stalled"


def test_the_pace_is_in_the_report() -> None:
    monitor = Monitor("boot", ["door", "hall"])
    monitor.pace("hall", "idle")
    report = monitor.report(frames_dropped={}, events_dropped=0, spool_depth=0)
    assert report.pace == {"door": "full", "hall": "idle"}
