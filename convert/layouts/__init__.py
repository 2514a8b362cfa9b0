"""The layouts that labelled pictures come in, read into one form; `convert.data` describes them.

What is read here is as the files say it: which labels a model knows is none of its business.
"""

from __future__ import annotations

from pathlib import Path

from convert.errors import DataError
from convert.layouts import archive, folders, sheets
from convert.layouts.tiles import Labelled, of_train
from edge.datatypes import UInt8Array


def read(path: Path, *, names: tuple[str, ...], size: int) -> Labelled:
    """Read labelled pictures of any layout.

    Parameters
    ----------
    path
        A folder or an `.npz` file.
    names
        What whole numbers stand for, where labels are numbers.
    size
        The side to bring pictures to.

    Raises
    ------
    DataError
        It is missing, damaged, or laid out otherwise; the message names the file.
    """
    if _is_archive(path):
        return archive.read(path, names, size)
    if not path.is_dir():
        raise DataError(
            f"{path}: {_absent(path)}; give --data a folder of folders (LABEL/*, or train/LABEL/* "
            f"and val/LABEL/*), an .npz, or a folder with {sheets.LABELS_FILE} and sheet-N.webp"
        )
    if sheets.are_in(path):
        return sheets.read(path, size)
    return folders.read(path, size)


def read_unlabelled(path: Path, size: int) -> UInt8Array:
    """Read pictures whose labels do not matter, uint8 [n, size, size].

    Where a layout says which are of `val`, those are left out.

    Raises
    ------
    DataError
        As `read`, or there is no picture.
    """
    if _is_archive(path):
        return archive.read_unlabelled(path, size)
    if not path.is_dir():
        raise DataError(
            f"{path}: {_absent(path)}; give a folder of pictures, or an .npz with images"
        )
    if sheets.are_in(path):
        found = sheets.read(path, size)
        return of_train(found.pixels, found.splits, path)
    return folders.read_unlabelled(path, size)


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".npz"


def _absent(path: Path) -> str:
    return "neither a folder nor an .npz" if path.exists() else "No such file or directory"
