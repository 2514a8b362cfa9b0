"""Live cameras are opened again, whatever befalls them: the capture, with a camera that does what a
file says. Real streams are in test_recovery.py, the whole daemon in test_liveness.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
from realbroker import eventually

from edge import cameras
from edge.capture import Capture
from edge.datatypes import Frame
from edge.errors import CameraUriError, HungError
from edge.mailbox import Situation
from edge.reader import limits_of, usable
from edge.settings import Camera as CameraSettings
from edge.settings import Recovery, Stream

QUICK = Recovery(stalled_s=0.5, hang_s=0.5, retry_longest_s=0.2)
"""A call hangs after 1 s: a camera without limits of its own counts as having one of 0.5 s."""


_numbers = count()


class Live:
    """A capture of the double, and what a main thread would see of it."""

    def __init__(self, control: Path, *, frozen_s: float = 0.4) -> None:
        self.control = control
        # A lost thread of another test must not be taken for one of this.
        self.name = f"door-{next(_numbers)}"
        settings = CameraSettings(uri=f"double:{control}", name=self.name, frozen_s=frozen_s)
        self.capture = Capture(settings, recovery=QUICK)
        self.situations: list[Situation] = []
        self.frames: list[Frame] = []

    def become(self, mode: str) -> None:
        self.control.write_text(mode)

    def look(self) -> None:
        """One turn of a main loop."""
        self.capture.attend(time.monotonic())
        self.situations += self.capture.changes()
        frame = self.capture.take(timeout_s=0.02)
        if frame is not None:
            self.frames.append(frame)

    @property
    def threads(self) -> int:
        return sum(each.name == f"capture {self.name}" for each in threading.enumerate())

    def until(self, condition: str, reason: str = "") -> Situation:
        def found() -> list[Situation]:
            return [
                each
                for each in self.situations
                if each.condition == condition and reason in each.reason
            ]

        def there() -> bool:
            self.look()
            return bool(found())

        eventually(there, f"{condition} {reason}")
        last = found()[-1]
        self.situations.clear()
        return last

    def more(self, count: int) -> list[Frame]:
        """Wait for so many frames."""
        before = len(self.frames)

        def there() -> bool:
            self.look()
            return len(self.frames) >= before + count

        eventually(there, f"{count} frames")
        return self.frames[before:]

    def seconds(self, seconds: float) -> list[Frame]:
        until_s, before = time.monotonic() + seconds, len(self.frames)
        while time.monotonic() < until_s:
            self.look()
        return self.frames[before:]


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Live]]:
    monkeypatch.setitem(cameras.KINDS, "double", "doubles")
    made: list[Live] = []

    def make(mode: str = "ok", **settings: float) -> Live:
        made.append(Live(tmp_path / f"control-{len(made)}", **settings))
        made[-1].become(mode)
        made[-1].capture.start()
        return made[-1]

    yield make
    for each in made:
        each.become("ok")
        each.capture.stop()


Make = Callable[..., Live]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("error", "unplugged"),
        ("end", "the stream ended"),
        ("absent", "no such device"),
        ("garbage", "30 pictures in a row that are none"),
        ("freeze", "one and the same picture for 0.4 s"),
    ],
)
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_camera_that_is_lost_is_opened_again_and_frames_flow(
    fault: str, reason: str, times: int, live: Make
) -> None:
    camera = live()
    camera.until("ok")
    for _ in range(times):
        camera.become(fault)
        camera.until("reconnecting", reason)
        assert not camera.capture.ended
        camera.become("ok")
        camera.until("ok")
        camera.more(3)
    times = [frame.time_s for frame in camera.frames]
    assert times == sorted(set(times))


def test_a_camera_that_is_missing_at_the_start_is_waited_for(live: Make) -> None:
    camera = live("absent")
    assert "no such device" in camera.until("reconnecting").reason
    camera.become("ok")
    assert camera.until("ok").reason == ""


@pytest.mark.slow
def test_what_a_camera_froze_with_is_not_shown_again(live: Make) -> None:
    camera = live()
    camera.until("ok")
    camera.become("freeze")
    assert "one and the same picture" in camera.until("stalled").reason
    # It is opened again and again, and never called well, while it still gives that picture.
    camera.situations.clear()
    assert camera.seconds(1.5) == []
    assert all(each.condition != "ok" for each in camera.situations)
    assert sum("froze" in each.reason for each in camera.situations) >= 1


def test_a_source_that_may_hold_still_is_let_be(live: Make) -> None:
    camera = live("freeze", frozen_s=0.0)
    camera.until("ok")
    camera.seconds(0.5)
    camera.more(10)
    assert camera.situations == []


def test_some_garbage_and_another_resolution_are_survived(live: Make) -> None:
    camera = live()
    camera.until("ok")
    whole = camera.more(1)[0].luma.shape
    camera.become("garbage")
    time.sleep(0.3)
    camera.become("small")
    half = (whole[0] // 2, whole[1] // 2)
    eventually(lambda: camera.more(1)[-1].luma.shape == half, "the other resolution")
    assert {frame.luma.shape for frame in camera.more(5)} == {half}
    assert camera.situations == []


@pytest.mark.parametrize(
    ("luma", "colour", "time_s"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8), float("nan")),
        (np.zeros((4, 4), np.float32), np.zeros((4, 4, 3), np.uint8), 0.0),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), 0.0),
        (np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 0.0),
        (np.zeros(4, np.uint8), np.zeros((4, 4, 3), np.uint8), 0.0),
    ],
)
def test_what_is_no_picture_is_told(luma: np.ndarray, colour: np.ndarray, time_s: float) -> None:
    assert not usable(Frame(luma, colour, time_s, 0.0))


@pytest.mark.slow
def test_a_read_that_hangs_once_is_left_behind_and_frames_flow_again(live: Make) -> None:
    camera = live()
    camera.until("ok")
    before = camera.capture.frames
    camera.become("hang-once")
    assert "no picture for 0.5 s" in camera.until("stalled").reason
    assert "hangs while reading" in camera.until("reconnecting").reason
    camera.until("ok")
    camera.seconds(2.0)
    camera.more(30)  # The thread that is lost for ever harms nobody.
    assert camera.capture.frames > before
    assert camera.threads == 2


@pytest.mark.slow
def test_a_read_that_hangs_for_a_while_ends_its_thread_when_it_returns(live: Make) -> None:
    camera = live()
    camera.until("ok")
    camera.become("hang")
    camera.until("reconnecting")
    camera.become("ok")
    camera.until("ok")
    frames = camera.more(10)
    times = [frame.time_s for frame in frames]
    assert times == sorted(set(times)), "none of the lost thread's frames comes between"
    eventually(lambda: camera.threads == 1, "the end of the lost thread")


@pytest.mark.slow
def test_a_driver_that_hangs_for_good_is_left_to_a_new_process(live: Make) -> None:
    camera = live()
    camera.until("ok")
    camera.become("hang")
    began_s = time.monotonic()
    with pytest.raises(HungError, match=r"hangs .*only a new process"):
        camera.seconds(20.0)
    assert time.monotonic() - began_s >= 1.8, "twice the time after which a call hangs"


def test_a_clip_that_hangs_is_not_begun_anew(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.reader.is_live", lambda _: False)
    camera = live("hang")
    with pytest.raises(HungError, match="hangs while reading it"):
        camera.seconds(20.0)


def test_a_thread_that_is_late_is_off_schedule_and_no_other_is(live: Make) -> None:
    camera = live()
    camera.until("ok")
    for mode in ("ok", "absent", "freeze"):
        camera.become(mode)
        for _ in range(20):
            camera.look()
            assert camera.capture.on_schedule(time.monotonic())
    camera.become("hang")
    time.sleep(0.2)
    assert camera.capture.on_schedule(time.monotonic())
    assert not camera.capture.on_schedule(time.monotonic() + 60.0)


def test_a_paused_camera_is_closed_and_opened_when_it_is_wanted(live: Make) -> None:
    camera = live()
    camera.until("ok")
    camera.capture.pause()
    assert camera.until("paused").reason == "on request"
    camera.seconds(0.1)
    assert camera.seconds(0.5) == []
    assert camera.capture.on_schedule(time.monotonic() + 1e6), "it may be paused for ever"
    camera.capture.resume()
    camera.until("ok")
    camera.become("absent")
    camera.until("reconnecting")
    camera.capture.pause()
    camera.until("paused")
    assert camera.capture.stop()


def test_frames_that_are_not_wanted_are_passed_over_and_the_next_wanted_one_is_not(
    live: Make,
) -> None:
    camera = live()
    camera.until("ok")
    camera.capture.interval_s = 0.25
    taken = [frame.time_s for frame in camera.more(6)]
    assert min(after - before for before, after in pairwise(taken)) > 0.2
    camera.capture.interval_s = 0.0
    taken = [frame.time_s for frame in camera.more(12)]
    assert min(after - before for before, after in pairwise(taken)) < 0.2


def test_a_uri_that_can_name_no_camera_is_an_error_at_once() -> None:
    for uri in ("http:///cam", "argus:door", "picamera2:x"):
        capture = Capture(CameraSettings(uri=uri), recovery=QUICK)
        capture.start()
        with pytest.raises(CameraUriError):
            capture.take(timeout_s=10.0)
        assert capture.ended


def test_a_streams_own_time_limits_come_before_ours() -> None:
    stream = Stream(open_timeout_s=20.0, read_timeout_s=7.0)
    limits = limits_of(CameraSettings(uri="rtsp://a", stream=stream), Recovery(hang_s=30.0))
    assert (limits.open_s, limits.read_s) == (50.0, 37.0)
