"""The house's one door to OpenCV for work on pixels.

Cameras open their own devices; everything that looks at or reshapes a picture goes through
here, so that training (`convert`) and serving (`edge`) cannot differ by a resampling rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

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


def yuv420_planes(
    buffer: UInt8Array, width: int, height: int
) -> tuple[UInt8Array, UInt8Array, UInt8Array]:
    """Find the planes in a buffer of planar YUV 4:2:0 (I420), without copying them.

    Parameters
    ----------
    buffer
        uint8, [height * 3 / 2, stride]: rows of Y, then all of U, then all of V, two rows of
        which lie side by side in one row of the array. `stride` may exceed `width`: hardware
        pads its rows.
    width, height
        Of the picture; both even.

    Returns
    -------
    uint8 arrays
        Y, [height, width], then U and V, [height / 2, width / 2]; views into `buffer`.
    """
    stride = buffer.shape[1]
    chroma = buffer[height:].reshape(2, height // 2, stride // 2)[:, :, : width // 2]
    return buffer[:height, :width], chroma[0], chroma[1]


def bgr_of_chroma(luma: UInt8Array, u: UInt8Array, v: UInt8Array) -> UInt8Array:
    """Make a BGR picture at the resolution of the chroma planes.

    Parameters
    ----------
    luma
        uint8, [height, width].
    u, v
        uint8, [height / 2, width / 2]: Cb and Cr of full-range BT.601.

    Returns
    -------
    uint8 array, [height / 2, width / 2, 3]
        BGR; each pixel's luma is the mean of the four that share its chroma.
    """
    small = cv2.resize(luma, (u.shape[1], u.shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(cv2.merge([small, v, u]), cv2.COLOR_YCrCb2BGR), dtype=np.uint8)


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


def thinned(frame: Frame) -> Frame:
    """Halve a frame's colour until its longer side is below 512 pixels.

    The face detectors look at 128 or 192 pixels. A camera that gives YUV has coarse colour
    anyway; for one that gives BGR this is done in its own thread, off the pipeline's.
    """
    colour = frame.colour
    while max(colour.shape[:2]) >= _MOST_COLOUR:
        colour = halved(colour)
    return frame if colour is frame.colour else replace(frame, colour=colour)


_MOST_COLOUR = 512


def halved(picture: UInt8Array) -> UInt8Array:
    """Average each two by two pixels of a picture; an odd last row or column is left out.

    It is the cheapest averaging OpenCV has: averaging 640x480 down to 128x96 at once
    (INTER_AREA) takes five times as long as halving and interpolating.
    """
    height, width = (max(1, length // 2) for length in picture.shape[:2])
    even = picture[: height * 2, : width * 2]
    return np.asarray(
        cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
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
    while size <= _SPARSEST * max(bgr.shape[:2]) and min(bgr.shape[:2]) > 1:
        bgr = halved(bgr)
    small = cv2.resize(bgr, (w, h), interpolation=cv2.INTER_LINEAR)
    cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=square[top : top + h, left : left + w])
    return square, Letterbox(size / w, size / h, left / w, top / h)


_SPARSEST = 1 / 3
"""Bilinear sampling looks at two pixels each way; further apart than three it would alias."""


def warp_square(luma: UInt8Array, into_square: Float32Array, size: int) -> UInt8Array:
    """Resample the part of a picture that a similarity transform maps onto a square.

    Where the picture is larger than the square it is halved to less than twice the size,
    sampled at twice the square's resolution and averaged, so that fine detail cannot alias and
    the cost hardly grows with the face.

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
    shrink = 1.0 / max(1e-6, math.hypot(into_square[0, 0], into_square[1, 0]))
    part, moved = _shrunk(luma, into_square, size, max(0, math.floor(math.log2(shrink))))
    times = 2 if shrink > 1 else 1
    # Pixel centres lie at half-integers: enlarge about the corner, not about pixel (0, 0).
    enlarged = moved * times
    enlarged[:, 2] += (times - 1) / 2
    side = size * times
    picture = cv2.warpAffine(
        part, enlarged, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if times > 1:
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(picture, dtype=np.uint8)


_MARGIN = 2
"""Pixels around what is sampled, for the interpolation."""


def _shrunk(
    luma: UInt8Array, into_square: Float32Array, size: int, halvings: int
) -> tuple[UInt8Array, Float32Array]:
    """Halve the part of a picture that a square shows.

    Returns
    -------
    uint8 array, [height', width']
        The part, halved; the picture itself where there are no `halvings`.
    float32 array, [2, 3]
        What `into_square` becomes for it.
    """
    if not halvings:
        return luma, into_square
    times = 2**halvings
    height, width = luma.shape
    (a, b, u), (c, d, v) = into_square.tolist()
    # Where the square's corners lie in the picture: a similarity's inverse is its transpose.
    scale = a * a + c * c
    corners = [(x - u, y - v) for x in (0, size) for y in (0, size)]
    xs = [(a * x + c * y) / scale for x, y in corners]
    ys = [(b * x + d * y) / scale for x, y in corners]
    margin = _MARGIN * times
    left = min(max(math.floor(min(xs)) - margin, 0), max(width - times, 0))
    top = min(max(math.floor(min(ys)) - margin, 0), max(height - times, 0))
    columns = max(1, (min(math.ceil(max(xs)) + margin, width) - left) // times)
    rows = max(1, (min(math.ceil(max(ys)) + margin, height) - top) // times)
    part = luma[top : top + rows * times, left : left + columns * times]
    for _ in range(halvings):
        part = halved(part)
    # A pixel x of the small part is centred on left + times * x + (times - 1) / 2.
    middle = (times - 1) / 2
    x, y = left + middle, top + middle
    moved = np.array(
        [
            [a * times, b * times, a * x + b * y + u],
            [c * times, d * times, c * x + d * y + v],
        ],
        dtype=np.float32,
    )
    return part, moved


def sharpness(tile: UInt8Array) -> float:
    """Variance of a tile's Laplacian over the variance of the tile itself; about 0.2 to 2.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study",
    ICPR 2000, use the first alone; dividing by the second takes the light out of it.
    """
    _, edges = mean_and_deviation(cv2.Laplacian(tile, cv2.CV_16S))
    _, contrast = mean_and_deviation(tile)
    return edges**2 / max(contrast**2, 1.0)


def mean_and_deviation(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the mean and the standard deviation of a plane, [height, width].

    In one pass; numpy makes a copy in float64 for each, four times as slowly.
    """
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0])


def resampled(values: Float32Array, places: Float32Array) -> Float32Array:
    """Sample a picture where it is asked for.

    Cubic convolution (Keys, "Cubic convolution interpolation for digital image processing", 1981)
    keeps a picture that moves by half a pixel nearly as sharp as one that moves by a whole one.

    Parameters
    ----------
    values
        float32, [height, width] or [height, width, channels].
    places
        float32, [height', width', 2]: x and y of each sample, in pixels from the centre of the
        first one.

    Returns
    -------
    float32 array, [height', width'] or [height', width', channels]
        Not clipped; outside the picture its border is repeated.
    """
    x, y = cv2.split(places)
    found = cv2.remap(values, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.float32)


def blurred(luma: UInt8Array, sigma: float) -> UInt8Array:
    """Blur a picture with a Gaussian of `sigma` pixels; its border is repeated."""
    soft = cv2.GaussianBlur(luma, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, dtype=np.uint8)


def through_jpeg(luma: UInt8Array, quality: int) -> UInt8Array:
    """Return a picture, [height, width], as it comes back from a JPEG of quality 1 to 100."""
    _, packed = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


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
