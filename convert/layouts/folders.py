"""A folder per label: `LABEL/*`, or `train/LABEL/*` and `val/LABEL/*`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from convert.errors import DataError
from convert.layouts.tiles import Labelled, Split, fit, split_by
from edge.datatypes import UInt8Array
from edge.imaging import read_luma

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_KNOWN = ", ".join(sorted(PICTURE_SUFFIXES))

_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
_TEST = "test"


def read(root: Path, size: int) -> Labelled:
    """Read pictures of folders named after their labels.

    Where there are no folders for `train` and `val`, a picture's own sha256 chooses. The whole
    is pinned by the sha256 of lines of split, label and the file's sha256, sorted: what the
    files are called, and where the folder lies, makes no difference.

    Raises
    ------
    DataError
        A picture cannot be read, or there is none.
    """
    files: list[Path] = []
    labels: list[str] = []
    splits: list[Split | None] = []
    for split, folder in split_folders(root).items() or [(None, root)]:
        for label in _folders_in(folder):
            found = _pictures_in(label)
            files += found
            labels += [label.name] * len(found)
            splits += [split] * len(found)
    if not files:
        raise DataError(
            f"{root}: no picture ({_KNOWN}) in a folder in it; lay them out as LABEL/*, or as "
            "train/LABEL/* and val/LABEL/*"
        )
    tiles, hashes = [], []
    for file in _shown(files):
        tiles.append(_tile(file, size))
        hashes.append(hashlib.sha256(file.read_bytes()).hexdigest())
    settled = [split or split_by(digest) for split, digest in zip(splits, hashes, strict=True)]
    lines = sorted("\t".join(row) for row in zip(settled, labels, hashes, strict=True))
    whole = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Labelled(np.stack(tiles), labels, settled, whole)


def read_unlabelled(root: Path, size: int) -> UInt8Array:
    """Read the pictures of `train`, where there is such a folder, or else all, at any depth.

    Raises
    ------
    DataError
        A picture cannot be read, or there is none.
    """
    folder = split_folders(root).get("train", root)
    files = _pictures_in(folder)
    if not files:
        raise DataError(f"{folder}: no picture ({_KNOWN}) in it; give a folder that has some")
    return np.stack([_tile(file, size) for file in _shown(files)])


def split_folders(root: Path) -> dict[Split, Path]:
    """Return the folders of the splits; none where the folders in `root` are labels themselves.

    `test` stands in for a missing `val`. Where both are, whoever laid them out keeps `test` for
    the end, and it is left alone.

    Raises
    ------
    DataError
        Two folders are for the same split.
    """
    found: dict[Split, Path] = {}
    test = None
    for folder in _folders_in(root):
        split = _SPLITS.get(folder.name.casefold())
        if split is not None and split in found:
            raise DataError(f"{folder}: there is {found[split].name} too; keep one of the two")
        if split is not None:
            found[split] = folder
        elif folder.name.casefold() == _TEST:
            test = folder
    if test is not None and "val" in found:
        sys.stderr.write(f"mien-convert: {test}: left alone, for there is {found['val'].name}\n")
    elif test is not None and found:
        found["val"] = test
    return found


def _folders_in(folder: Path) -> list[Path]:
    found = (each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")
    return sorted(found, key=lambda each: each.name)


def _pictures_in(folder: Path) -> list[Path]:
    """Return the pictures at any depth, in the order of their paths."""
    files = sorted(each for each in folder.rglob("*") if each.is_file() and each.name[0] != ".")
    others = [each for each in files if each.suffix.lower() not in PICTURE_SUFFIXES]
    if others:
        sys.stderr.write(
            f"mien-convert: {folder}: passed over {len(others)} of {len(files)} files, which are "
            f"no pictures by their names ({others[0].name})\n"
        )
    return [each for each in files if each.suffix.lower() in PICTURE_SUFFIXES]


def _shown(files: list[Path]) -> Iterable[Path]:
    shown: Iterable[Path] = tqdm(files, "pictures", file=sys.stderr, delay=2)
    return shown


def _tile(file: Path, size: int) -> UInt8Array:
    picture = read_luma(file)
    if picture is None:
        raise DataError(f"{file}: not a picture, or damaged; copy it again or take it out")
    return fit(picture, size)
