"""How the training faces are framed, as the device's own detector sees them.

`edge.crop` cuts faces out so that two quantities of the tile are met; here they are measured.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from convert.data import Tiles
from convert.errors import DataError
from edge import bundle
from edge.bundle import CropSpec
from edge.crop import geometry
from edge.datatypes import Detection, Float32Array, Frame, UInt8Array
from edge.detector import Detector
from edge.imaging import sharpness, warp_square

CROP = CropSpec(centre_line=0.58, face_length=0.534)
"""A bundle's default: the medians of FER2013, to within a hundredth (`mien-convert framing`)."""

QUARTILES = (25, 50, 75)


@dataclass(frozen=True, slots=True)
class Framing:
    """Quartiles (25 %, median, 75 %) over the faces found, in fractions of the tile's side.

    `centre_line` and `face_length` are what a `CropSpec` holds; `centre_x` should be near a
    half and `angle`, in degrees, near zero, for `edge.crop` makes them so.
    """

    tiles: int
    found: int
    centre_line: tuple[float, ...]
    face_length: tuple[float, ...]
    centre_x: tuple[float, ...]
    angle: tuple[float, ...]


def short_range_detector() -> Detector:
    """Return the shipped detector for near faces."""
    return Detector(*bundle.load_detector("blazeface-short"))


def enlarged(tile: UInt8Array) -> UInt8Array:
    """Return a tile with a border of half its side all round, twice as large, uint8 [4n, 4n].

    The border repeats the tile's edge: the detector was made for faces with something around.
    """
    # Pixel centres lie at half-integers, which the half pixel accounts for.
    side = tile.shape[0]
    place = np.array([[2, 0, side + 0.5], [0, 2, side + 0.5]], dtype=np.float32)
    return warp_square(tile, place, 4 * side)


def find(picture: UInt8Array, detector: Detector) -> Detection | None:
    """Return the surest face in a grayscale picture, or None."""
    colour = np.repeat(picture[:, :, None], 3, axis=2)
    faces = detector(Frame(luma=picture, colour=colour, time_s=0.0, captured_s=0.0))
    return faces[0] if faces else None


def measure(tiles: Tiles, detector: Detector) -> Framing:
    """Measure how faces lie in their tiles.

    Raises
    ------
    DataError
        The detector found a face in none of them.
    """
    rows = []
    for tile in tqdm(tiles.pixels, "detect", file=sys.stderr):
        found = find(enlarged(tile), detector)
        if found is not None:
            # Twice the tile's side, half a side off: units are the tile's side.
            face = geometry(found.keypoints, 2.0, 2.0)
            rows.append((face.centre_y - 0.5, face.length, face.centre_x - 0.5, face.angle))
    if not rows:
        raise DataError("the detector finds no face in any tile; give --data a folder of faces")
    quartiles: Float32Array = np.percentile(np.array(rows), QUARTILES, axis=0).T
    line, length, centre_x, angle = (tuple(values.tolist()) for values in quartiles)
    degrees = tuple(np.degrees(angle).tolist())
    return Framing(len(tiles), len(rows), line, length, centre_x, degrees)


def looks(tiles: Tiles) -> dict[str, tuple[float, float]]:
    """Return the 1st and 99th percentile of what `edge.quality` measures of a tile.

    Beyond them is where a live face differs from nearly all that the network learnt from:
    `sharpness`, and the mean (`light`) and standard deviation (`contrast`) of luma, 0 to 255.
    """
    measured = {
        "sharpness": [sharpness(tile) for tile in tiles.pixels],
        "light": [float(tile.mean()) for tile in tiles.pixels],
        "contrast": [float(tile.std()) for tile in tiles.pixels],
    }
    ends = {name: np.percentile(values, (1, 99)).tolist() for name, values in measured.items()}
    return {name: (low, high) for name, (low, high) in ends.items()}
