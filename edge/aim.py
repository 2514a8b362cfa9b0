"""`mien aim`: a live view in the terminal for whoever mounts the camera, without a pixel.

It draws where faces are as letters in a frame, and says what a face needs: nearer, more light,
held still, turned to the camera.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from edge.bundle import FaceInput, load_detector, load_stream
from edge.capture import Captures
from edge.crop import crop
from edge.datatypes import Box, Detection, Flaw, Frame
from edge.detector import Detector
from edge.quality import ADVISED, Quality, assess, flaws
from edge.settings import Limits, Settings
from edge.signature import trusted_key

COLUMNS, ROWS = 64, 18
_REDRAWS_PER_SECOND = 5.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"

_WORDS: dict[Flaw, str] = {
    "small": "too small",
    "blurred": "blurred",
    "dark": "too dark",
    "bright": "too bright",
    "flat": "no contrast",
    "turned": "look here",
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One face, how good a look at it is, and for what the device would not judge it."""

    face: Detection
    quality: Quality
    refused: tuple[Flaw, ...] = ()

    @property
    def verdict(self) -> str:
        """What is wrong, in words; `good` where nothing is."""
        found = dict.fromkeys([*self.refused, *flaws(self.quality, ADVISED)])
        words = ", ".join(_WORDS[flaw] for flaw in found) or "good"
        return f"not judged: {words}" if self.refused else words


def run(settings: Settings, stream: TextIO | None = None) -> int:
    """Show the first camera's faces until it ends or the user presses Ctrl-C.

    Parameters
    ----------
    settings
        At least one camera; its detector and its bundle's framing are used.
    stream
        Where to draw; standard output unless told. On a terminal the picture is redrawn in
        place, elsewhere one is written every second.

    Raises
    ------
    MienError
        The camera or a bundle cannot be used.
    """
    stream = stream or sys.stdout
    key = trusted_key(settings.bundle_key)
    found, finder = load_detector(settings.detector.bundle, key=key)
    detector = Detector(found, finder, score=settings.detector.score)
    _, manifest = load_stream(settings.emotion.bundle, key=key)
    live = stream.isatty()
    period_s = 1 / _REDRAWS_PER_SECOND if live else 1.0
    due_s = float("-inf")
    with Captures(settings.camera[:1]) as captures, suppress(KeyboardInterrupt):
        (capture,) = captures.all
        while not capture.ended:
            captures.wait()
            frame = capture.take()
            if frame is None or frame.time_s < due_s:
                continue
            due_s = frame.time_s + period_s
            sightings = look(frame, detector, manifest.input, settings.quality)
            view = draw(capture.name, frame, sightings)
            stream.write(f"{_HOME_AND_CLEAR if live else ''}{view}\n")
            stream.flush()
    return 0


def look(frame: Frame, detector: Detector, wanted: FaceInput, allowed: Limits) -> list[Sighting]:
    """Find the faces of a frame and measure each as the expression network would see it."""
    height, width = frame.luma.shape
    sightings = []
    for face in detector(frame):
        tile = crop(frame.luma, face.keypoints, wanted.crop, wanted.size)
        quality = assess(
            tile,
            face.keypoints,
            width=width,
            height=height,
            face_length=wanted.crop.face_length,
        )
        sightings.append(Sighting(face, quality, flaws(quality, allowed)))
    return sightings


def draw(camera: str, frame: Frame, sightings: Sequence[Sighting]) -> str:
    """Lay out a frame and its faces as text: a map, then a line for each face."""
    height, width = frame.luma.shape
    canvas = [[" "] * COLUMNS for _ in range(ROWS)]
    for number, sighting in enumerate(sightings, start=1):
        _outline(canvas, sighting.face.box, _name(number))
    edge = "+" + "-" * COLUMNS + "+"
    lines = [f"{camera}  {width}x{height}  light {frame.luma.mean():.0f}/255", edge]
    lines += ["|" + "".join(row) + "|" for row in canvas]
    lines.append(edge)
    if not sightings:
        lines.append("no face: come nearer, face the camera, put light on your face")
    lines += [_line(_name(number), each) for number, each in enumerate(sightings, start=1)]
    return "\n".join(lines)


def _line(name: str, sighting: Sighting) -> str:
    quality = sighting.quality
    return (
        f"{name}  face {quality.side_pixels:.0f} px  sharpness {quality.sharpness:.2f}  "
        f"light {quality.light:.0f}  turned {quality.yaw_degrees:+.0f}\N{DEGREE SIGN}  "
        f"tilted {quality.roll_degrees:+.0f}\N{DEGREE SIGN}  "
        f"{sighting.verdict}"
    )


def _name(number: int) -> str:
    """Name a face by a letter; in a crowd the last letter serves for the rest."""
    return chr(ord("A") + min(number, 26) - 1)


def _outline(canvas: list[list[str]], box: Box, name: str) -> None:
    """Draw a face's box on the map, its letter at the top left."""
    left, right = (_cell(x, COLUMNS) for x in (box.x, box.x + box.width))
    top, bottom = (_cell(y, ROWS) for y in (box.y, box.y + box.height))
    for column in range(left, right + 1):
        canvas[top][column] = canvas[bottom][column] = "."
    for row in range(top, bottom + 1):
        canvas[row][left] = canvas[row][right] = ":"
    canvas[top][left] = name


def _cell(share: float, cells: int) -> int:
    return min(max(int(share * cells), 0), cells - 1)
