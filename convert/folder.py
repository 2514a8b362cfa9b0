"""A bundle's folder, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from convert.errors import RunError


def write(out: Path, files: Mapping[str, bytes], *, check: Callable[[Path], None]) -> None:
    """Write a folder beside its place, check it there, then rename; what was there is replaced.

    Parameters
    ----------
    out
        The folder.
    files
        The content of each file, by its name.
    check
        Is given the folder as it was written, and raises what is wrong with it.

    Raises
    ------
    RunError
        The folder cannot be written.
    """
    beside = out.with_name(f".{out.name}.partial")
    old = out.with_name(f".{out.name}.old")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, data in files.items():
            (beside / name).write_bytes(data)
        check(beside.absolute())
        # A folder cannot replace one that has files: the old one steps aside.
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        try:
            beside.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as exc:
        raise RunError(f"{out}: cannot write it ({exc.strerror}); choose another --out") from exc
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
