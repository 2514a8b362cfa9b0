"""Raspberry Pi cameras through libcamera: `picamera2:0`, the number as `rpicam-hello` lists it.

Pictures come as YUV, whose Y plane is the luma that the expression network wants: it is used as
it lies in the camera's buffer, padding and all, without conversion. Colour, which only the face
detector needs, is made from the chroma planes at their own resolution, half of the luma's.

`SensorTimestamp` is documented as nanoseconds of CLOCK_BOOTTIME, and some libcamera drivers
stamp by CLOCK_MONOTONIC. The two are the same until a machine has been suspended; after that the
reading is believed that makes sense (see `edge.cameras.stamps`).
"""

from __future__ import annotations

import importlib
import logging
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from edge.cameras.stamps import FrameClock, from_boot_clock
from edge.datatypes import Frame
from edge.errors import CameraError, CameraUriError
from edge.imaging import bgr_of_chroma, yuv420_planes
from edge.settings import Camera as CameraSettings
from edge.settings import Picamera2

_log = logging.getLogger(__name__)

FRAME_TIMEOUT_S = 10.0
"""How long a frame is waited for; a picamera2 that knows no timeout yet waits for ever."""

_LORES_FACTOR = 2
# Numbers rather than libcamera's enumerations, whose names changed between its versions.
_FLICKER_OFF, _FLICKER_MANUAL = 0, 1
_FOCUS_MANUAL, _FOCUS_CONTINUOUS = 0, 2

_FAILURES = (RuntimeError, OSError, IndexError, KeyError, ValueError, FutureTimeoutError)
"""What picamera2 and libcamera's bindings are known to raise."""


def open_camera(settings: CameraSettings) -> PiCamera:
    """Open and start a camera.

    Parameters
    ----------
    settings
        The URI is `picamera2:NUMBER`; see `settings.picamera2` for the rest.

    Raises
    ------
    CameraUriError
        The number is none.
    CameraError
        The package picamera2 is not installed; the camera is missing or in use.
    """
    number = settings.uri.removeprefix("picamera2:")
    if not (number.isascii() and number.isdecimal()):
        raise CameraUriError(
            f"camera {settings.uri!r}: names no camera; give its number, as in picamera2:0"
        )
    name = f"picamera2:{number}"
    picamera2, libcamera = _imported("picamera2", name), _imported("libcamera", name)
    wanted = settings.picamera2 or Picamera2()
    try:
        device = picamera2.Picamera2(int(number))
    except _FAILURES as exc:
        raise CameraError(
            f"camera {name}: cannot be opened: {exc}; rpicam-hello --list-cameras shows what is "
            "there; another program may be using it"
        ) from exc
    try:
        _configure(device, libcamera, wanted)
        _set_controls(device, name, wanted)
        device.start()
    except _FAILURES as exc:
        _release(device)
        raise CameraError(f"camera {name}: refuses its settings: {exc}") from exc
    return PiCamera(device, name, wanted.stream)


class PiCamera:
    """A started camera.

    Parameters
    ----------
    device
        A `picamera2.Picamera2` that runs.
    name
        The camera in errors.
    stream
        Which of its streams is read.
    """

    lossless = False

    def __init__(self, device: Any, name: str, stream: str) -> None:  # noqa: ANN401  # untyped
        self._device = device
        self._name = name
        self._stream = stream
        # Known only now: libcamera may have adjusted what was asked for.
        self._size: tuple[int, int] = device.camera_configuration()[stream]["size"]
        self._clock = FrameClock()
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next frame, waiting for it; None once closed.

        Raises
        ------
        CameraError
            No frame came in time, or the camera failed.
        """
        if self._closed:
            return None
        try:
            request = self._device.capture_request(wait=FRAME_TIMEOUT_S)
            try:
                buffer = request.make_array(self._stream)  # a copy, which outlives the request
                stamp_s = request.get_metadata().get("SensorTimestamp", 0) / 1e9
            finally:
                request.release()
        except _FAILURES as exc:
            reason = str(exc) or f"no picture within {FRAME_TIMEOUT_S:g} s"
            raise CameraError(
                f"camera {self._name}: {reason}; check the ribbon cable and journalctl -k"
            ) from exc
        luma, u, v = yuv420_planes(np.asarray(buffer, dtype=np.uint8), *self._size)
        captured_s = self._clock.captured_s(from_boot_clock(stamp_s), stamp_s)
        return Frame(luma, bgr_of_chroma(luma, u, v), captured_s, captured_s)

    def close(self) -> None:
        """Stop and release the camera. Calling it twice does no harm."""
        if not self._closed:
            self._closed = True
            _release(self._device)


def _imported(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    # A picamera2 that was built for another numpy fails with ValueError.
    except (ImportError, ValueError) as exc:
        raise CameraError(
            f"camera {name}: {module} cannot be imported: {exc}; apt install python3-picamera2, "
            "and make the virtual environment with --system-site-packages"
        ) from exc


def _release(device: Any) -> None:  # noqa: ANN401
    # A camera that has failed fails again here, and the first error is the one to tell.
    for step in (device.stop, device.close):
        with suppress(*_FAILURES):
            step()


def _configure(device: Any, libcamera: ModuleType, wanted: Picamera2) -> None:  # noqa: ANN401
    size = (wanted.width, wanted.height)
    streams: dict[str, Any] = {"main": {"format": "YUV420", "size": size}}
    if wanted.stream == "lores":
        larger = (_LORES_FACTOR * wanted.width, _LORES_FACTOR * wanted.height)
        streams = {
            "main": {"format": "YUV420", "size": larger},
            "lores": {"format": "YUV420", "size": size},
        }
    # Full-range BT.601, which is what the luma of every other source is.
    configuration = device.create_video_configuration(
        **streams, colour_space=libcamera.ColorSpace.Sycc(), buffer_count=4
    )
    device.configure(configuration)


def _set_controls(device: Any, name: str, wanted: Picamera2) -> None:  # noqa: ANN401
    """Set the controls that a camera has; those that it lacks are no reason not to look."""
    period_us = round(1_000_000 / wanted.fps)
    controls: dict[str, Any] = {"FrameDurationLimits": (period_us, period_us)}
    if wanted.mains_hz == "off":
        controls["AeFlickerMode"] = _FLICKER_OFF
    elif wanted.mains_hz is not None:
        # A lamp flickers twice in each period of the mains.
        controls["AeFlickerPeriod"] = round(1_000_000 / (2 * wanted.mains_hz))
        controls["AeFlickerMode"] = _FLICKER_MANUAL
    if wanted.exposure_ev is not None:
        controls["ExposureValue"] = wanted.exposure_ev
    if wanted.autofocus is not None:
        controls["AfMode"] = _FOCUS_CONTINUOUS if wanted.autofocus else _FOCUS_MANUAL
    lacking = sorted(controls.keys() - device.camera_controls.keys())
    if lacking:
        _log.warning("camera %s: has no control %s", name, ", ".join(lacking))
    device.set_controls({key: value for key, value in controls.items() if key not in lacking})
