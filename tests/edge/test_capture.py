"""A thread for each camera, and the mailbox between it and the main thread."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.capture import Capture, Captures
from edge.datatypes import Frame
from edge.errors import CameraError
from edge.mailbox import Mailbox
from edge.settings import Camera as CameraSettings

LONG_S = 30.0
"""How long a test waits before it calls something hung; none is meant to take this long."""


def frame_of(number: int) -> Frame:
    picture = np.full((4, 6, 3), number % 256, np.uint8)
    return Frame(picture[..., 0], picture, float(number), 0.0)


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def finishes(thread: threading.Thread) -> bool:
    thread.join(LONG_S)
    return not thread.is_alive()


# The mailbox


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    mailbox = Mailbox()
    for number in range(5):
        assert mailbox.put(frame_of(number))
    frame = mailbox.take()
    assert frame is not None
    assert frame.time_s == 4.0
    assert mailbox.dropped == 4


def test_a_frame_is_taken_once() -> None:
    mailbox = Mailbox()
    mailbox.put(frame_of(1))
    assert mailbox.take() is not None
    assert mailbox.take() is None
    assert not mailbox.ended


def test_taking_waits_for_a_frame_as_long_as_it_is_told() -> None:
    mailbox = Mailbox()
    assert mailbox.take(timeout_s=0.01) is None
    in_background(lambda: mailbox.put(frame_of(7)))
    frame = mailbox.take(timeout_s=LONG_S)
    assert frame is not None
    assert frame.time_s == 7.0


def test_a_source_that_must_not_lose_frames_waits_for_each_to_be_taken() -> None:
    mailbox = Mailbox()
    thread = in_background(lambda: [mailbox.put_waiting(frame_of(each)) for each in range(50)])
    taken = []
    for _ in range(50):
        frame = mailbox.take(timeout_s=LONG_S)
        assert frame is not None
        taken.append(frame.time_s)
    assert finishes(thread)
    assert taken == list(range(50))
    assert mailbox.dropped == 0


def test_the_end_comes_after_the_last_frame() -> None:
    mailbox = Mailbox()
    mailbox.put(frame_of(1))
    mailbox.finish()
    assert mailbox.ready
    assert not mailbox.ended
    assert mailbox.take() is not None
    assert mailbox.ready
    assert not mailbox.ended
    assert mailbox.take() is None
    assert mailbox.ended
    assert not mailbox.ready


def test_an_error_comes_after_the_last_frame_and_stays() -> None:
    mailbox = Mailbox()
    mailbox.put(frame_of(1))
    mailbox.finish(CameraError("unplugged"))
    assert mailbox.take() is not None
    for _ in range(2):
        with pytest.raises(CameraError, match="unplugged"):
            mailbox.take()
        assert mailbox.ended


def test_the_end_wakes_who_waits_for_a_frame() -> None:
    mailbox = Mailbox()
    thread = in_background(lambda: mailbox.take(timeout_s=None))
    mailbox.finish()
    assert finishes(thread)


def test_closing_lets_everyone_go() -> None:
    mailbox = Mailbox()
    mailbox.put(frame_of(1))
    left: list[bool] = []
    putting = in_background(lambda: left.append(mailbox.put_waiting(frame_of(2))))
    mailbox.close()
    assert finishes(putting)
    assert left == [False]
    assert finishes(in_background(lambda: mailbox.take(timeout_s=None)))
    assert mailbox.take() is None
    assert not mailbox.put(frame_of(3))


@given(st.lists(st.booleans(), max_size=60))
def test_every_frame_is_either_taken_or_counted_as_dropped(puts: list[bool]) -> None:
    mailbox, taken = Mailbox(), []
    for number, put in enumerate(puts):
        if put:
            mailbox.put(frame_of(number))
        elif (frame := mailbox.take()) is not None:
            taken.append(frame.time_s)
    mailbox.finish()
    while (frame := mailbox.take()) is not None:
        taken.append(frame.time_s)
    assert len(taken) + mailbox.dropped == sum(puts)
    assert taken == sorted(taken)


# One camera


class Scripted:
    """A camera that does what a test says."""

    def __init__(
        self, frames: Iterator[Frame], *, lossless: bool = True, gate: threading.Event | None = None
    ) -> None:
        self.lossless = lossless
        self.closed = threading.Event()
        self.reading = threading.Event()
        self._frames = frames
        self._gate = gate

    def read(self) -> Frame | None:
        self.reading.set()
        if self._gate is not None:
            self._gate.wait(LONG_S)
        return next(self._frames, None)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scripted], CameraSettings]:
    """Let `Capture` open a scripted camera."""
    cameras: dict[str, Scripted] = {}
    monkeypatch.setattr("edge.reader.open_camera", lambda settings: cameras[settings.uri])

    def connect(camera: Scripted) -> CameraSettings:
        name = f"camera-{len(cameras)}"
        cameras[name] = camera
        return CameraSettings(uri=name, name=name)

    return connect


Plug = Callable[[Scripted], CameraSettings]


def drain(capture: Capture) -> list[Frame]:
    frames = []
    while not capture.ended:
        frame = capture.take(timeout_s=LONG_S)
        if frame is not None:
            frames.append(frame)
    return frames


def sample_folder(path: Path, count: int) -> Path:
    import cv2  # noqa: PLC0415  # only here

    for index in range(count):
        picture = np.zeros((20, 40, 3), np.uint8)
        picture[:, :20] = index
        cv2.imwrite(str(path / f"{index}.png"), picture)
    return path


def test_every_frame_of_a_clip_played_fast_arrives(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path, 20)
    capture = Capture(CameraSettings(uri=f"clip:{folder}?pace=fast"))
    capture.start()
    frames = drain(capture)
    assert [int(frame.luma[0, 0]) for frame in frames] == list(range(20))
    assert (capture.frames, capture.dropped) == (20, 0)
    assert capture.stop()


def test_of_a_live_camera_every_frame_is_taken_or_dropped(plug: Plug) -> None:
    camera = Scripted(map(frame_of, range(200)), lossless=False)
    capture = Capture(plug(camera))
    capture.start()
    assert camera.closed.wait(LONG_S)
    frames = drain(capture)
    assert [frame.time_s for frame in frames] == [199.0]
    assert (capture.frames, capture.dropped) == (200, 199)


def test_frames_are_arranged_as_the_settings_say(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path, 1)
    settings = CameraSettings(
        uri=f"clip:{folder}?pace=fast", rotate=90, region=(0.0, 0.5, 1.0, 0.5)
    )
    capture = Capture(settings)
    capture.start()
    (frame,) = drain(capture)
    assert frame.luma.shape == (20, 20)
    assert frame.colour.shape == (20, 20, 3)


def test_a_camera_that_cannot_be_opened_is_reported_where_frames_are_taken(tmp_path: Path) -> None:
    capture = Capture(CameraSettings(uri=f"clip:{tmp_path / 'nowhere.mp4'}"))
    capture.start()
    with pytest.raises(CameraError, match="no such file"):
        capture.take(timeout_s=LONG_S)
    assert capture.ended
    assert capture.stop()


def test_frames_before_a_failure_still_arrive(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path, 3)
    (folder / "2.png").write_bytes(b"damaged")
    capture = Capture(CameraSettings(uri=f"clip:{folder}?pace=fast"))
    capture.start()
    assert capture.take(timeout_s=LONG_S) is not None
    assert capture.take(timeout_s=LONG_S) is not None
    with pytest.raises(CameraError, match=r"2\.png"):
        capture.take(timeout_s=LONG_S)


def test_a_defect_in_the_thread_reaches_the_taker_and_the_camera_is_closed(plug: Plug) -> None:
    camera = Scripted(frame_of(1 // number) for number in (1, 0))
    capture = Capture(plug(camera))
    capture.start()
    with pytest.raises(ZeroDivisionError):
        drain(capture)
    assert camera.closed.is_set()


def test_stopping_closes_a_camera_that_waits_for_its_frame_to_be_taken(plug: Plug) -> None:
    camera = Scripted(map(frame_of, range(1000)))
    capture = Capture(plug(camera))
    capture.start()
    assert capture.take(timeout_s=LONG_S) is not None
    assert capture.stop(LONG_S)
    assert camera.closed.is_set()
    assert capture.take() is None


def test_stopping_does_not_wait_for_ever_for_a_read_that_hangs(plug: Plug) -> None:
    gate = threading.Event()
    camera = Scripted(map(frame_of, range(1)), gate=gate)
    capture = Capture(plug(camera))
    capture.start()
    assert camera.reading.wait(LONG_S)
    assert not capture.stop(timeout_s=0.01)
    gate.set()
    assert capture.stop(LONG_S)
    assert camera.closed.is_set()


def test_a_capture_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    assert Capture(CameraSettings(uri=f"clip:{tmp_path}")).stop()


# Several cameras


def test_all_frames_of_all_cameras_arrive_and_none_is_favoured(plug: Plug) -> None:
    settings = [plug(Scripted(map(frame_of, range(30)))) for _ in range(3)]
    taken: dict[str, list[float]] = {each.name: [] for each in settings}
    with Captures(settings) as captures:
        while captures.active:
            assert captures.wait(LONG_S)
            for capture in captures.active:
                frame = capture.take()
                if frame is not None:
                    taken[capture.name].append(frame.time_s)
    assert all(times == list(range(30)) for times in taken.values())


def test_waiting_ends_without_news_after_its_time(plug: Plug) -> None:
    gate = threading.Event()
    with Captures([plug(Scripted(iter(()), gate=gate))]) as captures:
        assert not captures.wait(timeout_s=0.01)
        gate.set()
        assert captures.wait(LONG_S)


def test_a_camera_that_ended_is_no_news_twice(plug: Plug) -> None:
    gate = threading.Event()
    ended, silent = Scripted(iter(())), Scripted(iter(()), gate=gate)
    with Captures([plug(ended), plug(silent)]) as captures:
        assert captures.wait(LONG_S)
        first, second = captures.all
        assert first.take() is None
        assert captures.active == [second]
        assert not captures.wait(timeout_s=0.01)
        gate.set()


def test_waiting_can_be_cut_short(plug: Plug) -> None:
    gate = threading.Event()
    with Captures([plug(Scripted(iter(()), gate=gate))]) as captures:
        captures.wake()
        assert not captures.wait(LONG_S)
        news: list[bool] = []
        waiting = in_background(lambda: news.append(captures.wait(LONG_S)))
        captures.wake()
        assert finishes(waiting)
        assert news == [False]
        gate.set()


def test_waiting_can_be_cut_short_from_a_signal_handler(plug: Plug) -> None:
    gate = threading.Event()
    before = signal.getsignal(signal.SIGALRM)
    with Captures([plug(Scripted(iter(()), gate=gate))]) as captures:
        signal.signal(signal.SIGALRM, lambda *_: captures.wake())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            began = time.monotonic()
            assert not captures.wait(LONG_S)
            assert time.monotonic() - began < LONG_S / 2
        finally:
            signal.signal(signal.SIGALRM, before)
        gate.set()


def test_a_dead_camera_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    dead = CameraSettings(uri=f"v4l2:{tmp_path / 'video9'}", name="door")
    alive = CameraSettings(uri=f"clip:{sample_folder(tmp_path, 3)}?pace=fast", name="hall")
    with Captures([dead, alive]) as captures:
        door, hall = captures.all
        with pytest.raises(CameraError, match="video9: no such device"):
            door.take(timeout_s=LONG_S)
        assert len(drain(hall)) == 3
        assert captures.active == []


def test_leaving_stops_every_camera_even_after_an_error(plug: Plug) -> None:
    cameras = [Scripted(map(frame_of, range(1000))) for _ in range(2)]

    def interrupted() -> None:
        with Captures([plug(camera) for camera in cameras]) as captures:
            captures.wait(LONG_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(camera.closed.wait(LONG_S) for camera in cameras)
