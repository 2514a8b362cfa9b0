"""Cameras on the network, through OpenCV's FFmpeg: `rtsp://…`, and `http(s)://…` for MJPEG.

`captured_s` is when a picture had been decoded: how long it took through the camera's encoder
and the network cannot be seen from here and is in no latency that Mien reports.

Decoding uses one thread. FFmpeg's threads each hold back a frame, and on a small computer they
would take the cores that inference needs; a camera's smaller second stream is usually enough.
"""

from __future__ import annotations

import os
import socket
import time
from urllib.parse import urlsplit

import cv2

from edge.cameras import masked
from edge.cameras.opencv import OpenCvCamera, prepare_decoders
from edge.errors import CameraError, CameraUriError
from edge.settings import Camera as CameraSettings
from edge.settings import Stream

_PORTS = {"rtsp": 554, "http": 80, "https": 443}
_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_UDP_ONLY = "rtsp_transport;udp"
_HANDSHAKE_TIMEOUT_S = 2.0


def open_camera(settings: CameraSettings) -> OpenCvCamera:
    """Open a stream.

    Parameters
    ----------
    settings
        The URI, with `user:password@` where the camera wants it; it is never logged. See
        `settings.stream` for transport and timeouts.

    Raises
    ------
    CameraUriError
        The URI names no host.
    CameraError
        The camera cannot be reached; what answers gives no video.
    """
    prepare_decoders()
    wanted, name = settings.stream or Stream(), masked(settings.uri)
    host, port = _address(settings.uri, name)
    _choose_transport(wanted)
    began_s = time.monotonic()
    capture = cv2.VideoCapture(
        settings.uri,
        cv2.CAP_FFMPEG,
        [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(wanted.open_timeout_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(wanted.read_timeout_s * 1000)),
            *(cv2.CAP_PROP_N_THREADS, 1),
        ],
    )
    if not capture.isOpened():
        late = time.monotonic() - began_s >= wanted.open_timeout_s
        raise CameraError(f"camera {name}: {_why_unopened(host, port, wanted, late=late)}")

    def why_silent(waited_s: float) -> str:
        if waited_s >= wanted.read_timeout_s:
            return f"no picture within {waited_s:.0f} s; check the camera and the network"
        return "the stream ended; check that the camera still runs"

    return OpenCvCamera(capture, name, why_silent)


def _address(uri: str, name: str) -> tuple[str, int]:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        # Python's reason quotes what it took for the port: a password with an unescaped / in it.
        raise CameraUriError(
            f"camera {name}: not a URI; write {uri.partition(':')[0]}://USER:PASSWORD@HOST/PATH, "
            "with / ? # @ in a password as %2F %3F %23 %40"
        ) from None
    if not host:
        raise CameraUriError(f"camera {name}: names no host; give {parts.scheme}://HOST/PATH")
    return host, port or _PORTS[parts.scheme]


def _choose_transport(wanted: Stream) -> None:
    """Tell FFmpeg how RTSP is to travel.

    OpenCV tries TCP first and UDP next; anything else can only be said through a variable of
    the environment, for all streams of the process (the settings hold them to one transport).
    What an administrator put into that variable stands.
    """
    if wanted.transport == "udp":
        os.environ.setdefault(_OPTIONS_VARIABLE, _UDP_ONLY)
    elif os.environ.get(_OPTIONS_VARIABLE) == _UDP_ONLY:
        del os.environ[_OPTIONS_VARIABLE]


def _why_unopened(host: str, port: int, wanted: Stream, *, late: bool) -> str:
    """Find out why a stream did not open: FFmpeg does not say."""
    try:
        socket.create_connection((host, port), timeout=_HANDSHAKE_TIMEOUT_S).close()
    except OSError as exc:
        reason = exc.strerror or str(exc)
        return f"{host} port {port} cannot be reached: {reason}; check the address and the network"
    if late:
        return (
            f"{host} port {port} answers, but gave no video within {wanted.open_timeout_s:g} s; "
            "check the path, or raise stream.open_timeout_s"
        )
    return f"{host} port {port} answers, but gives no video; check path, user and password"
