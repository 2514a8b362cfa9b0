"""Where pictures come from, chosen by URI.

A camera opens its device when it is made, gives one `Frame` a call, and is driven by one thread
(`edge.capture`). Vendors' packages are imported only when their kind of camera is asked for.
"""

from __future__ import annotations

import importlib
import re
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from edge.datatypes import Frame
from edge.errors import CameraUriError
from edge.settings import Camera as CameraSettings
from edge.settings import Settings


class Camera(Protocol):
    """What every kind of camera can do."""

    lossless: bool
    """Whether every frame must be looked at, however long that takes (a clip read at full
    speed); otherwise the newest frame wins."""

    def read(self) -> Frame | None:
        """Return the next frame, waiting for it; None when the source has ended.

        Raises
        ------
        CameraError
            The source failed.
        """
        ...

    def close(self) -> None:
        """Release the device. Calling it twice does no harm."""
        ...


KINDS = {
    "argus": "edge.cameras.argus",
    "clip": "edge.cameras.clip",
    "http": "edge.cameras.stream",
    "https": "edge.cameras.stream",
    "picamera2": "edge.cameras.picamera2",
    "rtsp": "edge.cameras.stream",
    "v4l2": "edge.cameras.v4l2",
}
"""The module of each URI scheme; it has `open_camera(settings: CameraSettings) -> Camera`."""


_EXAMPLES = {
    "argus": "argus:0",
    "http": "http://HOST/PATH",
    "https": "https://HOST/PATH",
    "picamera2": "picamera2:0",
    "rtsp": "rtsp://HOST/PATH",
}
"""How URIs are written of which some can name no camera. Each kind says the same when opened."""

_LOCAL = ("argus", "clip", "picamera2", "v4l2")
"""Schemes of cameras that no network is asked for, and so no password."""


def is_live(settings: CameraSettings) -> bool:
    """Whether a camera looks at the world, so that it is worth opening again when it is lost."""
    return settings.scheme in KINDS and settings.scheme != "clip"


def check_uri(settings: CameraSettings) -> None:
    """Refuse, without touching any device, a URI that can name no camera.

    Raises
    ------
    CameraUriError
        Its scheme is unknown, or what follows is none of its kind.
    """
    _check_scheme(settings)
    example = _EXAMPLES.get(settings.scheme, "")
    named = _names_host if "HOST" in example else _is_number
    if example and not named(settings.uri):
        raise CameraUriError(
            f"camera {masked(settings.uri)!r}: can name no camera; write it like {example}"
        )


def _check_scheme(settings: CameraSettings) -> None:
    if settings.scheme not in KINDS or ":" not in settings.uri:
        known = ", ".join(f"{each}:" for each in sorted(KINDS))
        raise CameraUriError(
            f"camera {masked(settings.uri)!r}: no such kind of camera; a URI begins with {known}"
        )


def _is_number(uri: str) -> bool:
    number = uri.partition(":")[2]
    return number.isascii() and number.isdecimal()


def _names_host(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        # A port that is none is found out when it is asked for.
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def open_camera(settings: CameraSettings) -> Camera:
    """Open the camera that settings describe.

    Raises
    ------
    CameraUriError
        The URI can name no camera: its scheme is unknown, or what follows is none of its kind.
    CameraError
        The device, stream or file cannot be opened.
    """
    _check_scheme(settings)
    module = importlib.import_module(KINDS[settings.scheme])
    camera: Camera = module.open_camera(settings)
    return camera


def open_uri(uri: str) -> Camera:
    """Open the camera a URI names, with the defaults of its kind; see `open_camera`."""
    return open_camera(CameraSettings(uri=uri))


def masked(uri: str) -> str:
    """Return a URI without what may be a secret in it, fit for a log.

    That is all before an `@`, and of a URI on the network the query and every part of the path
    that sets something: cheap cameras take passwords there. A part that is a secret as a whole
    (`/live/TOKEN`) cannot be told from a name.

    >>> masked("rtsp://admin:secret@10.0.0.7/stream1")
    'rtsp://***@10.0.0.7/stream1'
    >>> masked("http://10.0.0.7/user=admin&pwd=secret/video.cgi?pwd=secret")
    'http://10.0.0.7/***/video.cgi?***'
    """
    if uri.partition(":")[0] in _LOCAL and "://" not in uri:
        return uri
    # Up to the last @, though it may stand in the path: who forgets to escape a password's / would
    # else read the password in the error about it.
    uri = re.sub(r"^([a-z0-9+.-]+://)?.*@", r"\1***@", uri, flags=re.DOTALL | re.IGNORECASE)
    uri = re.sub(r"[?#].*", "?***", uri, flags=re.DOTALL)
    return re.sub(r"/[^/?]*=[^/?]*", "/***", uri)


def without_secrets(settings: Settings) -> Settings:
    """Return settings whose camera URIs are fit to be shown."""
    cameras = tuple(
        msgspec.structs.replace(camera, uri=masked(camera.uri)) for camera in settings.camera
    )
    return msgspec.structs.replace(settings, camera=cameras)
