"""Reads files that came from elsewhere: no more of them than they may hold, and files only.

In place of a bundle's file may stand a pipe that nobody writes to, a device that never ends, or
a terabyte of zeros: none of them may hold up a device, or take its memory.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_at_most(path: Path, most: int) -> bytes:
    """Return a regular file's bytes.

    Parameters
    ----------
    path
        The file, or a link to it.
    most
        How many bytes it may have.

    Raises
    ------
    OSError
        It cannot be read, is no regular file, or is larger. `strerror` says why.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            # What says it is too large is not read first; what does not say is read so far only.
            data = file.read(most + 1) if found.st_size <= most else None
    except ValueError as exc:
        raise OSError(errno.EINVAL, f"not a file's name ({exc})", str(path)) from exc
    if data is None or len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return data


def _open_at_once(path: str, flags: int) -> int:
    # Opening a pipe waits for who writes to it, unless told not to.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
