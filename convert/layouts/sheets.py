"""`labels.csv`, a row per tile, beside `sheet-N.webp`, 100 tiles of 48x48 a row."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

import numpy as np

from convert.errors import DataError
from convert.layouts.tiles import Labelled, Split, fit
from edge.datatypes import UInt8Array
from edge.imaging import read_luma

LABELS_FILE = "labels.csv"
SHEET_TILE = 48
TILES_A_ROW = 100
SHEET_ROW = SHEET_TILE * TILES_A_ROW


def are_in(folder: Path) -> bool:
    """Whether a folder is, or seems to be, of this layout."""
    return (folder / LABELS_FILE).exists() or any(folder.glob("sheet-*.webp"))


def read(folder: Path, size: int) -> Labelled:
    """Read `labels.csv` and the sheets of tiles beside it; its sha256 is that of `labels.csv`.

    Raises
    ------
    DataError
        A file is missing or damaged, a split is unknown, or the counts disagree.
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
    pixels = pixels[: len(labels)]
    if size != SHEET_TILE and labels:
        pixels = np.stack([fit(tile, size) for tile in pixels])
    return Labelled(pixels, labels, splits, hashlib.sha256(raw).hexdigest())


def _read_labels(raw: bytes, file: Path) -> tuple[list[Split], list[str]]:
    """Return the split and the label of every row."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise DataError(f"{file}: not a text file ({exc.reason}); copy it again") from exc
    rows = csv.DictReader(text.splitlines())
    missing = {"split", "label"} - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{file}: no column {' or '.join(sorted(missing))} in its first line")
    splits: list[Split] = []
    labels = []
    for row in rows:
        split, label = row["split"], row["label"]
        if split not in ("train", "val") or not label:
            raise DataError(
                f"{file}, line {rows.line_num}: split is {split!r} and label {label!r}; write "
                "train or val, and a label"
            )
        splits.append(split)  # type: ignore[arg-type]  # narrowed above, which mypy cannot see
        labels.append(label)
    return splits, labels


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
        if sheet is None or sheet.shape[0] % SHEET_TILE or sheet.shape[1] != SHEET_ROW:
            raise DataError(
                f"{found[number]}: not a picture of {SHEET_TILE}x{SHEET_TILE} tiles, "
                f"{TILES_A_ROW} a row; copy it again"
            )
        tiles = sheet.reshape(-1, SHEET_TILE, TILES_A_ROW, SHEET_TILE).swapaxes(1, 2)
        sheets.append(tiles.reshape(-1, SHEET_TILE, SHEET_TILE))
    return np.concatenate(sheets)
