"""CSI cameras of a Jetson, through NVIDIA's GStreamer source: `argus:0`.

PyPI's OpenCV is built without GStreamer; JetPack's own has it. With `drop=1 max-buffers=1` the
newest picture is read; its time is when reading it was done.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import cv2

from edge.cameras.opencv import OpenCvCamera, prepare_decoders
from edge.errors import CameraError, CameraUriError
from edge.settings import Argus
from edge.settings import Camera as CameraSettings

_SOURCE = "nvarguscamerasrc"


def open_camera(settings: CameraSettings) -> OpenCvCamera:
    """Open a CSI camera.

    Parameters
    ----------
    settings
        The URI is `argus:SENSOR`, the number of the sensor; see `settings.argus` for the size.

    Raises
    ------
    CameraUriError
        The number is none.
    CameraError
        This OpenCV has no GStreamer, or GStreamer not
        NVIDIA's source; the pipeline does not start.
    """
    prepare_decoders()
    number = settings.uri.removeprefix("argus:")
    if not (number.isascii() and number.isdecimal()):
        raise CameraUriError(
            f"camera {settings.uri!r}: names no sensor; give its number, as in argus:0"
        )
    name = f"argus:{number}"
    if not has_gstreamer():
        raise CameraError(
            f"camera {name}: this OpenCV ({cv2.__version__}) has no GStreamer; use JetPack's own: "
            "apt install python3-opencv (NVIDIA's package), make the virtual environment with "
            "--system-site-packages, and pip uninstall opencv-python-headless there"
        )
    if _lacks_source():
        raise CameraError(
            f"camera {name}: GStreamer has no {_SOURCE}; this is no Jetson, or "
            "apt install nvidia-l4t-gstreamer is missing"
        )
    capture = cv2.VideoCapture(pipeline(int(number), settings.argus or Argus()), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise CameraError(
            f"camera {name}: the GStreamer pipeline does not start; check the ribbon cable and "
            "the sensor's number, then systemctl restart nvargus-daemon"
        )
    return OpenCvCamera(capture, name, _why_silent)


def pipeline(sensor: int, wanted: Argus) -> str:
    """Return the GStreamer pipeline that reads a sensor.

    >>> print(pipeline(0, Argus()).partition(" ! ")[0])
    nvarguscamerasrc sensor-id=0
    """
    return (
        f"{_SOURCE} sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM), width=(int){wanted.width}, height=(int){wanted.height}, "
        f"format=(string)NV12, framerate=(fraction){wanted.fps}/1 ! "
        # nvvidconv cannot make BGR, and OpenCV's sink takes BGR everywhere.
        "nvvidconv ! video/x-raw, format=(string)BGRx ! "
        "videoconvert ! video/x-raw, format=(string)BGR ! "
        "appsink drop=1 max-buffers=1 sync=false"
    )


def has_gstreamer() -> bool:
    """Whether this OpenCV was built with GStreamer."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


def _lacks_source() -> bool:
    """Whether GStreamer says that it has no such source; asked first, for OpenCV would hang."""
    inspect = shutil.which("gst-inspect-1.0")
    if inspect is None:
        return False
    return subprocess.run([inspect, "--exists", _SOURCE], check=False).returncode != 0  # noqa: S603


def _why_silent(waited_s: float) -> str:
    return (
        f"gives no more pictures (waited {waited_s:.0f} s); check the ribbon cable, then "
        "systemctl restart nvargus-daemon"
    )
