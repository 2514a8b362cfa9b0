"""Cameras on the network: MJPEG over HTTP from a real server; RTSP is tests/system/test_rtsp.py."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from mjpeg import MjpegServer

from edge.cameras import open_camera
from edge.cameras.opencv import OpenCvCamera
from edge.errors import CameraError
from edge.settings import Camera, Stream

QUICK = Stream(open_timeout_s=5.0, read_timeout_s=1.0)


@contextlib.contextmanager
def serving(server: MjpegServer) -> Iterator[MjpegServer]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.quit.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No option of this machine's, and none left behind by a test."""
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)


def open_stream(uri: str, wanted: Stream = QUICK) -> OpenCvCamera:
    camera = open_camera(Camera(uri=uri, stream=wanted))
    assert isinstance(camera, OpenCvCamera)
    return camera


def drain(camera: OpenCvCamera) -> None:
    while camera.read() is not None:
        pass


def refusal(uri: str, wanted: Stream = QUICK) -> str:
    with pytest.raises(CameraError) as caught:
        open_stream(uri, wanted)
    text = str(caught.value)
    assert "\n" not in text
    return text


# Reading


def test_frames_are_the_servers_pictures_with_the_time_of_decoding() -> None:
    with serving(MjpegServer()) as server:
        camera = open_stream(f"http://{server.address}/cam.mjpg")
        before = time.monotonic()
        frames = [camera.read() for _ in range(5)]
        after = time.monotonic()
        camera.close()
    times = []
    for frame in frames:
        assert frame is not None
        assert np.abs(frame.colour.astype(int) - server.picture).mean() < 5
        assert frame.luma.shape == (240, 320)
        assert frame.captured_s == frame.time_s
        times.append(frame.time_s)
    assert before <= times[0]
    assert times == sorted(set(times))
    assert times[-1] <= after
    assert camera.read() is None


def test_the_password_reaches_the_server_and_no_log() -> None:
    with serving(MjpegServer(login="kiosk:s3cret")) as server:
        camera = open_stream(f"http://kiosk:s3cret@{server.address}/cam.mjpg")
        assert camera.read() is not None
        camera.close()
        refused = refusal(f"http://kiosk:wr0ng@{server.address}/cam.mjpg")
    assert refused == (
        f"camera http://***@{server.address}/cam.mjpg: 127.0.0.1 port {server.server_port} "
        "answers, but gives no video; check path, user and password"
    )


# What goes wrong


def test_a_stream_that_ends_is_an_error() -> None:
    with serving(MjpegServer(frames=5)) as server:
        camera = open_stream(f"http://{server.address}/cam.mjpg")
        with pytest.raises(CameraError, match=r"cam\.mjpg: the stream ended; check that"):
            drain(camera)
        camera.close()


def test_a_stream_that_falls_silent_is_an_error_after_the_time_set() -> None:
    with serving(MjpegServer(frames=5, hangs=True)) as server:
        camera = open_stream(f"http://{server.address}/cam.mjpg")
        with pytest.raises(CameraError, match="no picture within 1 s; check the camera and the"):
            drain(camera)
        camera.close()


def test_a_wrong_path_is_told_from_a_camera_that_is_away() -> None:
    with serving(MjpegServer()) as server:
        assert "answers, but gives no video; check path" in refusal(f"http://{server.address}/x")
    assert "cannot be reached: Connection refused" in refusal(f"http://{server.address}/cam.mjpg")


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_server_that_says_nothing_is_given_up_after_the_time_set(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        text = refusal(f"{scheme}://127.0.0.1:{port}/x", Stream(open_timeout_s=0.5))
    assert "answers, but gave no video within 0.5 s" in text


def test_a_name_that_does_not_exist_is_told() -> None:
    assert "nowhere.invalid port 80 cannot be reached" in refusal("http://nowhere.invalid/x")


@pytest.mark.parametrize("uri", ["http:", "http:///cam", "rtsp://:554/x", "rtsp:cam/x"])
def test_a_uri_without_a_host_is_refused(uri: str) -> None:
    assert "names no host; give" in refusal(uri)


@pytest.mark.parametrize("uri", ["http://cam:port/x", "http://[cam/x"])
def test_a_damaged_uri_is_refused(uri: str) -> None:
    assert "not a URI" in refusal(uri)


def test_a_password_that_was_not_escaped_is_not_taken_for_a_port_and_quoted() -> None:
    text = refusal("rtsp://admin:pa/ss@cam/x")
    assert "'pa'" not in text
    assert "ss" not in text.replace("PASSWORD", "").replace("password", "")
    assert "with / ? # @ in a password as %2F %3F %23 %40" in text


def test_dead_cameras_do_not_queue_for_each_other() -> None:
    with contextlib.ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        mute.settimeout(20.0)
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}/x"

        def attempt() -> None:
            with contextlib.suppress(CameraError):
                open_stream(uri, Stream(open_timeout_s=60.0))

        threads = [threading.Thread(target=attempt, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        # All three are there at once, while none has been answered.
        for _ in threads:
            stack.enter_context(mute.accept()[0])
    for thread in threads:
        thread.join()


# Transport


class Unopened:
    """A `cv2.VideoCapture` that notes the environment it was made in."""

    seen: str | None

    def __init__(self, filename: str, api_preference: int, parameters: list[int]) -> None:
        assert api_preference == cv2.CAP_FFMPEG
        assert len(parameters) % 2 == 0
        Unopened.filename = filename
        Unopened.seen = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS")

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return True


def test_udp_is_asked_for_and_tcp_is_what_opencv_does_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Unopened)
    for transport, seen in [("tcp", None), ("udp", "rtsp_transport;udp"), ("tcp", None)]:
        open_stream("rtsp://cam/x", Stream(transport=transport))  # type: ignore[arg-type]
        assert Unopened.seen == seen


def test_an_administrators_own_options_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Unopened)
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;http")
    for transport in ("tcp", "udp"):
        open_stream("rtsp://cam/x", Stream(transport=transport))  # type: ignore[arg-type]
        assert Unopened.seen == "rtsp_transport;http"
