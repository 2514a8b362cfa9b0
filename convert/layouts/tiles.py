"""What every layout is read into, and how a picture becomes a tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from convert.errors import DataError
from edge.datatypes import UInt8Array
from edge.imaging import warp_square

Split = Literal["train", "val"]

VAL_SHARE = 8
"""Where nothing says which split a picture belongs to, one in so many is in `val`."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """What a layout holds, in its own words.

    Attributes
    ----------
    pixels : uint8 array, [n, size, size]
    labels : list of str, n long
    splits : list of "train" or "val", n long
    sha256 : str
        Of what the layout pins itself by; see `convert.data`.
    """

    pixels: UInt8Array
    labels: list[str]
    splits: list[Split]
    sha256: str


def split_by(digest: str) -> Split:
    """Choose a split by a picture's sha256, so that identical copies share it."""
    return "val" if int(digest[:8], 16) % VAL_SHARE == 0 else "train"


def fit(picture: UInt8Array, size: int) -> UInt8Array:
    """Return the largest square in a picture's middle, at another resolution.

    A face keeps its proportions. Pixels are averaged when there are more than enough, by the
    very routine with which the device cuts out faces.
    """
    height, width = picture.shape
    if height == width == size:
        return picture
    ratio = size / min(height, width)
    # Pixel centres lie at half-integers, and both middles must meet.
    place = np.array(
        [
            [ratio, 0, (size - 1) / 2 - ratio * (width - 1) / 2],
            [0, ratio, (size - 1) / 2 - ratio * (height - 1) / 2],
        ],
        dtype=np.float32,
    )
    return warp_square(np.ascontiguousarray(picture), place, size)


def of_train(tiles: UInt8Array, splits: Sequence[Split], path: Path) -> UInt8Array:
    """Return the tiles of `train`.

    Raises
    ------
    DataError
        There is none.
    """
    chosen = tiles[np.array([split == "train" for split in splits], bool)]
    if not len(chosen):
        raise DataError(f"{path}: no picture with split=train; add some")
    return np.asarray(chosen)
