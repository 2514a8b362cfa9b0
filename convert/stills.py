"""Stills that can follow one another: of another expression, and otherwise as alike as may be.

FER2013 does not say who is in a picture, so that a stream has to change person to change
expression. A still is followed by the one that looks most like it among some of the wanted label:
framed alike, as light and dark in the same places. Then a fade moves brows and mouths more than
hair and walls.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from convert.data import Tiles
from edge.datatypes import Float32Array, UInt8Array
from edge.imaging import warp_square

_COARSE = 8
"""Side of the small pictures that are compared: coarse enough to see how a face is framed and lit
and not what its mouth does."""

_GAINS = (0.6, 1.6)


def chosen(
    tiles: Tiles, count: int, candidates: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw tiles, by index, so that no label follows itself (where there are two labels).

    Which label comes next is drawn as often as the tiles have it; then the nearest in `framing` of
    so many candidates of that label follows.
    """
    found = [int(random.integers(len(tiles)))]
    several = bool((tiles.labels != tiles.labels[0]).any())
    while len(found) < count:
        label = tiles.labels[random.integers(len(tiles))]
        if several and label == tiles.labels[found[-1]]:
            continue
        like = random.choice(np.flatnonzero(tiles.labels == label), candidates)
        now = framing(tiles.pixels[found[-1]])
        apart = [np.square(framing(tiles.pixels[index]) - now).sum() for index in like]
        found.append(int(like[np.argmin(apart)]))
    return np.array(found)


def framing(tile: UInt8Array) -> Float32Array:
    """Return where a tile, [side, side], is light and dark, [8, 8], of mean 0 and deviation 1."""
    side = tile.shape[0]
    ratio = _COARSE / side
    # Pixel centres lie at half-integers.
    offset = (ratio - 1) / 2
    place = np.array([[ratio, 0, offset], [0, ratio, offset]], np.float32)
    small = warp_square(np.ascontiguousarray(tile), place, _COARSE).astype(np.float32)
    return np.asarray((small - small.mean()) / max(1.0, float(small.std())), dtype=np.float32)


def in_one_light(pixels: UInt8Array) -> Float32Array:
    """Give tiles, uint8 [n, side, side], the brightness and contrast of the first, as a room would.

    Returns
    -------
    float32 array, [n, side, side]
        Not clipped; contrast is changed by 0.6 to 1.6 at most.
    """
    values = pixels.astype(np.float32)
    mean, spread = values.mean(axis=(1, 2)), np.maximum(values.std(axis=(1, 2)), 1)
    gain = np.clip(spread[0] / spread, *_GAINS)[:, None, None]
    return np.asarray((values - mean[:, None, None]) * gain + mean[0], dtype=np.float32)
