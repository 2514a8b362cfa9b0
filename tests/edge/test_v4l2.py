"""V4L2 devices. There is none here: OpenCV's capture and the kernel's ioctls are stand-ins with
the real signatures; what the kernel says of files that are no cameras is real."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import Camera, open_camera, open_uri
from edge.cameras.opencv import MOST_DAMAGED
from edge.errors import CameraError
from edge.settings import Camera as CameraSettings
from edge.settings import V4l2

CAPTURE, METADATA, PER_NODE = 0x1, 0x00800000, 0x80000000


class FakeCapture:
    """A device behind `cv2.VideoCapture`; it gives 640x480 YUYV whatever it is asked."""

    def __init__(self, filename: str, api_preference: int) -> None:
        assert api_preference == cv2.CAP_V4L2
        self.filename = filename
        self.asked: list[tuple[int, float]] = []
        self.properties: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: 640,
            cv2.CAP_PROP_FRAME_HEIGHT: 480,
            cv2.CAP_PROP_FPS: 30,
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
        }
        self.script: list[str] = ["good"] * 3
        self.stamp_s = 0.0
        self.now = ""

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return True

    def set(self, prop_id: int, value: float) -> bool:
        self.asked.append((prop_id, value))
        return True

    def get(self, prop_id: int) -> float:
        return self.stamp_s * 1000 if prop_id == cv2.CAP_PROP_POS_MSEC else self.properties[prop_id]

    def grab(self) -> bool:
        self.now = self.script.pop(0) if self.script else "gone"
        return self.now != "gone"

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        return (True, np.full((480, 640, 3), 7, np.uint8)) if self.now == "good" else (False, None)

    def release(self) -> None:
        self.script = []


class Machine:
    """What a test may arrange: the node's capabilities, its controls, the opened capture."""

    def __init__(self, node: Path) -> None:
        self.node = node
        self.settings = CameraSettings(uri=f"v4l2:{node}")
        self.capabilities = (CAPTURE | PER_NODE, CAPTURE)
        self.control_error: int | None = None
        self.controls: list[tuple[int, int]] = []
        self.capture: FakeCapture | None = None

    def ioctl(self, fd: int, request: int, arg: bytes | bytearray) -> int:
        assert os.fstat(fd).st_ino == self.node.stat().st_ino
        if request == 0x80685600:  # VIDIOC_QUERYCAP
            assert isinstance(arg, bytearray)
            assert len(arg) == 104
            struct.pack_into("II", arg, 84, *self.capabilities)
            return 0
        assert request == 0xC008561C  # VIDIOC_S_CTRL
        if self.control_error is not None:
            raise OSError(self.control_error, os.strerror(self.control_error))
        self.controls.append(struct.unpack("Ii", arg))  # type: ignore[arg-type]
        return 0

    def opened(self, filename: str, api_preference: int) -> FakeCapture:
        self.capture = FakeCapture(filename, api_preference)
        return self.capture


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    node = tmp_path / "video0"
    node.touch()
    machine = Machine(node)
    monkeypatch.setattr(fcntl, "ioctl", machine.ioctl)
    monkeypatch.setattr(cv2, "VideoCapture", machine.opened)
    return machine


def plug(machine: Machine, wanted: V4l2 | None = None) -> tuple[Camera, FakeCapture]:
    camera = open_camera(CameraSettings(uri=f"v4l2:{machine.node}", v4l2=wanted))
    assert machine.capture is not None
    return camera, machine.capture


# What is asked of the camera


def test_the_settings_are_asked_for_with_the_rate_last(machine: Machine) -> None:
    _, capture = plug(machine, V4l2(width=1280, height=720, fps=15, format="MJPG", buffers=2))
    assert capture.filename == str(machine.node)
    assert capture.asked == [
        (cv2.CAP_PROP_BUFFERSIZE, 2),
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 15),
    ]


def test_what_the_camera_gives_instead_is_told_once(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        camera, _ = plug(machine, V4l2(width=1280, height=720, fps=30, format="MJPG"))
        camera.read()
        camera.read()
    (record,) = caplog.records
    assert record.getMessage() == (
        f"camera v4l2:{machine.node}: gives 640x480 YUYV at 30 fps instead of "
        "1280x720 MJPG at 30 fps"
    )


def test_a_camera_that_gives_what_was_asked_is_not_remarked_on(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        plug(machine)
    assert caplog.records == []


@pytest.mark.parametrize(("mains_hz", "value"), [("off", 0), (50, 1), (60, 2)])
def test_the_mains_filter_is_set_through_the_kernel(
    machine: Machine, mains_hz: str | int, value: int
) -> None:
    plug(machine, V4l2(mains_hz=mains_hz))  # type: ignore[arg-type]
    assert machine.controls == [(0x00980918, value)]


def test_the_mains_filter_is_left_alone_unless_it_is_set(machine: Machine) -> None:
    plug(machine)
    assert machine.controls == []


def test_a_camera_without_a_mains_filter_is_used_all_the_same(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.control_error = errno.EINVAL
    with caplog.at_level(logging.WARNING):
        camera, _ = plug(machine, V4l2(mains_hz=50))
    assert "mains_hz cannot be set: Invalid argument" in caplog.text
    assert camera.read() is not None


# Reading


def test_a_frame_carries_the_drivers_time(machine: Machine) -> None:
    camera, capture = plug(machine)
    capture.stamp_s = time.monotonic() - 0.025
    frame = camera.read()
    assert frame is not None
    assert frame.captured_s == frame.time_s == pytest.approx(capture.stamp_s, abs=1e-6)
    assert frame.colour.shape == (480, 640, 3)
    assert (frame.luma == 7).all()
    assert not camera.lossless


def test_a_driver_that_stamps_nothing_gives_the_time_of_reading(machine: Machine) -> None:
    camera, _ = plug(machine)
    before = time.monotonic()
    frame = camera.read()
    assert frame is not None
    assert before <= frame.captured_s <= time.monotonic()


def test_a_damaged_picture_is_passed_over(machine: Machine) -> None:
    camera, capture = plug(machine)
    capture.script = ["damaged", "damaged", "good"]
    assert camera.read() is not None
    assert capture.script == []


def test_nothing_but_damaged_pictures_is_an_error(machine: Machine) -> None:
    camera, capture = plug(machine)
    capture.script = ["damaged"] * (MOST_DAMAGED + 1)
    with pytest.raises(CameraError, match="damaged pictures in a row; check its cable"):
        camera.read()


def test_unplugging_is_an_error_that_names_the_device(machine: Machine) -> None:
    camera, capture = plug(machine)
    capture.script = ["good"]
    assert camera.read() is not None
    with pytest.raises(
        CameraError, match=rf"^camera v4l2:{machine.node}: gives no more pictures .* unplugged"
    ):
        camera.read()


def test_a_closed_camera_gives_nothing_and_may_be_closed_again(machine: Machine) -> None:
    camera, _ = plug(machine)
    camera.close()
    camera.close()
    assert camera.read() is None


# What cannot be used


def refusal(uri: str) -> str:
    with pytest.raises(CameraError) as caught:
        open_uri(uri)
    text = str(caught.value)
    assert text.startswith(f"camera {uri}: ")
    assert "\n" not in text
    return text


def test_a_missing_device_is_named(tmp_path: Path) -> None:
    assert "no such device; plug it in" in refusal(f"v4l2:{tmp_path}/video7")


def test_no_path_at_all_is_refused() -> None:
    assert "no such device" in refusal("v4l2:")


def test_a_file_that_is_no_camera_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "video0"
    file.touch()
    assert "not a device that takes pictures" in refusal(f"v4l2:{file}")


def test_a_device_that_is_no_camera_is_refused() -> None:
    assert "not a device that takes pictures" in refusal("v4l2:/dev/null")


def test_a_cameras_metadata_node_is_refused(machine: Machine) -> None:
    machine.capabilities = (CAPTURE | METADATA | PER_NODE, METADATA)
    assert "second node for metadata: try the other" in refusal(f"v4l2:{machine.node}")


def test_a_multiplanar_camera_is_taken(machine: Machine) -> None:
    machine.capabilities = (0x1000 | PER_NODE, 0x1000)
    assert plug(machine)[0].read() is not None


def test_a_device_one_may_not_open_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: str, flags: int) -> int:  # noqa: ARG001
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert "group `video`" in refusal(f"v4l2:{tmp_path}/video0")


def test_a_device_in_use_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCapture, "isOpened", lambda self: False)  # noqa: ARG005
    assert f"another program uses it (fuser -v {machine.node})" in refusal(f"v4l2:{machine.node}")
