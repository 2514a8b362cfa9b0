"""Raspberry Pi cameras. There is none here: the package is a stand-in with the real signatures
and the real layout of its buffers (picamera2 0.3, picamera2.py and request.py)."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.cameras import Camera, open_camera, open_uri
from edge.cameras.picamera2 import FRAME_TIMEOUT_S
from edge.errors import CameraError
from edge.settings import Camera as CameraSettings
from edge.settings import Picamera2

SYCC = "Sycc"
LUMA, CB, CR = 150, 100, 170
BGR = (100, 130, 209)
"""LUMA, CB, CR by the equations of JFIF: B = Y + 1.772 Cb', R = Y + 1.402 Cr', and so on."""

CONTROLS = {
    "FrameDurationLimits": (16971, 1103354, None),
    "AeFlickerMode": (0, 1, 0),
    "AeFlickerPeriod": (100, 1000000, None),
    "ExposureValue": (-8.0, 8.0, 0.0),
}


class FakeRequest:
    """A `CompletedRequest`."""

    def __init__(self, device: FakePicamera2) -> None:
        self.device = device

    def make_array(self, name: str) -> np.ndarray:
        assert not self.device.released
        configuration = self.device.camera_configuration()[name]
        width, height = configuration["size"]
        stride = configuration["stride"]
        buffer = np.full(height * stride * 3 // 2, 255, np.uint8)  # 255: what padding holds
        y = buffer[: height * stride].reshape(height, stride)
        u, v = buffer[height * stride :].reshape(2, height // 2, stride // 2)
        y[:, :width], u[:, : width // 2], v[:, : width // 2] = LUMA, CB, CR
        # As Helpers.make_array leaves YUV420: an image of 1.5 times the height, with its padding.
        return buffer.reshape(height * 3 // 2, stride)

    def get_metadata(self) -> dict[str, Any]:
        return dict(self.device.metadata)

    def release(self) -> None:
        self.device.released = True


class FakePicamera2:
    """`picamera2.Picamera2`."""

    adjusted: tuple[int, int] | None = None
    refuses: Exception | None = None
    padding = 0
    last: FakePicamera2

    def __init__(
        self, camera_num: int = 0, verbose_console: None = None, tuning: None = None
    ) -> None:
        if camera_num > 0:
            raise IndexError("list index out of range")
        assert verbose_console is tuning is None
        FakePicamera2.last = self
        self.camera_controls = dict(CONTROLS)
        self.metadata: dict[str, Any] = {}
        self.controls: dict[str, Any] = {}
        self.calls: list[str] = []
        self.released = True
        self.error: Exception | None = None

    def create_video_configuration(  # noqa: PLR0917  # as it is
        self,
        main: dict[str, Any] = {},  # noqa: B006  # as it is
        lores: dict[str, Any] | None = None,
        raw: dict[str, Any] = {},  # noqa: B006
        transform: object = None,
        colour_space: object = None,
        buffer_count: int = 6,
        controls: dict[str, Any] = {},  # noqa: B006
        display: str = "main",
        encode: str = "main",
        queue: bool = True,  # noqa: FBT001, FBT002
        sensor: dict[str, Any] = {},  # noqa: B006
        use_case: str = "video",
    ) -> dict[str, Any]:
        names = inspect.signature(self.create_video_configuration).parameters
        given = locals()
        return {name: given[name] for name in names}

    def configure(self, camera_config: dict[str, Any] | str = "preview") -> None:
        assert isinstance(camera_config, dict)
        self.calls.append("configure")
        if self.refuses is not None:
            raise self.refuses
        self.configuration = dict(camera_config)
        for name in ("main", "lores"):
            if self.configuration[name] is not None:
                size = self.adjusted or self.configuration[name]["size"]
                stride = size[0] + self.padding
                self.configuration[name] = {"format": "YUV420", "size": size, "stride": stride}

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.controls |= controls

    def start(self, config: None = None, show_preview: bool = False) -> None:  # noqa: FBT001, FBT002
        assert config is None
        assert not show_preview
        self.calls.append("start")

    def capture_request(
        self, wait: float | None = None, signal_function: None = None, flush: None = None
    ) -> FakeRequest:
        assert wait == FRAME_TIMEOUT_S
        assert signal_function is flush is None
        assert self.released, "the camera runs out of buffers"
        if self.error is not None:
            raise self.error
        self.released = False
        return FakeRequest(self)

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    """Install the stand-ins, fresh for each test."""
    fake = type("Picamera2", (FakePicamera2,), {})
    picamera2, libcamera = ModuleType("picamera2"), ModuleType("libcamera")
    picamera2.Picamera2 = fake  # type: ignore[attr-defined]
    libcamera.ColorSpace = SimpleNamespace(Sycc=lambda: SYCC)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", picamera2)
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    return fake


def start(wanted: Picamera2 | None = None) -> tuple[Camera, FakePicamera2]:
    camera = open_camera(CameraSettings(uri="picamera2:0", picamera2=wanted))
    return camera, FakePicamera2.last


# Pictures


@pytest.mark.parametrize("padding", [0, 64])
@pytest.mark.parametrize("stream", ["main", "lores"])
def test_luma_is_the_y_plane_and_colour_half_its_size_whatever_the_padding(
    board: type[FakePicamera2], padding: int, stream: str
) -> None:
    board.padding = padding
    camera, _ = start(Picamera2(width=96, height=64, stream=stream))  # type: ignore[arg-type]
    frame = camera.read()
    assert frame is not None
    assert frame.luma.shape == (64, 96)
    assert (frame.luma == LUMA).all()
    assert frame.colour.shape == (32, 48, 3)
    assert np.abs(frame.colour.astype(int) - BGR).max() <= 1
    assert not camera.lossless


def test_luma_is_not_copied_out_of_the_buffer() -> None:
    camera, _ = start()
    frame = camera.read()
    assert frame is not None
    assert frame.luma.base is not None


def test_a_size_that_libcamera_adjusted_is_followed(board: type[FakePicamera2]) -> None:
    board.adjusted = (128, 96)
    camera, _ = start(Picamera2(width=100, height=98))
    frame = camera.read()
    assert frame is not None
    assert frame.luma.shape == (96, 128)


def test_every_request_is_given_back() -> None:
    camera, device = start()
    for _ in range(10):
        assert camera.read() is not None
    assert device.released


# Times


def test_the_sensors_time_is_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    slept_s = 5000.0  # suspended: the boot clock went on, the monotonic one did not
    monkeypatch.setattr(time, "clock_gettime", lambda clock: time.monotonic() + slept_s)  # noqa: ARG005
    camera, device = start()
    taken_s = time.monotonic() - 0.03
    device.metadata = {"SensorTimestamp": round((taken_s + slept_s) * 1e9)}
    frame = camera.read()
    assert frame is not None
    assert frame.captured_s == frame.time_s == pytest.approx(taken_s, abs=1e-3)


def test_a_driver_that_stamps_by_the_monotonic_clock_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda clock: time.monotonic() + 5000)  # noqa: ARG005
    camera, device = start()
    taken_s = time.monotonic() - 0.03
    device.metadata = {"SensorTimestamp": round(taken_s * 1e9)}
    frame = camera.read()
    assert frame is not None
    assert frame.captured_s == pytest.approx(taken_s, abs=1e-6)


def test_without_a_stamp_the_time_of_reading_stands_in() -> None:
    camera, _ = start()
    before = time.monotonic()
    frame = camera.read()
    assert frame is not None
    assert before <= frame.captured_s <= time.monotonic()


# Settings


def test_main_is_asked_for_in_full_range_yuv() -> None:
    _, device = start(Picamera2(width=320, height=240))
    assert device.configuration["main"]["size"] == (320, 240)
    assert device.configuration["main"]["format"] == "YUV420"
    assert device.configuration["lores"] is None
    assert device.configuration["colour_space"] == SYCC
    assert device.calls == ["configure", "start"]


def test_lores_is_scaled_from_a_main_stream_of_twice_the_size() -> None:
    _, device = start(Picamera2(width=320, height=240, stream="lores"))
    assert device.configuration["lores"]["size"] == (320, 240)
    assert device.configuration["main"]["size"] == (640, 480)


@pytest.mark.parametrize(
    ("wanted", "controls"),
    [
        (Picamera2(fps=25), {"FrameDurationLimits": (40000, 40000)}),
        (Picamera2(mains_hz=50), {"AeFlickerMode": 1, "AeFlickerPeriod": 10000}),
        (Picamera2(mains_hz=60), {"AeFlickerMode": 1, "AeFlickerPeriod": 8333}),
        (Picamera2(mains_hz="off"), {"AeFlickerMode": 0}),
        (Picamera2(exposure_ev=-0.5), {"ExposureValue": -0.5}),
    ],
)
def test_settings_become_libcameras_controls(
    wanted: Picamera2, controls: dict[str, object]
) -> None:
    _, device = start(wanted)
    assert device.controls == {"FrameDurationLimits": (33333, 33333)} | controls


def test_autofocus_becomes_a_control_where_the_lens_can_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CONTROLS, "AfMode", (0, 2, 0))
    assert start(Picamera2(autofocus=True))[1].controls["AfMode"] == 2
    assert start(Picamera2(autofocus=False))[1].controls["AfMode"] == 0


def test_a_control_that_the_camera_lacks_is_only_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        camera, device = start(Picamera2(autofocus=True))
    assert "camera picamera2:0: has no control AfMode" in caplog.text
    assert "AfMode" not in device.controls
    assert camera.read() is not None


# What goes wrong


def test_a_missing_package_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError) as caught:
        open_uri("picamera2:0")
    assert "apt install python3-picamera2" in str(caught.value)
    assert "--system-site-packages" in str(caught.value)


def test_a_missing_camera_is_named() -> None:
    with pytest.raises(CameraError, match=r"picamera2:3: cannot be opened: .*--list-cameras"):
        open_uri("picamera2:3")


@pytest.mark.parametrize("rest", ["", "front", "-1", "²"])
def test_what_is_no_number_is_refused(rest: str) -> None:
    with pytest.raises(CameraError, match="names no camera; give its number"):
        open_uri(f"picamera2:{rest}")


def test_settings_that_libcamera_refuses_leave_nothing_open(board: type[FakePicamera2]) -> None:
    board.refuses = RuntimeError("Invalid camera configuration")
    with pytest.raises(CameraError, match="refuses its settings: Invalid camera configuration"):
        open_uri("picamera2:0")
    assert FakePicamera2.last.calls[-1] == "close"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Camera stopped"), "Camera stopped"),
        (TimeoutError(), "no picture within 10 s"),
    ],
)
def test_a_camera_that_fails_is_named(error: Exception, said: str) -> None:
    camera, device = start()
    device.error = error
    with pytest.raises(CameraError, match=f"camera picamera2:0: {said}; check the ribbon cable"):
        camera.read()


def test_a_closed_camera_gives_nothing_and_may_be_closed_again() -> None:
    camera, device = start()
    camera.close()
    camera.close()
    assert device.calls == ["configure", "start", "stop", "close"]
    assert camera.read() is None
