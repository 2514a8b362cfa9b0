"""Real cameras on the network that die and come back: processes killed by real signals. RTSP is in
tests/system/test_rtsp.py."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mjpeg import GARBAGE, MjpegServer
from realbroker import eventually, free_port

from edge.capture import Capture
from edge.datatypes import Frame
from edge.mailbox import Situation
from edge.settings import Camera, Recovery, Stream

SERVER = Path(__file__).parent / "mjpeg.py"
QUICK = Recovery(stalled_s=0.5, hang_s=20.0, retry_longest_s=0.5)


@contextmanager
def camera_on(port: int, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(SERVER), str(port), *words]
    with subprocess.Popen(command) as server:
        try:
            eventually(lambda: listens(port), "the camera")
            yield server
        finally:
            server.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Watch:
    """A capture of such a camera, with a note of all that it told."""

    def __init__(self, port: int) -> None:
        stream = Stream(open_timeout_s=2.0, read_timeout_s=1.0)
        settings = Camera(uri=f"http://127.0.0.1:{port}/cam.mjpg", stream=stream, frozen_s=1.0)
        self.capture = Capture(settings, recovery=QUICK)
        self.situations: list[Situation] = []
        self.frames: list[Frame] = []
        self.capture.start()

    def until(self, condition: str, reason: str = "") -> None:
        def there() -> bool:
            self.capture.attend(time.monotonic())
            self.situations += self.capture.changes()
            frame = self.capture.take(timeout_s=0.02)
            if frame is not None:
                self.frames.append(frame)
            return any(
                each.condition == condition and reason in each.reason for each in self.situations
            )

        eventually(there, f"{condition} {reason}")
        self.situations.clear()

    def gives_frames(self) -> bool:
        before = len(self.frames)
        for _ in range(10):
            frame = self.capture.take(timeout_s=5.0)
            self.frames += [frame] if frame is not None else []
        return len(self.frames) - before >= 5


@pytest.mark.slow
def test_a_camera_killed_five_times_comes_back_five_times(figure: Callable[[str], None]) -> None:
    port, waits_s = free_port(), []
    watch = Watch(port)
    watch.until("reconnecting", "cannot be reached")
    for _ in range(5):
        with camera_on(port, "moving") as server:
            begun_s = time.monotonic()
            watch.until("ok")
            waits_s.append(time.monotonic() - begun_s)
            assert watch.gives_frames()
            server.kill()
            watch.until("reconnecting")
    assert watch.capture.stop()
    times = [frame.time_s for frame in watch.frames]
    assert times == sorted(set(times))
    figure(f"5 of 5 times, at most {max(waits_s):.2f} s after it answered again")


@pytest.mark.slow
def test_a_camera_that_stands_still_for_a_while_is_told_as_stalled_then_read_again() -> None:
    port = free_port()
    watch = Watch(port)
    with camera_on(port, "moving") as server:
        watch.until("ok")
        # The connection stays, and nothing comes over it.
        server.send_signal(signal.SIGSTOP)
        watch.until("stalled", "no picture for 0.5 s")
        watch.until("reconnecting", "no picture within")
        server.send_signal(signal.SIGCONT)
        watch.until("ok")
        assert watch.gives_frames()
        assert watch.capture.stop()


def test_a_camera_that_sends_one_picture_for_ever_is_frozen() -> None:
    port = free_port()
    watch = Watch(port)
    with camera_on(port):
        watch.until("ok")
        watch.until("reconnecting", "one and the same picture for 1 s")
    with camera_on(port, "moving"):
        watch.until("ok")
        assert watch.gives_frames()
    assert watch.capture.stop()


@pytest.mark.slow
def test_garbage_among_pictures_costs_a_reconnection_at_most(
    figure: Callable[[str], None],
) -> None:
    before_mb = resident_mb()
    with spoiling(20) as server:
        watch = Watch(server.server_port)
        situations: list[Situation] = []
        shapes: set[tuple[int, ...]] = set()
        times: list[float] = []
        while server.spoilt < 3 * len(GARBAGE):
            watch.capture.attend(time.monotonic())
            situations += watch.capture.changes()
            frame = watch.capture.take(timeout_s=0.02)
            if frame is not None:
                shapes.add(frame.luma.shape)
                times.append(frame.time_s)
        grown_mb = resident_mb() - before_mb
        spoilt, server.spoilt_each = server.spoilt, 0
        eventually(watch.gives_frames, "pictures again")
        assert watch.capture.stop()
    lost = sum(each.condition == "reconnecting" for each in situations)
    assert lost <= spoilt
    assert {each.condition for each in situations} <= {"ok", "reconnecting"}
    assert shapes == {(240, 320)}
    assert times == sorted(set(times))
    # Nineteen good ones before each: what is lost is what was under way.
    assert len(times) > 10 * spoilt
    assert grown_mb < 50
    figure(
        f"{spoilt} pieces of garbage of {len(GARBAGE)} kinds, {lost} reconnections, "
        f"{len(times)} pictures, {grown_mb:.0f} MB more"
    )


@contextmanager
def spoiling(each: int) -> Iterator[MjpegServer]:
    with MjpegServer(frames=10**9, moving=True) as server:
        server.spoilt_each = each
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.quit.set()
            server.shutdown()
            thread.join()


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
