"""One `.npz` file: `images`, `labels` and perhaps `split`."""

from __future__ import annotations

import hashlib
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile
from tqdm import tqdm

from convert.errors import DataError
from convert.layouts.tiles import Labelled, Split, fit, of_train, split_by
from edge.datatypes import UInt8Array
from edge.imaging import luma_of

WHITE = 255


def read(file: Path, names: tuple[str, ...], size: int) -> Labelled:
    """Read `images`, `labels` and, where it is there, `split`.

    Without `split` the sha256 of each picture's bytes chooses. The whole is pinned by the sha256
    of the file.

    Raises
    ------
    DataError
        The file is damaged, or an array is missing or not what it should be.
    """
    arrays = _load(file, ("images", "labels"))
    images = arrays["images"]
    tiles = _tiles_of(images, size, file)
    labels = _labels_of(arrays["labels"], len(tiles), names, file)
    if "split" in arrays:
        splits = _splits_of(arrays["split"], len(tiles), file)
    else:
        splits = [split_by(hashlib.sha256(image.tobytes()).hexdigest()) for image in images]
    return Labelled(tiles, labels, splits, hashlib.sha256(file.read_bytes()).hexdigest())


def read_unlabelled(file: Path, size: int) -> UInt8Array:
    """Read `images`, all or, where there is `split`, those of `train`.

    Raises
    ------
    DataError
        As `read`.
    """
    arrays = _load(file, ("images",))
    tiles = _tiles_of(arrays["images"], size, file)
    if "split" not in arrays:
        return tiles
    return of_train(tiles, _splits_of(arrays["split"], len(tiles), file), file)


def _load(file: Path, needed: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    try:
        arrays = _arrays(file, {*needed, "split"})
    except (EOFError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError,
            zipfile.BadZipFile, zlib.error) as exc:  # fmt: skip
        raise DataError(
            f"{file}: not an .npz of plain arrays ({_first_line(exc)}); write it again with "
            "numpy.savez(FILE, images=…, labels=…)"
        ) from exc
    except OSError as exc:
        raise DataError(f"{file}: {exc.strerror or exc}; copy it again") from exc
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(
            f"{file}: no array {' or '.join(missing)} in it; write it again with "
            f"numpy.savez(FILE, {', '.join(f'{name}=…' for name in needed)})"
        )
    return arrays


def _arrays(file: Path, names: set[str]) -> dict[str, npt.NDArray[Any]]:
    """Return those arrays of an archive that it has. Pickles can run code, and are not read."""
    # Opened here, for numpy forgets to close what it cannot read.
    with file.open("rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise TypeError("a single array")
        return {name: archive[name] for name in names & set(archive.files)}


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]


def _tiles_of(images: npt.NDArray[Any], size: int, file: Path) -> UInt8Array:
    """Return an array of pictures as tiles, uint8 [n, size, size]."""
    match images.shape:
        case (_, _, _) | (_, _, _, 1 | 3):
            pass
        case shape:
            raise DataError(
                f"{file}: images has the shape {list(shape)}; make it [n, height, width], "
                "[n, height, width, 1] or [n, height, width, 3] (RGB)"
            )
    if not images.size:
        raise DataError(f"{file}: images has the shape {list(images.shape)}; add pictures")
    gain = _gain(images, file)
    shown = tqdm(images, "pictures", file=sys.stderr, delay=2)
    return np.stack([fit(_luma(image, gain), size) for image in shown])


def _luma(image: npt.NDArray[Any], gain: float) -> UInt8Array:
    pixels = image if image.dtype == np.uint8 else np.rint(image * gain).astype(np.uint8)
    height, width, *colours = pixels.shape
    if colours == [3]:
        return luma_of(np.ascontiguousarray(pixels[:, :, ::-1]))
    return np.asarray(pixels.reshape(height, width), dtype=np.uint8)


def _gain(images: npt.NDArray[Any], file: Path) -> float:
    """Return what makes pixel values of an array's values.

    Floats none of which is above 1 are shares of white; everything else must be 0 to 255, for
    whoever scaled pixels otherwise has to say how, and there is nowhere to say it.
    """
    if images.dtype == np.uint8:
        return 1.0
    real = images.dtype.kind == "f"
    if not real and images.dtype.kind not in "iu":
        raise DataError(f"{file}: images are {images.dtype}; make them uint8")
    if real and not np.isfinite(images).all():
        where = int(np.argwhere(~np.isfinite(images))[0][0])
        raise DataError(f"{file}: images[{where}] has a NaN or infinity in it; leave it out")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > WHITE:
        raise DataError(
            f"{file}: images go from {low:g} to {high:g}; give pixels as they are, uint8 0 to 255"
        )
    return float(WHITE) if real and high <= 1 else 1.0


def _labels_of(
    labels: npt.NDArray[Any], count: int, names: tuple[str, ...], file: Path
) -> list[str]:
    if labels.shape != (count,):
        raise DataError(
            f"{file}: labels has the shape {list(labels.shape)} for {count} images; make it "
            f"[{count}], a label each"
        )
    if labels.dtype.kind == "U":
        return [str(label) for label in labels]
    if labels.dtype.kind not in "iu":
        raise DataError(f"{file}: labels are {labels.dtype}; make them strings or whole numbers")
    wrong = (labels < 0) | (labels >= len(names))
    if wrong.any():
        raise DataError(
            f"{file}: labels[{int(wrong.argmax())}] is {labels[wrong][0]}; number them 0 to "
            f"{len(names) - 1} ({', '.join(names)}), or give them as strings"
        )
    return [names[label] for label in labels.tolist()]


def _splits_of(splits: npt.NDArray[Any], count: int, file: Path) -> list[Split]:
    if splits.shape != (count,) or splits.dtype.kind != "U":
        raise DataError(
            f"{file}: split is {splits.dtype} {list(splits.shape)}; make it [{count}] strings, "
            "train or val"
        )
    for split in np.unique(splits).tolist():
        if split not in ("train", "val"):
            raise DataError(f"{file}: split has {split!r}; make each train or val")
    return splits.tolist()  # type: ignore[no-any-return]  # what was just looked through
