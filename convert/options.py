"""Checks of options that several commands share."""

from __future__ import annotations

from pathlib import Path

from edge.errors import UsageError


def check_out(out: Path | None) -> None:
    """Refuse an `--out` that cannot become a folder, before anything is measured for it.

    Raises
    ------
    UsageError
        It is a file.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a folder")
