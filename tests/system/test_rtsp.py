"""RTSP, from a real server: GStreamer's, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from edge.cameras import open_camera
from edge.capture import Capture
from edge.errors import CameraError
from edge.mailbox import Situation
from edge.settings import Camera, Recovery, Stream

pytestmark = pytest.mark.system

PYTHON = "/usr/bin/python3"
"""Debian's own, for which gi is packaged."""

NEEDS = "apt install gir1.2-gst-rtsp-server-1.0 python3-gi"
PROBE = """
import gi
for part in ("Gst", "GstRtspServer"):
    gi.require_version(part, "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(Gst.ElementFactory.find(each) for each in ("videotestsrc", "jpegenc", "rtpjpegpay"))
"""
SERVER = """
import os
import sys
import gi
for part in ("Gst", "GstRtsp", "GstRtspServer"):
    gi.require_version(part, "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
server.set_address("127.0.0.1")
server.set_service(os.environ.get("RTSP_PORT", "0"))
factory.set_launch(
    "( videotestsrc is-live=true pattern=blue "
    "! video/x-raw,format=I420,width=320,height=240,framerate=15/1 "
    "! jpegenc quality=95 ! rtpjpegpay name=pay0 pt=26 )"
)
factory.set_shared(True)
factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, sys.argv[1]))
if len(sys.argv) > 2:
    user, password = sys.argv[2].split(":")
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", user)
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role(user, "media.factory.access", True)
    permissions.add_permission_for_role(user, "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
PATIENT = Stream(open_timeout_s=20.0, read_timeout_s=2.0)


@pytest.fixture(autouse=True, scope="module")
def gstreamer() -> None:
    try:
        subprocess.run([PYTHON, "-c", PROBE], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        assert os.environ.get("CI") != "true", f"CI must have GStreamer's RTSP server: {NEEDS}"
        pytest.skip(f"GStreamer's RTSP server is missing: {NEEDS}")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what choosing a transport leaves in the environment."""
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS")


def drain(capture: Capture) -> None:
    while not capture.ended:
        capture.take(timeout_s=30.0)


@contextlib.contextmanager
def serving(
    protocol: str, login: str = "", port: str = "0"
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server that speaks only `protocol`; give its address and its process."""
    command = [PYTHON, "-c", SERVER, protocol, *([login] if login else [])]
    environ = {**os.environ, "RTSP_PORT": port}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as server:
        assert server.stdout is not None
        try:
            yield f"127.0.0.1:{server.stdout.readline().strip()}", server
        finally:
            server.kill()


def test_frames_are_the_servers_pictures() -> None:
    with serving("TCP") as (address, _):
        camera = open_camera(Camera(uri=f"rtsp://{address}/cam", stream=PATIENT))
        before = time.monotonic()
        frames = [camera.read() for _ in range(10)]
        camera.close()
    times = []
    for frame in frames:
        assert frame is not None
        assert frame.luma.shape == (240, 320)
        blue, green, red = frame.colour.reshape(-1, 3).mean(axis=0)
        assert blue > 200
        assert max(green, red) < 40
        times.append(frame.captured_s)
    assert before <= times[0]
    assert times == sorted(set(times))


def test_a_camera_that_refuses_tcp_is_read_over_udp() -> None:
    with serving("UDP") as (address, _):
        camera = open_camera(Camera(uri=f"rtsp://{address}/cam", stream=PATIENT))
        assert camera.read() is not None
        camera.close()


def test_udp_alone_is_read_over_udp_and_never_over_tcp() -> None:
    udp = Stream(transport="udp", open_timeout_s=5.0, read_timeout_s=2.0)
    with serving("UDP") as (address, _):
        camera = open_camera(Camera(uri=f"rtsp://{address}/cam", stream=udp))
        assert camera.read() is not None
        camera.close()
    with serving("TCP") as (address, _), pytest.raises(CameraError, match="gives no video"):
        open_camera(Camera(uri=f"rtsp://{address}/cam", stream=udp))


def test_user_and_password_open_it_and_appear_in_no_error() -> None:
    with serving("TCP", login="kiosk:s3cret") as (address, _):
        camera = open_camera(Camera(uri=f"rtsp://kiosk:s3cret@{address}/cam", stream=PATIENT))
        assert camera.read() is not None
        camera.close()
        with pytest.raises(CameraError) as caught:
            open_camera(Camera(uri=f"rtsp://kiosk:wr0ng@{address}/cam", stream=PATIENT))
    assert str(caught.value).startswith(f"camera rtsp://***@{address}/cam: 127.0.0.1 port ")
    assert "check path, user and password" in str(caught.value)


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_camera_that_goes_away_is_an_error(end: str) -> None:
    with serving("TCP") as (address, server):
        settings = Camera(uri=f"rtsp://{address}/cam", name="yard", stream=PATIENT)
        capture = Capture(settings)
        capture.start()
        assert capture.take(timeout_s=30.0) is not None
        if end == "killed":
            server.kill()
        else:
            # The connection stays, and nothing comes over it.
            server.send_signal(signal.SIGSTOP)
        said = "the stream ended" if end == "killed" else "no picture within 2 s"
        with pytest.raises(CameraError, match=said):
            drain(capture)
        assert capture.stop()


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_camera_that_comes_back_is_read_again(end: str) -> None:
    with serving("TCP") as (address, _):
        port = address.rpartition(":")[2]
    settings = Camera(uri=f"rtsp://{address}/cam", name="yard", stream=PATIENT)
    capture = Capture(settings, recovery=Recovery(stalled_s=1.0, retry_longest_s=1.0))
    capture.start()
    told = [situation_of(capture, "reconnecting").reason]
    for _ in range(2):
        with serving("TCP", port=port) as (_, server):
            situation_of(capture, "ok")
            frames = [capture.take(timeout_s=10.0) for _ in range(10)]
            assert sum(frame is not None for frame in frames) >= 5
            server.send_signal(signal.SIGKILL if end == "killed" else signal.SIGSTOP)
            told.append(situation_of(capture, "reconnecting").reason)
    assert capture.stop(10.0)
    assert "cannot be reached" in told[0]
    wanted = "the stream ended" if end == "killed" else "no picture within 2 s"
    assert all(wanted in reason for reason in told[1:]), told


def situation_of(capture: Capture, condition: str) -> Situation:
    """Wait for it."""
    until_s = time.monotonic() + 60.0
    while time.monotonic() < until_s:
        capture.take(timeout_s=0.05)
        for situation in capture.changes():
            if situation.condition == condition:
                return situation
    raise AssertionError(f"never {condition}")
