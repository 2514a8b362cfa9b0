"""What the cameras that OpenCV drives have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import cv2
import numpy as np

from edge.cameras.stamps import FrameClock
from edge.datatypes import Frame
from edge.errors import CameraError
from edge.imaging import luma_of

MOST_DAMAGED = 30
"""Pictures in a row that cannot be decoded; a cable that goes on like this is broken."""

_FFMPEG_QUIET = -8  # AV_LOG_QUIET
_OPENCV_ERRORS_ONLY = 2  # LOG_LEVEL_ERROR


def prepare_decoders() -> None:
    """Set up OpenCV and FFmpeg for use; to be called before a device, stream or file is opened.

    They are kept from writing to stderr what is told in our own words, and FFmpeg from opening
    one stream at a time: OpenCV still guards it by a lock that it no longer needs (OpenCV 4.8
    and 5.0 ship FFmpeg 4 and later), behind which a dead camera holds up all the others.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", str(_FFMPEG_QUIET))
    os.environ.setdefault("OPENCV_FFMPEG_IS_THREAD_SAFE", "1")
    # OpenCV 5 moved the function.
    home = getattr(cv2.utils, "logging", cv2)
    home.setLogLevel(_OPENCV_ERRORS_ONLY)


class OpenCvCamera:
    """A live camera behind OpenCV's `VideoCapture`.

    Parameters
    ----------
    capture
        The opened device or stream.
    name
        The camera in errors.
    why_silent
        Says why no picture came, given how many seconds were waited.
    stamped
        Whether `CAP_PROP_POS_MSEC` tells, on the monotonic clock, when a picture was taken.
        Otherwise the time when reading it was done stands for that.
    """

    lossless = False

    def __init__(
        self,
        capture: cv2.VideoCapture,
        name: str,
        why_silent: Callable[[float], str],
        *,
        stamped: bool = False,
    ) -> None:
        self._capture = capture
        self._name = name
        self._why_silent = why_silent
        self._stamped = stamped
        self._clock = FrameClock()
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next frame, waiting for it; None once closed.

        Raises
        ------
        CameraError
            No picture came, or many in a row were damaged.
        """
        if self._closed:
            return None
        for _ in range(MOST_DAMAGED):
            began_s = time.monotonic()
            # read() would not tell a damaged picture, which may be passed over, from the end.
            if not self._capture.grab():
                waited_s = time.monotonic() - began_s
                raise CameraError(f"camera {self._name}: {self._why_silent(waited_s)}")
            stamps = [self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000] if self._stamped else []
            good, picture = self._retrieved()
            if good and picture is not None:
                colour = np.asarray(picture, dtype=np.uint8)
                captured_s = self._clock.captured_s(*stamps)
                return Frame(luma_of(colour), colour, captured_s, captured_s)
        raise CameraError(
            f"camera {self._name}: {MOST_DAMAGED} damaged pictures in a row; check its cable, "
            "or ask less of it (size, fps)"
        )

    def _retrieved(self) -> tuple[bool, object]:
        # What a damaged JPEG decodes to may make OpenCV's conversion fail.
        try:
            return self._capture.retrieve()
        except cv2.error:
            return False, None

    def close(self) -> None:
        """Release the device. Calling it twice does no harm."""
        self._closed = True
        self._capture.release()
