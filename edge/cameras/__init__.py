"""Where pictures come from, chosen by URI.

A camera opens its device when it is made, gives one `Frame` a call, and is driven by one thread
(`edge.capture`). Vendors' packages are imported only when their kind of camera is asked for.
"""

from __future__ import annotations

import importlib
import re
from typing import Protocol

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


_HOST = r"//(?:[^/]*@)?(?=[^/@:?#])[^/@]*(?:[/?#]|$)"

_FORMS = {
    "argus": (r"[0-9]+$", "argus:0"),
    "http": (_HOST, "http://HOST/PATH"),
    "https": (_HOST, "https://HOST/PATH"),
    "picamera2": (r"[0-9]+$", "picamera2:0"),
    "rtsp": (_HOST, "rtsp://HOST/PATH"),
}
"""How what follows the colon begins, and an example; each kind looks closer when it is opened."""


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
    scheme, colon, rest = settings.uri.partition(":")
    if scheme not in KINDS or not colon:
        known = ", ".join(f"{each}:" for each in sorted(KINDS))
        raise CameraUriError(
            f"camera {masked(settings.uri)!r}: no such kind of camera; a URI begins with {known}"
        )
    form, example = _FORMS.get(scheme, ("", ""))
    if re.match(form, rest) is None:
        raise CameraUriError(
            f"camera {masked(settings.uri)!r}: can name no camera; write it like {example}"
        )


def open_camera(settings: CameraSettings) -> Camera:
    """Open the camera that settings describe.

    Raises
    ------
    CameraUriError
        The URI can name no camera: its scheme is unknown, or what follows is none of its kind.
    CameraError
        The device, stream or file cannot be opened.
    """
    check_uri(settings)
    module = importlib.import_module(KINDS[settings.scheme])
    camera: Camera = module.open_camera(settings)
    return camera


def open_uri(uri: str) -> Camera:
    """Open the camera a URI names, with the defaults of its kind; see `open_camera`."""
    return open_camera(CameraSettings(uri=uri))


def masked(uri: str) -> str:
    """Return a URI without its user and password, fit for a log.

    >>> masked("rtsp://admin:secret@10.0.0.7/stream1")
    'rtsp://***@10.0.0.7/stream1'
    """
    # Greedy up to the last @ before the path: a password may hold an unescaped one.
    return re.sub(r"^([^:/]+://)[^/?#]*@", r"\1***@", uri)


def without_secrets(settings: Settings) -> Settings:
    """Return settings whose camera URIs are fit to be shown."""
    cameras = tuple(
        msgspec.structs.replace(camera, uri=masked(camera.uri)) for camera in settings.camera
    )
    return msgspec.structs.replace(settings, camera=cameras)
