"""Cameras that the kernel shows as /dev/videoN, most of them on USB: `v4l2:/dev/video0`.

OpenCV drives them; what it cannot do is done here with two ioctls of the kernel's interface
(linux/videodev2.h): asking what a device is, so that an error can say it and a device that was
plugged in again is found under its new number, and setting the filter against the flicker of
lamps.

A picture's time is that of its buffer, which drivers stamp by the monotonic clock (uvcvideo does
unless told otherwise, at the start of the frame) and OpenCV hands on as CAP_PROP_POS_MSEC.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
from pathlib import Path

import cv2

from edge.cameras.identity import Nodes, capabilities, takes_pictures
from edge.cameras.opencv import OpenCvCamera, prepare_decoders
from edge.errors import CameraError
from edge.settings import Camera as CameraSettings
from edge.settings import V4l2

_log = logging.getLogger(__name__)

# The same number on x86-64, arm64 and 32-bit ARM.
_VIDIOC_S_CTRL = 0xC008561C
_CONTROL = struct.Struct("Ii")  # v4l2_control
_CID_POWER_LINE_FREQUENCY = 0x00980918
_POWER_LINE = {"off": 0, 50: 1, 60: 2}

_nodes = Nodes()


def open_camera(settings: CameraSettings) -> OpenCvCamera:
    """Open a V4L2 device.

    Parameters
    ----------
    settings
        The URI is `v4l2:PATH`; `settings.v4l2` says what is asked of the camera. What it gives
        instead is logged once.

    Raises
    ------
    CameraError
        The device is missing, may not be opened, takes no pictures, or is in use.
    """
    prepare_decoders()
    configured, wanted = settings.uri.removeprefix("v4l2:"), settings.v4l2 or V4l2()
    path, name = _nodes.find(configured), f"v4l2:{configured}"
    if path is None:
        raise CameraError(
            f"camera {name}: its device is away, and {configured} is another camera by now; plug "
            "it in, or name both by their links in /dev/v4l/by-id"
        )
    if path != configured:
        _log.info("camera %s: its device is now %s", name, path)
    _prepare_device(path, name, wanted)
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise CameraError(
            f"camera {name}: cannot be opened: another program uses it (fuser -v {path}), or it "
            "has no format that OpenCV knows (v4l2-ctl --list-formats)"
        )
    _negotiate(capture, name, wanted)
    _nodes.remember(configured)
    return OpenCvCamera(capture, name, _why_silent, stamped=True)


def _why_silent(waited_s: float) -> str:
    return (
        f"gives no more pictures (waited {waited_s:.0f} s): unplugged, or it hangs; check its "
        "cable, plug it in again, or ask less of it (size, fps)"
    )


def _prepare_device(path: str, name: str, wanted: V4l2) -> None:
    """See that a device can be used, and set what OpenCV cannot set."""
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as exc:
        raise CameraError(f"camera {name}: {_why_unopened(exc, path)}") from exc
    try:
        answer = capabilities(device)
        if answer is None or not takes_pictures(answer):
            raise CameraError(
                f"camera {name}: not a device that takes pictures; a camera often has a second "
                "node for metadata: try the other (v4l2-ctl --list-devices)"
            )
        if wanted.mains_hz is not None:
            _set_mains(device, name, wanted.mains_hz)
    finally:
        os.close(device)


def _why_unopened(error: OSError, path: str) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            "permission denied; only root and the group `video` may use it: "
            "usermod -aG video USER, then log in again"
        )
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR):
        others = sorted({str(each) for each in Path("/dev").glob("video*")} - {path})
        there = ", ".join(others) or "no other"
        return f"no such device; plug it in, or give another path (there is {there})"
    return f"cannot be opened: {error.strerror} ({path or 'give v4l2:/dev/video0'})"


def _set_mains(device: int, name: str, mains_hz: str | int) -> None:
    """Set the power-line filter. Many cameras have none: that is no reason not to look."""
    control = _CONTROL.pack(_CID_POWER_LINE_FREQUENCY, _POWER_LINE[mains_hz])
    try:
        fcntl.ioctl(device, _VIDIOC_S_CTRL, control)
    except OSError as exc:
        _log.warning("camera %s: mains_hz cannot be set: %s", name, exc.strerror)


def _negotiate(capture: cv2.VideoCapture, name: str, wanted: V4l2) -> None:
    """Ask for what the settings say; tell once what the camera gives where that differs."""
    # Each of these but the rate opens the stream anew, and the rate is kept: so it comes last.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, wanted.buffers)
    if wanted.format is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.format))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
    capture.set(cv2.CAP_PROP_FPS, wanted.fps)
    asked = _mode(wanted.width, wanted.height, wanted.fps, wanted.format or _format_of(capture))
    given = _mode(
        round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        capture.get(cv2.CAP_PROP_FPS),
        _format_of(capture),
    )
    if given != asked:
        _log.warning("camera %s: gives %s instead of %s", name, given, asked)


def _mode(width: int, height: int, fps: float, fourcc: str) -> str:
    return f"{width}x{height} {fourcc} at {fps:.0f} fps"


def _format_of(capture: cv2.VideoCapture) -> str:
    code = round(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, "little", signed=code < 0).decode("ascii", errors="replace").strip()
