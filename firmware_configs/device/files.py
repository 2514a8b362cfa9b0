"""Files that are either as they were or as they should be, whenever the power is cut."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

PART = ".mien-part"
"""The end of the name of a file that is not finished, or not quite gone; a next run sees to it."""


class SetupError(Exception):
    """What a person has to mend, in one line."""


def sha256(file: Path) -> str:
    """Return the hash of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write(file: Path, data: bytes, mode: int = 0o644) -> bool:
    """Make a file hold `data`; return whether it did not yet.

    It never has more permissions than `mode`, nor half of the data.
    """
    if not file.is_symlink() and file.is_file() and file.read_bytes() == data:
        if file.stat().st_mode & 0o7777 != mode:
            file.chmod(mode)
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + PART)
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as sink:
        os.fchmod(sink.fileno(), mode)
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(file)
    synchronise(file.parent)
    return True


def link(place: Path, target: str) -> bool:
    """Make `place` a symbolic link to `target`, in one step; return whether it was not yet."""
    if place.is_symlink() and str(place.readlink()) == target:
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + PART)
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(place)
    synchronise(place.parent)
    return True


def wipe(file: Path) -> None:
    """Overwrite a file with zeros, then remove it.

    A card may keep what was written before in spare blocks that no program reaches; only a secret
    that never was on it cannot be read from it.
    """
    # By another name first: what is cut off here must not be taken for the secret itself.
    part = file if file.name.endswith(PART) else file.with_name(file.name + PART)
    if part != file:
        file.replace(part)
        synchronise(file.parent)
    with part.open("r+b") as sink:
        sink.write(bytes(part.stat().st_size))
        sink.flush()
        os.fsync(sink.fileno())
    part.unlink()
    synchronise(file.parent)


def synchronise(folder: Path) -> None:
    """Have a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synchronise_all() -> None:
    """Have everything on the disk: what other programs wrote too."""
    os.sync()
