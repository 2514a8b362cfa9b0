"""Where pictures come from, chosen by URI.

A camera opens its device when it is made, gives one `Frame` a call, and is driven by one thread
(`edge.capture`). Vendors' packages are imported only when their kind of camera is asked for.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from edge.datatypes import Frame
from edge.errors import CameraError


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


_KINDS = {
    "clip": "edge.cameras.clip",
}
"""The module of each URI scheme; it has `open_uri(rest: str) -> Camera`."""


def open_camera(uri: str) -> Camera:
    """Open the camera a URI names.

    Raises
    ------
    CameraError
        The scheme is unknown, or the device or file cannot be opened.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in _KINDS:
        known = ", ".join(f"{each}:" for each in sorted(_KINDS))
        raise CameraError(f"camera {uri!r}: no such kind of camera; a URI begins with {known}")
    module = importlib.import_module(_KINDS[scheme])
    camera: Camera = module.open_uri(rest)
    return camera
