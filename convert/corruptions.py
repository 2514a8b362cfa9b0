"""What spoils a face on its way to a network: nine corruptions of three strengths each.

Each is a pure function of a tile, uint8 [side, side], and of one number. Lengths are fractions of
the side, so that tiles of any size are spoilt alike; but for a JPEG, whose blocks are 8 pixels.
What is drawn by chance (the grain, which way a face leans) is drawn from the tile itself, so that
a face is spoilt alike in any order, in any company and at every strength. Another release of NumPy
or of the JPEG library may draw or round otherwise.

Where eyes and mouth lie is the median of FER2013's faces, as the shipped detector sees them; a
device's own crop brings faces to the same place.

The form is that of Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations", 2019. The strengths are our own: theirs are for pictures of 224
pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.data import resample, similarity
from edge import imaging
from edge.datatypes import UInt8Array

STRENGTHS = (1, 2, 3)

EYE_LINE = 0.38
MOUTH_LINE = 0.78
"""How far down a tile they lie, in fractions of its side."""

_GAMMA = 2.2
"""Of how a camera's pixel values follow the light; a stop, or EV, halves that."""


@dataclass(frozen=True, slots=True, eq=False)
class Corruption:
    """One way to spoil a tile.

    Attributes
    ----------
    name : str
        A word.
    apply
        From a tile and an amount to the spoilt tile.
    amounts : tuple of three floats
        From weak to strong.
    unit : str
        What an amount means: a format.
    """

    name: str
    apply: Callable[[UInt8Array, float], UInt8Array]
    amounts: tuple[float, float, float]
    unit: str

    def __call__(self, tile: UInt8Array, strength: int) -> UInt8Array:
        """Return a tile, uint8 [side, side], spoilt with a strength of 1 to 3."""
        return self.apply(tile, self.amounts[strength - 1])

    def says(self, strength: int) -> str:
        """Return in words what a strength does."""
        return self.unit.format(self.amounts[strength - 1])


def blurred(tile: UInt8Array, sigma: float) -> UInt8Array:
    """Blur with a Gaussian of `sigma` sides, as a lens out of focus does."""
    return imaging.blurred(tile, sigma * tile.shape[0])


def noisy(tile: UInt8Array, deviation: float) -> UInt8Array:
    """Add Gaussian noise of a standard deviation in units of 0..255, as a sensor does."""
    grain = _chance(tile).standard_normal(tile.shape)
    return _pixels(tile + deviation * grain)


def compressed(tile: UInt8Array, quality: float) -> UInt8Array:
    """Store as a JPEG, as a network camera does."""
    return imaging.through_jpeg(tile, int(quality))


def darkened(tile: UInt8Array, stops: float) -> UInt8Array:
    """Take light away; what falls between two pixel values is lost."""
    return _pixels(tile * 2 ** (-stops / _GAMMA))


def backlit(tile: UInt8Array, stops: float) -> UInt8Array:
    """Put a window behind the head.

    The face, an ellipse of 0.8 by 1.04 sides, lies `stops` in shadow; what is around it goes a
    third of the way to white for each stop; and the lens scatters light over all, which lifts
    black by 0.05 of white a stop.
    """
    side = tile.shape[0]
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    distance = np.hypot((x - 0.5) / 0.40, (y - 0.52) / 0.52)
    around = np.clip((distance - 0.9) / 0.2, 0, 1)
    face = tile * 2 ** (-stops / _GAMMA)
    window = tile + (255.0 - tile) * min(1.0, stops / 3)
    veil = 0.05 * stops
    return _pixels(veil * 255 + (1 - veil) * (face * (1 - around) + window * around))


def turned(tile: UInt8Array, degrees: float) -> UInt8Array:
    """Turn about the middle, to the right or to the left by chance; its border is repeated."""
    sign = 1 if _chance(tile).random() < 0.5 else -1  # noqa: PLR2004  # a coin
    side = tile.shape[0]
    place = similarity(0, 0, 1, sign * np.radians(degrees), side)
    return imaging.warp_square(np.ascontiguousarray(tile), place, side)


def small(tile: UInt8Array, share: float) -> UInt8Array:
    """Pass through a share of the side, as a face that is far away does."""
    return resample(np.ascontiguousarray(tile), max(1, round(share * tile.shape[0])))


def eyes_covered(tile: UInt8Array, height: float) -> UInt8Array:
    """Cover a band of a height, 0.76 sides wide, over the line of the eyes; see `_covered`."""
    return _covered(tile, EYE_LINE, 0.76, height)


def mouth_covered(tile: UInt8Array, height: float) -> UInt8Array:
    """Cover a patch of a height, twice as wide, over the mouth; see `_covered`."""
    return _covered(tile, MOUTH_LINE, 2 * height, height)


def _covered(tile: UInt8Array, line: float, width: float, height: float) -> UInt8Array:
    """Cover a rectangle with the tile's mean: of all greys the one that says least by itself."""
    side = tile.shape[0]
    places = (np.arange(side) + 0.5) / side
    rows, columns = np.abs(places - line) < height / 2, np.abs(places - 0.5) < width / 2
    cover = rows[:, None] & columns[None, :]
    return np.where(cover, np.uint8(round(float(tile.mean()))), tile)


def _chance(tile: UInt8Array) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(tile.tobytes()))


def _pixels(values: npt.NDArray[np.floating[Any]]) -> UInt8Array:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


CORRUPTIONS = (
    Corruption("blur", blurred, (0.02, 0.03, 0.045), "Gaussian, sigma {:g} of the side"),
    Corruption("noise", noisy, (10, 20, 40), "standard deviation {:g} of 255"),
    Corruption("jpeg", compressed, (30, 15, 7), "quality {:g}"),
    Corruption("dark", darkened, (1.5, 3, 4.5), "{:g} EV less light"),
    Corruption("backlight", backlit, (1, 2, 3), "{:g} EV of shadow, bright around"),
    Corruption("rotation", turned, (7.5, 15, 22.5), "{:g} degrees either way"),
    Corruption("small", small, (0.75, 0.5, 0.25), "through {:g} of the side"),
    Corruption("eyes", eyes_covered, (0.16, 0.24, 0.34), "covered, {:g} of the side high"),
    Corruption("mouth", mouth_covered, (0.16, 0.28, 0.44), "covered, {:g} of the side high"),
)
"""In the order in which they are told."""
