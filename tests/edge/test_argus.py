"""A Jetson's CSI camera. There is none here, nor an OpenCV with GStreamer: what is read comes
from a stand-in; the refusal is real."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import argus, open_camera, open_uri
from edge.errors import CameraError
from edge.settings import Argus, Camera


class FakeCapture:
    """`cv2.VideoCapture` as this camera uses it."""

    opens = True
    asked: tuple[str, int]

    def __init__(self, filename: str, api_preference: int) -> None:
        FakeCapture.asked = (filename, api_preference)
        self.left = 2

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return self.opens

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((72, 128, 3), 90, np.uint8)

    def release(self) -> None:
        self.left = 0


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:     YES (1.20.3)\n")
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "opens", True)
    monkeypatch.setattr(argus, "_lacks_source", lambda: False)


def test_an_opencv_without_gstreamer_is_refused_with_the_one_to_install() -> None:
    if argus.has_gstreamer():
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(CameraError, match=r"has no GStreamer; use JetPack's own: apt install"):
        open_uri("argus:0")


def test_the_pipeline_asks_for_what_the_settings_say() -> None:
    assert argus.pipeline(1, Argus(width=1920, height=1080, fps=60)) == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM), width=(int)1920, "
        "height=(int)1080, format=(string)NV12, framerate=(fraction)60/1 ! nvvidconv ! "
        "video/x-raw, format=(string)BGRx ! videoconvert ! video/x-raw, format=(string)BGR ! "
        "appsink drop=1 max-buffers=1 sync=false"
    )


@pytest.mark.usefixtures("jetson")
def test_frames_are_read_until_the_camera_is_silent() -> None:
    camera = open_camera(Camera(uri="argus:1", argus=Argus(fps=15)))
    assert FakeCapture.asked == (argus.pipeline(1, Argus(fps=15)), cv2.CAP_GSTREAMER)
    before = time.monotonic()
    frames = [camera.read(), camera.read()]
    for frame in frames:
        assert frame is not None
        assert frame.colour.shape == (72, 128, 3)
        assert (frame.luma == 90).all()
        assert before <= frame.captured_s == frame.time_s <= time.monotonic() + 1e-3
    with pytest.raises(
        CameraError, match=r"argus:1: gives no more pictures .* restart nvargus-daemon"
    ):
        camera.read()
    camera.close()
    assert camera.read() is None


@pytest.mark.usefixtures("jetson")
def test_a_pipeline_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCapture, "opens", False)
    with pytest.raises(CameraError, match="argus:0: the GStreamer pipeline does not start"):
        open_uri("argus:0")


def test_a_gstreamer_without_nvidias_source_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:     YES (1.20.3)\n")
    inspect = tmp_path / "gst-inspect-1.0"
    inspect.write_text('#!/bin/sh\n[ "$*" = "--exists nvarguscamerasrc" ] && exit 1\nexit 2\n')
    inspect.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(CameraError, match="no nvarguscamerasrc; this is no Jetson, or"):
        open_uri("argus:0")


@pytest.mark.parametrize("rest", ["", "left", "-1", "²"])
def test_what_is_no_number_is_refused(rest: str) -> None:
    with pytest.raises(CameraError, match="names no sensor; give its number"):
        open_uri(f"argus:{rest}")
