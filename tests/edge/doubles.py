"""A camera that does what a file says, and a daemon that has it: python doubles.py run ...

`double:FILE` gives the frames of the sample clip, there and back again, 25 a second. The word in
FILE says what happens from the next frame on:

    ok        the clip                 wall      noise, and nobody there
    absent    it cannot be opened      error     it fails                 end   the stream ends
    freeze    one and the same frame   garbage   pictures that are none
    small     half the resolution      hang      reads do not return while the file says so
    hang-once one read never returns; the next camera that is opened works
    native    reads stay in C++, letting the interpreter's lock go and taking it again

As a program it is `mien` with this kind of camera. `MIEN_TEST_STALL=N` lets inference hang at its
N-th look, `MIEN_TEST_CLOCK=SECONDS` lets the wall clock leap forth and back every two seconds,
`MIEN_TEST_CELSIUS=FILE` lets the board be as warm as the file says, `MIEN_TEST_SLOW=SECONDS` lets
every look of the detector take so long.
"""

from __future__ import annotations

import os
import threading
import time
from itertools import count
from pathlib import Path

import numpy as np

from edge import cameras
from edge.cameras import open_uri
from edge.datatypes import Frame, UInt8Array
from edge.errors import CameraError
from edge.imaging import halved, luma_of
from edge.settings import Camera as CameraSettings

SAMPLE = Path(__file__).parents[2] / "edge" / "samples" / "portrait.webm"
PERIOD_S = 0.04
_numbers = count()
_pictures: list[UInt8Array] = []


def pictures() -> list[UInt8Array]:
    """The part of the sample in which the face is there."""
    if not _pictures:
        clip = open_uri(f"clip:{SAMPLE}?pace=fast")
        _pictures.extend(frame.colour for frame in iter(clip.read, None))
        clip.close()
        del _pictures[60:], _pictures[:20]
    return _pictures


class Double:
    """One opened camera."""

    lossless = False

    def __init__(self, control: Path) -> None:
        self._control = control
        self._due_s = time.monotonic()
        if self.mode == "absent":
            raise CameraError(f"camera double:{control}: no such device")
        self._frozen = pictures()[0]
        self._random = np.random.default_rng(3)

    @property
    def mode(self) -> str:
        return self._control.read_text().strip()

    def read(self) -> Frame | None:
        self._due_s = max(self._due_s + PERIOD_S, time.monotonic() - PERIOD_S)
        time.sleep(max(self._due_s - time.monotonic(), 0.0))
        mode = self.mode
        if mode == "hang-once":
            self._control.write_text("ok")
            threading.Event().wait()
        while mode == "native":
            luma_of(np.zeros((2000, 2000, 3), np.uint8))
            mode = self.mode
        while mode == "hang":
            time.sleep(0.02)
            mode = self.mode
        if mode in ("error", "absent"):
            raise CameraError(f"camera double:{self._control}: unplugged")
        return None if mode == "end" else self._frame(mode)

    def close(self) -> None:
        """Nothing is held."""

    def _frame(self, mode: str) -> Frame:
        now_s, number = time.monotonic(), next(_numbers)
        # There and back again, so that no face leaps.
        last = len(pictures()) - 1
        picture = pictures()[last - abs(number % (2 * last) - last)]
        if mode == "wall":
            picture = self._random.integers(90, 110, (240, 320, 3), dtype=np.uint8)
        elif mode == "freeze":
            picture = self._frozen
        elif mode == "small":
            picture = halved(picture)
        if mode == "garbage":
            shape: tuple[int, ...] = ((0, 0), (7,), (4, 4, 3, 1))[number % 3]
            nothing = np.zeros(shape, np.uint8)
            return Frame(nothing, nothing, now_s, now_s)
        return Frame(luma_of(picture), picture, now_s, now_s)


def open_camera(settings: CameraSettings) -> Double:
    return Double(Path(settings.uri.removeprefix("double:")))


def _stall(looks: int) -> None:
    from edge.detector import Detector  # noqa: PLC0415  # only where it is asked for

    detect, seen = Detector.__call__, count(1)

    def stalling(self: Detector, frame: Frame) -> object:
        if next(seen) >= looks:
            threading.Event().wait()
        return detect(self, frame)

    Detector.__call__ = stalling  # type: ignore[assignment,method-assign]


def _slow(seconds: float) -> None:
    from edge.detector import Detector  # noqa: PLC0415  # only where it is asked for

    detect = Detector.__call__

    def slowly(self: Detector, frame: Frame) -> object:
        time.sleep(seconds)
        return detect(self, frame)

    Detector.__call__ = slowly  # type: ignore[assignment,method-assign]


def _leap(by_s: float) -> None:
    wall, begun_s = time.time, time.monotonic()
    steps = (0.0, by_s, -by_s)
    time.time = lambda: wall() + steps[int((time.monotonic() - begun_s) / 2.0) % 3]


def _warm(file: Path) -> None:
    from edge.health import Sensors  # noqa: PLC0415  # only where it is asked for

    Sensors.celsius = lambda _: float(file.read_text())  # type: ignore[method-assign]


if __name__ == "__main__":
    from edge.__main__ import program

    # The daemon imports this module by its name.
    cameras.KINDS["double"] = "doubles"
    if "MIEN_TEST_STALL" in os.environ:
        _stall(int(os.environ.pop("MIEN_TEST_STALL")))
    if "MIEN_TEST_SLOW" in os.environ:
        _slow(float(os.environ.pop("MIEN_TEST_SLOW")))
    if "MIEN_TEST_CLOCK" in os.environ:
        _leap(float(os.environ.pop("MIEN_TEST_CLOCK")))
    if "MIEN_TEST_CELSIUS" in os.environ:
        _warm(Path(os.environ.pop("MIEN_TEST_CELSIUS")))
    program()
