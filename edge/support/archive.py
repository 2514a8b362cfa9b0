"""A folder of texts as one compressed file, which appears whole and for its owner alone."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from edge.errors import MienError, UsageError

FOLDER = "mien-support"
"""The folder within the archive; the same for every device."""

_LINKLESS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def target(out: Path | None) -> Path:
    """Return where to write: `out`, or a name of the day in the working folder.

    Raises
    ------
    UsageError
        There is something already, or no folder to write into.
    """
    file = out or Path(time.strftime("mien-support-%Y%m%d-%H%M%S.tar.gz"))
    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.parent}; name one that exists")
    if os.path.lexists(file):
        raise UsageError(f"{file}: there is one already; it is left as it is: name another")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{file}: this user may not write there; name another folder with --out")
    return file


def packed(texts: Mapping[str, str]) -> bytes:
    """Return files of text as a .tar.gz, which says nothing of who made it on what machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in texts.items():
            data = text.encode()
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def write(file: Path, data: bytes) -> None:
    """Write a file that did not exist, readable by this user alone.

    Raises
    ------
    MienError
        It cannot be written, or was made by someone else meanwhile; nothing is left behind.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".mien-support-") as fresh:
            fresh.write(data)
            fresh.flush()
            os.fsync(fresh.fileno())
            _appear(Path(fresh.name), file, data)
    except FileExistsError as exc:
        raise MienError(f"{file}: there is one already; it is left as it is: name another") from exc
    except OSError as exc:
        raise MienError(f"{file}: cannot be written: {exc.strerror}; see --out") from exc


def _appear(fresh: Path, file: Path, data: bytes) -> None:
    """Give a finished file its name, unless something has it."""
    try:
        # Unlike a rename, a link never replaces what is there.
        os.link(fresh, file)
    except OSError as exc:
        if exc.errno not in _LINKLESS:
            raise
        # FAT, as on a USB stick, knows no links.
        _write_new(file, data)


def _write_new(file: Path, data: bytes) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        try:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            file.unlink()
            raise
