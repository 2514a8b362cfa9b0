"""The house's one door to OpenCV for work on pixels.

Cameras open their own devices; everything that looks at or reshapes a picture goes through
here, so that training (`convert`) and serving (`edge`) cannot differ by a resampling rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge.datatypes import Float32Array, Frame, UInt8Array

# One inference thread and one capture thread share small boards with the rest of the system;
# OpenCV's own pool gains nothing on pictures this small.
cv2.setNumThreads(1)

Rotation = Literal[0, 90, 180, 270]
Flip = Literal["none", "horizontal", "vertical", "both"]

_ROTATIONS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_FLIPS = {"horizontal": 1, "vertical": 0, "both": -1}
_EVERYTHING = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in the square it was padded into.

    A point at fraction `p` of the square is at fraction `p * scale - offset` of the picture.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float


def luma_of(bgr: UInt8Array) -> UInt8Array:
    """BT.601 luma, [height, width], of a BGR picture, [height, width, 3]."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def orient(bgr: UInt8Array, rotate: Rotation, flip: Flip) -> UInt8Array:
    """Turn a picture clockwise by `rotate` degrees, then mirror it."""
    picture: np.ndarray = bgr
    if rotate:
        picture = cv2.rotate(picture, _ROTATIONS[rotate])
    if flip != "none":
        picture = cv2.flip(picture, _FLIPS[flip])
    return np.asarray(picture, dtype=np.uint8)


def cut(bgr: UInt8Array, region: tuple[float, float, float, float]) -> UInt8Array:
    """Return the part of a picture inside `region` (x, y, width, height as fractions).

    It is a view, rounded to whole pixels and never smaller than one.
    """
    height, width = bgr.shape[:2]
    x, y, w, h = region
    left, top = min(round(x * width), width - 1), min(round(y * height), height - 1)
    right = max(left + 1, min(width, round((x + w) * width)))
    bottom = max(top + 1, min(height, round((y + h) * height)))
    return bgr[top:bottom, left:right]


def arrange(
    frame: Frame, rotate: Rotation, flip: Flip, region: tuple[float, float, float, float]
) -> Frame:
    """Bring a frame into the position its camera's settings ask for.

    Parameters
    ----------
    frame
        As the camera gave it; luma and colour may differ in resolution.
    rotate, flip
        See `orient`.
    region
        See `cut`: x, y, width, height, as fractions of the frame as turned and mirrored.

    Returns
    -------
    Frame
        Luma and colour both turned, mirrored, then cut, at the same times; the frame itself
        where nothing is asked.
    """
    if not rotate and flip == "none" and tuple(region) == _EVERYTHING:
        return frame
    return replace(
        frame,
        luma=cut(orient(frame.luma, rotate, flip), region),
        colour=cut(orient(frame.colour, rotate, flip), region),
    )


def letterbox(bgr: UInt8Array, size: int) -> tuple[UInt8Array, Letterbox]:
    """Fit a BGR picture into a black RGB square, keeping its proportions.

    Returns
    -------
    uint8 array, [size, size, 3]
        RGB; the picture is centred.
    Letterbox
        The way back from the square to the picture.
    """
    height, width = bgr.shape[:2]
    scale = size / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - w) // 2, (size - h) // 2
    square = np.zeros((size, size, 3), np.uint8)
    small = cv2.resize(bgr, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=square[top : top + h, left : left + w])
    return square, Letterbox(size / w, size / h, left / w, top / h)


def warp_square(luma: UInt8Array, into_square: Float32Array, size: int) -> UInt8Array:
    """Resample the part of a picture that a similarity transform maps onto a square.

    Where the picture is larger than the square it is sampled at a whole multiple of the
    square's resolution and averaged down, so that fine detail cannot alias.

    Parameters
    ----------
    luma
        uint8, [height, width].
    into_square
        float32, [2, 3]: maps pixels of the picture to pixels of the square.
    size
        The square's side in pixels.

    Returns
    -------
    uint8 array, [size, size]; outside the picture its border is repeated.
    """
    shrink = 1.0 / max(1e-6, float(np.hypot(into_square[0, 0], into_square[1, 0])))
    times = int(np.clip(np.ceil(shrink), 1, _MOST_SAMPLES))
    # Pixel centres lie at half-integers: enlarge about the corner, not about pixel (0, 0).
    enlarged = into_square * times
    enlarged[:, 2] += (times - 1) / 2
    side = size * times
    picture = cv2.warpAffine(
        luma, enlarged, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if times > 1:
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(picture, dtype=np.uint8)


_MOST_SAMPLES = 8
"""At 48 pixels a face 384 pixels wide is still averaged fully; beyond that a little aliases."""


def sharpness(tile: UInt8Array) -> float:
    """Variance of a tile's Laplacian over the variance of the tile itself; about 0.2 to 2.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study",
    ICPR 2000, use the first alone; dividing by the second takes the light out of it.
    """
    edges = cv2.Laplacian(tile, cv2.CV_32F)
    return float(edges.var() / max(float(tile.var()), 1.0))


def read_image(path: Path) -> UInt8Array | None:
    """Read a picture file as BGR, [height, width, 3]; None where it is not a picture."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if picture is None else np.asarray(picture, dtype=np.uint8)


def read_luma(path: Path) -> UInt8Array | None:
    """Read a picture file as luma, [height, width]; None where it is not a picture.

    It is `luma_of` the colours, because file decoders round luma each in its own way.
    """
    picture = read_image(path)
    return None if picture is None else luma_of(picture)
