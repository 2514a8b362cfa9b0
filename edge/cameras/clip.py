"""A recording as a camera: a video file, or a folder of pictures.

`clip:PATH` plays at the recording's own speed, as a live camera would, and a slow pipeline
misses frames. `clip:PATH?pace=fast` plays as fast as it is looked at and misses none. Either
way `Frame.time_s` follows the recording's own timestamps, so that what is recognised does not
depend on how fast it was read. A folder's pictures are taken in the order of their names,
numbers by their value; `?fps=N` states how many there are to a second (10 unless told).
"""

from __future__ import annotations

import logging
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edge.cameras.opencv import prepare_decoders
from edge.datatypes import Frame, UInt8Array
from edge.errors import CameraError
from edge.imaging import luma_of, read_image
from edge.settings import Camera as CameraSettings

_log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
"""What counts as a picture in a folder; other files there are passed over."""

FOLDER_FPS = 10.0
"""Pictures to a second of a folder that states none."""

_FPS_RANGE = (0.1, 1000.0)
_FPS_WHERE_UNSTATED = 25.0
_LONGEST_GAP_S = 10.0
"""A timestamp that leaps further ahead is damage: obeying it would look like a hung camera."""

_PROMISE_KEPT = 0.9
"""Containers round and estimate their number of frames; short of this share, frames are lost."""


@dataclass(frozen=True, slots=True)
class _Options:
    """What may follow the `?` of a clip's URI."""

    fast: bool = False
    fps: float | None = None


class _Recording(Protocol):
    """Pictures with their timestamps, in order."""

    def next(self) -> tuple[UInt8Array, float] | None:
        """Return the next picture, BGR, and its time since the first, in seconds."""

    def close(self) -> None:
        """Release the file."""


class Clip:
    """A recording played as a camera.

    Parameters
    ----------
    recording
        Where the pictures come from.
    fast
        Play as fast as frames are read instead of at the recording's own speed.
    """

    def __init__(self, recording: _Recording, *, fast: bool) -> None:
        self.lossless = fast
        self._recording = recording
        self._opened_s = time.monotonic()

    def read(self) -> Frame | None:
        """Return the next frame, at its own time unless played fast; None at the end.

        A frame whose time has passed already comes at once. `captured_s` is when the frame was
        due, or when reading it began where that was later: waiting for its time is no latency.

        Raises
        ------
        CameraError
            A picture of a folder cannot be read, or a video holds no frame at all.
        """
        began_s = time.monotonic()
        taken = self._recording.next()
        if taken is None:
            return None
        picture, since_first_s = taken
        due_s = self._opened_s + since_first_s
        frame = Frame(
            luma=luma_of(picture),
            colour=picture,
            time_s=due_s,
            captured_s=began_s if self.lossless else max(due_s, began_s),
        )
        early_s = due_s - time.monotonic()
        if early_s > 0 and not self.lossless:
            time.sleep(early_s)
        return frame

    def close(self) -> None:
        """Release the file. Calling it twice does no harm."""
        self._recording.close()


class _Video:
    """The frames of a video file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # An absolute path, because FFmpeg takes "name:rest" for a protocol.
        self._video = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        if not self._video.isOpened():
            raise CameraError(
                f"clip {path}: not a video, or a damaged one; record or copy it again, or "
                "convert it (ffmpeg -i FILE clip.mp4)"
            )
        self._promised = self._video.get(cv2.CAP_PROP_FRAME_COUNT)
        self._count = 0
        self._clock = ClipClock(self._video.get(cv2.CAP_PROP_FPS))

    def next(self) -> tuple[UInt8Array, float] | None:
        if not self._video.isOpened():
            return None
        good, picture = self._video.read()
        if not good:
            self._report_end()
            self.close()
            return None
        self._count += 1
        time_s = self._clock.follow(self._video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        return np.asarray(picture, dtype=np.uint8), time_s

    def close(self) -> None:
        self._video.release()

    def _report_end(self) -> None:
        if not self._count:
            raise CameraError(
                f"clip {self._path}: no frame in it can be decoded; record or copy it again"
            )
        if self._count < _PROMISE_KEPT * self._promised:
            _log.warning(
                "clip %s: breaks off after %d of %d frames; record or copy it again",
                self._path,
                self._count,
                self._promised,
            )


class _Folder:
    """The pictures of a folder, evenly spaced in time."""

    def __init__(self, path: Path, fps: float) -> None:
        self._fps = fps
        self._index = 0
        self._pictures = sorted(
            (each for each in path.iterdir() if each.suffix.lower() in PICTURE_SUFFIXES),
            key=lambda each: (natural_order(each.name), each.name),
        )
        if not self._pictures:
            kinds = ", ".join(sorted(PICTURE_SUFFIXES))
            raise CameraError(
                f"clip {path}: no pictures in this folder; put some there ({kinds}), or name a "
                "video file"
            )

    def next(self) -> tuple[UInt8Array, float] | None:
        if self._index == len(self._pictures):
            return None
        file = self._pictures[self._index]
        try:
            picture = read_image(file)
        except cv2.error as exc:
            raise CameraError(f"clip {file}: cannot be read: {exc.err}") from exc
        if picture is None:
            raise CameraError(f"clip {file}: not a picture, or a damaged one; replace or remove it")
        time_s = self._index / self._fps
        self._index += 1
        return picture, time_s

    def close(self) -> None:
        self._index = len(self._pictures)


class ClipClock:
    """Turns the timestamps a container gives into times that can be relied on.

    Times begin at zero and strictly increase. A timestamp that does not (or is not a number, or
    leaps absurdly far) is replaced by the previous time and one frame's length.

    Parameters
    ----------
    fps
        Frames to a second as the container states it; nonsense is replaced by a usual value.
    """

    def __init__(self, fps: float) -> None:
        least, most = _FPS_RANGE
        self._period_s = 1 / (fps if least <= fps <= most else _FPS_WHERE_UNSTATED)
        self._first_s: float | None = None
        self._last_s = 0.0

    def follow(self, stamp_s: float) -> float:
        """Return the time of the frame that carries the timestamp `stamp_s`, in seconds."""
        if self._first_s is None:
            self._first_s = stamp_s if math.isfinite(stamp_s) else 0.0
            return 0.0
        time_s = stamp_s - self._first_s
        # Written so that "not a number" fails it too.
        if not self._last_s < time_s <= self._last_s + _LONGEST_GAP_S:
            time_s = self._last_s + self._period_s
        self._last_s = time_s
        return time_s


def open_camera(settings: CameraSettings) -> Clip:
    """Open a recording.

    Parameters
    ----------
    settings
        The URI is `clip:PATH`, then perhaps `?pace=fast` or, for a folder, `?fps=N`, joined by
        `&`.

    Raises
    ------
    CameraError
        An option or its value is unknown; the path is missing, unreadable or empty; the file is
        no video.
    """
    prepare_decoders()
    name, _, query = settings.uri.removeprefix("clip:").partition("?")
    if not name:
        raise CameraError(f"camera {settings.uri!r}: names no file; give clip:PATH")
    path = Path(name).expanduser()
    options = _parse_options(query, uri=settings.uri)
    return Clip(_open_recording(path, options), fast=options.fast)


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts `frame-9` before `frame-10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _open_recording(path: Path, options: _Options) -> _Recording:
    try:
        if path.is_dir():
            return _Folder(path, FOLDER_FPS if options.fps is None else options.fps)
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise CameraError(f"clip {path}: no such file or folder; check the path") from None
    except OSError as exc:
        raise CameraError(
            f"clip {path}: cannot be read: {exc.strerror}; check its permissions"
        ) from exc
    if empty:
        raise CameraError(f"clip {path}: the file is empty; record or copy it again")
    if options.fps is not None:
        raise CameraError(
            f"clip {path}: fps is for a folder of pictures; a video has its own timestamps, so "
            "leave it out"
        )
    return _Video(path)


def _parse_options(query: str, *, uri: str) -> _Options:
    fast, fps = False, None
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key == "pace" and value == "fast":
            fast = True
        elif key == "fps":
            fps = _parse_fps(value, uri=uri)
        else:
            raise CameraError(
                f"camera {uri!r}: unknown option {f'{key}={value}'!r}; a clip takes pace=fast "
                "and, where it is a folder, fps=N"
            )
    return _Options(fast=fast, fps=fps)


def _parse_fps(text: str, *, uri: str) -> float:
    least, most = _FPS_RANGE
    try:
        fps = float(text)
    except ValueError:
        fps = math.nan
    if not least <= fps <= most:
        raise CameraError(
            f"camera {uri!r}: fps={text} is not a number of pictures to a second; give one from "
            f"{least:g} to {most:g}"
        )
    return fps
