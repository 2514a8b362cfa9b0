"""Labelled tiles: the only form in which training data enters.

A data folder holds `labels.csv`, a row per tile with at least the columns `split` and `label`,
and `sheet-N.webp`: pictures of 48x48 grayscale tiles, 100 a row, in the order of the rows.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from convert.errors import DataError
from edge.datatypes import Float32Array, UInt8Array
from edge.imaging import read_luma, warp_square

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""In the order of the logits."""

TILE = 48
TILES_A_ROW = 100
MEAN = STD = 128.0
"""Normalisation: with 128 the int8 input is exactly `pixel - 128`; see DESIGN."""

LABELS_FILE = "labels.csv"

FER2013_SHA256 = "6b817463a6dd07992a7811ddbe920e6542c13bea3b2fbd7c07e1866d38ef9261"
"""Of `labels.csv` of the FER2013 folder the shipped bundle was trained on."""

Split = Literal["train", "val"]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Labelled faces.

    Attributes
    ----------
    pixels : uint8 array, [n, 48, 48]
    labels : int64 array, [n]
        Indices into `LABELS`.
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
    """A data folder that was read: its two splits and the sha256 of its labels."""

    train: Tiles
    val: Tiles
    labels_sha256: str

    def split(self, name: Split) -> Tiles:
        """Return a split by its name."""
        return self.train if name == "train" else self.val


def load(folder: Path) -> Data:
    """Read a data folder.

    Raises
    ------
    DataError
        A file is missing or damaged, a label or split is unknown, the counts disagree, or a
        split is empty.
    """
    file = folder / LABELS_FILE
    try:
        raw = file.read_bytes()
    except OSError as exc:
        raise DataError(
            f"{file}: {exc.strerror}; give --data a folder with {LABELS_FILE} and sheet-N.webp"
        ) from exc
    splits, labels = _read_labels(raw, file)
    pixels = _read_sheets(folder)
    if not len(labels) <= len(pixels) < len(labels) + TILES_A_ROW:
        raise DataError(
            f"{folder}: {LABELS_FILE} has {len(labels)} rows and the sheets have "
            f"{len(pixels)} places; copy the whole folder again"
        )
    parts = {}
    for name in ("train", "val"):
        chosen = np.flatnonzero(splits == name)
        if not chosen.size:
            raise DataError(f"{file}: no row with split={name}; add some")
        parts[name] = Tiles(pixels[chosen], labels[chosen])
    return Data(parts["train"], parts["val"], hashlib.sha256(raw).hexdigest())


def spread(tiles: Tiles, count: int) -> Tiles:
    """Return at most `count` tiles, evenly spread over all."""
    return tiles.of(np.unique(np.linspace(0, len(tiles) - 1, count).astype(np.int64)))


def data_name(labels_sha256: str) -> str:
    """Return what documents call a data set, which decides the terms of weights trained on it."""
    return "FER2013" if labels_sha256 == FER2013_SHA256 else "own data"


def normalise(pixels: UInt8Array) -> Float32Array:
    """Return tiles as the networks take them, float32 [n, 48, 48, 1]: `(pixel - 128) / 128`."""
    real = (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return np.asarray(real[..., None], dtype=np.float32)


def _read_labels(raw: bytes, file: Path) -> tuple[npt.NDArray[np.str_], Labels]:
    """Return the split and the label of every row."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise DataError(f"{file}: not a text file ({exc.reason}); copy it again") from exc
    rows = csv.DictReader(text.splitlines())
    missing = {"split", "label"} - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{file}: no column {' or '.join(sorted(missing))} in its first line")
    splits, labels = [], []
    for row in rows:
        split, label = row["split"], row["label"]
        if split not in ("train", "val"):
            raise DataError(f"{file}, line {rows.line_num}: split is {split!r}, not train or val")
        if label not in LABELS:
            raise DataError(
                f"{file}, line {rows.line_num}: label {label!r} is none of {', '.join(LABELS)}"
            )
        splits.append(split)
        labels.append(LABELS.index(label))
    return np.array(splits), np.array(labels, dtype=np.int64)


def _read_sheets(folder: Path) -> UInt8Array:
    """Return every place of every sheet in order, uint8 [n, 48, 48]."""
    found = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := re.fullmatch(r"sheet-(\d+)\.webp", path.name))
    }
    if sorted(found) != list(range(len(found))) or not found:
        raise DataError(f"{folder}: sheet-0.webp, sheet-1.webp, … are not all there; copy it again")
    sheets = []
    for number in sorted(found):
        sheet = read_luma(found[number])
        if sheet is None or sheet.shape[0] % TILE or sheet.shape[1] != TILE * TILES_A_ROW:
            raise DataError(
                f"{found[number]}: not a picture of {TILE}x{TILE} tiles, {TILES_A_ROW} a row; "
                "copy it again"
            )
        tiles = sheet.reshape(-1, TILE, TILES_A_ROW, TILE).swapaxes(1, 2)
        sheets.append(tiles.reshape(-1, TILE, TILE))
    return np.concatenate(sheets)


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
    """Return each tile mirrored by chance, moved and relit, uint8 [n, 48, 48]."""
    out = np.empty_like(pixels)
    for index, tile in enumerate(pixels):
        flipped = tile[:, ::-1] if random.integers(2) else tile
        side = TILE
        if random.random() < how.coarse:
            side = int(random.integers(TILE // 2, TILE))
        x, y = random.uniform(-how.shift, how.shift, 2)
        place = similarity(
            x,
            y,
            1 + random.uniform(-how.scale, how.scale),
            np.radians(random.uniform(-how.rotation, how.rotation)),
        )
        moved = warp_square(np.ascontiguousarray(flipped), place, TILE)
        if side < TILE:
            moved = resample(moved, side)
        gain = 1 + random.uniform(-how.contrast, how.contrast)
        lift = 255 * random.uniform(-how.brightness, how.brightness)
        out[index] = relight(moved, gain, lift)
    return out


def similarity(x: float, y: float, scale: float, angle: float) -> Float32Array:
    """Return the map of a tile onto a tile, float32 [2, 3].

    Parameters
    ----------
    x, y
        Shift in fractions of the side.
    scale
        Enlargement about the tile's middle.
    angle
        Radians, positive clockwise on screen.
    """
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = (TILE - 1) / 2
    return np.array(
        [
            [cos, -sin, middle - cos * middle + sin * middle + x * TILE],
            [sin, cos, middle - sin * middle - cos * middle + y * TILE],
        ],
        dtype=np.float32,
    )


def resample(tile: UInt8Array, side: int) -> UInt8Array:
    """Return a tile as it looks after passing through `side` x `side` pixels."""
    ratio = side / TILE
    down = _zoom(ratio)
    return warp_square(warp_square(tile, down, side), _zoom(1 / ratio), TILE)


def relight(tile: UInt8Array, gain: float, lift: float) -> UInt8Array:
    """Scale a tile's contrast about its mean by `gain`, then add `lift`."""
    mean = float(tile.mean())
    table = np.clip(np.rint((np.arange(256) - mean) * gain + mean + lift), 0, 255).astype(np.uint8)
    return np.asarray(table[tile])


def _zoom(ratio: float) -> Float32Array:
    # Pixel centres lie at half-integers.
    offset = (ratio - 1) / 2
    return np.array([[ratio, 0, offset], [0, ratio, offset]], dtype=np.float32)
