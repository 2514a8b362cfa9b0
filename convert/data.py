"""Labelled tiles: the only form in which training data enters.

A data set is laid out in one of three ways (`convert.layouts` reads them):

- a folder per label: `DIR/train/LABEL/*` and `DIR/val/LABEL/*` (`training`, `valid` and
  `validation` are understood; `test` stands in for a missing `val` and is left alone beside one),
  or `DIR/LABEL/*`, of which the sha256 of each file puts about one in eight into `val`, identical
  copies always together;
- an `.npz` with `images`, [n, height, width] or with 1 or 3 (RGB) channels behind, uint8 or numbers
  of 0 to 255 (floats none of which is above 1 count as 0 to 1); `labels`, [n], strings or whole
  numbers that count the model's labels from zero; and perhaps `split`, [n], `train` or `val`,
  without which the sha256 of each picture decides as above;
- `labels.csv`, a row per tile with at least the columns `split` and `label`, beside `sheet-N.webp`:
  pictures of 48x48 grayscale tiles, 100 a row, in the order of the rows.

Colours become luma as on the device. Of a picture that is not square the middle is taken.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from convert import layouts
from convert.errors import DataError
from convert.layouts.tiles import Split
from convert.recipe import Policy
from edge.datatypes import Float32Array, UInt8Array
from edge.errors import UsageError
from edge.imaging import warp_square

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""In the order of the logits."""

TILE = 48
MEAN = STD = 128.0
"""Normalisation: with 128 the int8 input is exactly `pixel - 128`; see DESIGN."""

FER2013_SHA256 = "6b817463a6dd07992a7811ddbe920e6542c13bea3b2fbd7c07e1866d38ef9261"
"""Of `labels.csv` of the FER2013 folder the shipped bundle was trained on."""

Labels = npt.NDArray[np.int64]

Part = Literal["val", "train", "all"]
"""A split, or both."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Labelled faces.

    Attributes
    ----------
    pixels : uint8 array, [n, size, size]
    labels : int64 array, [n]
        Indices into the labels of the model, `Data.names`.
    """

    pixels: UInt8Array
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, chosen: npt.NDArray[np.int64]) -> Tiles:
        """Return some of the tiles, by index."""
        return Tiles(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A data set that was read.

    Attributes
    ----------
    train, val : Tiles
    labels_sha256 : str
        What pins it: the sha256 of `labels.csv`; of the `.npz` file; or, of folders, of a sorted
        line for each picture with its split, its label and its file's sha256, whatever it is
        called.
    names : tuple of str
        The labels, in the order of the model's logits.
    policy : str
        What counts as right: the data's own labels, or what its votes agree on; see
        `convert.policies`.
    """

    train: Tiles
    val: Tiles
    labels_sha256: str
    names: tuple[str, ...] = LABELS
    policy: Policy = "labels"

    def split(self, name: Split) -> Tiles:
        """Return a split by its name."""
        return self.train if name == "train" else self.val


def load(path: Path, *, names: Sequence[str] = LABELS, size: int = TILE) -> Data:
    """Read a data set of any layout.

    Pictures whose label is none of `names`, capitals aside, are left out; stderr says how many.

    Parameters
    ----------
    path
        A folder, or an `.npz` file.
    names
        The model's labels, in the order of its logits.
    size
        The side of the model's tiles, to which pictures are resampled.

    Raises
    ------
    DataError
        A file is missing, damaged or laid out otherwise, or a split is empty.
    """
    names = tuple(names)
    found = layouts.read(path, names=names, size=size)
    places = {name.casefold(): index for index, name in enumerate(names)}
    labels = np.array([places.get(label.casefold(), -1) for label in found.labels], np.int64)
    unknown = Counter(label for label in found.labels if label.casefold() not in places)
    if unknown:
        those = ", ".join(f"{label} ({count})" for label, count in sorted(unknown.items()))
        if unknown.total() == len(labels):
            raise DataError(
                f"{path}: the model has none of its labels, {those}; rename them to the model's: "
                f"{', '.join(names)}"
            )
        sys.stderr.write(
            f"mien-convert: {path}: {unknown.total()} of {len(labels)} pictures left out, for the "
            f"model has no label {those}\n"
        )
    parts = {}
    for split in ("train", "val"):
        chosen = np.flatnonzero((np.array(found.splits) == split) & (labels >= 0))
        if not chosen.size:
            raise DataError(f"{path}: no picture with split={split}; add some")
        parts[split] = Tiles(found.pixels[chosen], labels[chosen])
    return Data(parts["train"], parts["val"], found.sha256, names)


def pictures(path: Path, size: int = TILE) -> UInt8Array:
    """Read pictures without their labels, as calibration wants them.

    Parameters
    ----------
    path
        A data set of any layout, of which `train` is taken; or a folder of pictures at any depth,
        or an `.npz` with `images` alone, of which all are.
    size
        The side to which they are resampled.

    Returns
    -------
    uint8 array, [n, size, size]

    Raises
    ------
    DataError
        A file is missing, damaged or laid out otherwise, or there is no picture.
    """
    return layouts.read_unlabelled(path, size)


def labels_of(text: str) -> tuple[str, ...]:
    """Return `a,b,c` as labels.

    Raises
    ------
    UsageError
        There are fewer than two, or one is empty or there twice.

    Examples
    --------
    >>> labels_of("angry, happy")
    ('angry', 'happy')
    """
    labels = tuple(label.strip() for label in text.split(","))
    once = {label.casefold() for label in labels}
    if len(once) < max(2, len(labels)) or "" in once:
        raise UsageError(
            f"--labels {text}: name each once, in the order of the answers: {','.join(LABELS)}"
        )
    return labels


def spread(tiles: Tiles, count: int) -> Tiles:
    """Return at most `count` tiles, evenly spread over all."""
    return tiles.of(np.unique(np.linspace(0, len(tiles) - 1, count).astype(np.int64)))


def data_name(labels_sha256: str) -> str:
    """Return what documents call a data set, which decides the terms of weights trained on it."""
    return "FER2013" if labels_sha256 == FER2013_SHA256 else "own data"


def normalise(pixels: UInt8Array, mean: float = MEAN, std: float = STD) -> Float32Array:
    """Return `(pixel - mean) / std` as networks take it, float32 [n, size, size, 1]."""
    real = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)
    return np.asarray(real[..., None], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a tile is moved and relit while training; uniform within plus or minus.

    Attributes
    ----------
    shift : float
        Fraction of the tile's side. The detector's keypoints wander by about this much.
    scale : float
        Fraction of the face's size.
    rotation : float
        Degrees.
    contrast : float
        Fraction, about the tile's mean.
    brightness : float
        Fraction of the range of pixels.
    coarse : float
        Share of tiles resampled to a half to a whole of their resolution and back, as a small
        face in a camera's picture is.
    """

    shift: float = 0.06
    scale: float = 0.12
    rotation: float = 12.0
    contrast: float = 0.3
    brightness: float = 0.12
    coarse: float = 0.25


def augment(pixels: UInt8Array, how: Augmentation, random: np.random.Generator) -> UInt8Array:
    """Return each tile mirrored by chance, moved and relit, uint8 [n, size, size]."""
    out = np.empty_like(pixels)
    size = pixels.shape[1]
    for index, tile in enumerate(pixels):
        flipped = tile[:, ::-1] if random.integers(2) else tile
        side = size
        if random.random() < how.coarse:
            side = int(random.integers(size // 2, size))
        x, y = random.uniform(-how.shift, how.shift, 2)
        place = similarity(
            x,
            y,
            1 + random.uniform(-how.scale, how.scale),
            np.radians(random.uniform(-how.rotation, how.rotation)),
            size,
        )
        moved = warp_square(np.ascontiguousarray(flipped), place, size)
        if side < size:
            moved = resample(moved, side)
        gain = 1 + random.uniform(-how.contrast, how.contrast)
        lift = 255 * random.uniform(-how.brightness, how.brightness)
        out[index] = relight(moved, gain, lift)
    return out


def similarity(x: float, y: float, scale: float, angle: float, side: int = TILE) -> Float32Array:
    """Return the map of a tile onto a tile, float32 [2, 3].

    Parameters
    ----------
    x, y
        Shift in fractions of the side.
    scale
        Enlargement about the tile's middle.
    angle
        Radians, positive clockwise on screen.
    side
        Of the tile, in pixels.
    """
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = (side - 1) / 2
    return np.array(
        [
            [cos, -sin, middle - cos * middle + sin * middle + x * side],
            [sin, cos, middle - sin * middle - cos * middle + y * side],
        ],
        dtype=np.float32,
    )


def resample(tile: UInt8Array, side: int) -> UInt8Array:
    """Return a tile as it looks after passing through `side` x `side` pixels."""
    size = tile.shape[0]
    ratio = side / size
    down = _zoom(ratio)
    return warp_square(warp_square(tile, down, side), _zoom(1 / ratio), size)


def relight(tile: UInt8Array, gain: float, lift: float) -> UInt8Array:
    """Scale a tile's contrast about its mean by `gain`, then add `lift`."""
    mean = float(tile.mean())
    table = np.clip(np.rint((np.arange(256) - mean) * gain + mean + lift), 0, 255).astype(np.uint8)
    return np.asarray(table[tile])


def _zoom(ratio: float) -> Float32Array:
    # Pixel centres lie at half-integers.
    offset = (ratio - 1) / 2
    return np.array([[ratio, 0, offset], [0, ratio, offset]], dtype=np.float32)
