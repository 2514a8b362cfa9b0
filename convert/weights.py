"""The float weights of the frame models that ship, for other networks to start from.

They lie in `convert/trained`, under the names of the bundles that were made of them, in half
precision: a device carries them for nothing.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from convert.errors import RunError
from convert.run import sha256_of, write_whole
from edge.errors import UsageError

_FOLDER = Path(__file__).parent / "trained"


def shipped() -> dict[str, Path]:
    """Return the files that ship, by the names of their bundles."""
    return {file.stem: file for file in sorted(_FOLDER.glob("*.keras"))}


def find(told: str) -> Path:
    """Return the file that a user means: a path, or the name of a bundle that ships.

    Raises
    ------
    UsageError
        It is neither.
    """
    path = Path(told)
    if path.exists():
        return path
    known = shipped()
    if told not in known:
        raise UsageError(
            f"--start {told}: neither a file nor a network that ships ({', '.join(known)})"
        )
    return known[told]


def name_of(sha256: str) -> str | None:
    """Return the name of the network that ships with this sha256, if one does."""
    named = (name for name, file in shipped().items() if sha256_of(file) == sha256)
    return next(named, None)


def halve(network: Path) -> None:
    """Round the weights of a .keras file to half precision, which halves the file.

    Keras reads it as it reads any other, into float32. What is left is eleven significant bits
    of each weight, four times as fine as the steps of a symmetric int8.

    Raises
    ------
    RunError
        A weight is not finite in half precision (beyond 65,504), or the file cannot be written.
    """
    import h5py  # noqa: PLC0415  # it comes with Keras, and finding names needs neither

    rounded = io.BytesIO()
    with zipfile.ZipFile(network) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with h5py.File(io.BytesIO(kept[_WEIGHTS])) as read, h5py.File(rounded, "w") as written:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                made = written.require_group(name)
            else:
                values = item[()]
                if values.dtype == np.float32:
                    with np.errstate(over="ignore"):
                        values = values.astype(np.float16)
                if not np.isfinite(values).all():
                    raise RunError(f"{network}: {name} is not finite in half precision")
                made = written.create_dataset(name, data=values)
            made.attrs.update(item.attrs)

        read.visititems(copy)
    kept[_WEIGHTS] = rounded.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in kept.items():
            # One date for all, so that the same weights are the same file.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    write_whole(network, file.getvalue())


_WEIGHTS = "model.weights.h5"
"""Of the members of a .keras file, what numbers it has."""
