"""Checks of options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
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


def check_bundle(told: str) -> None:
    """Refuse what is neither the folder of a bundle nor the name of one that ships.

    Raises
    ------
    UsageError
        It is neither.
    """
    from edge import bundle  # noqa: PLC0415  # --help must not wait for numpy

    shipped = bundle.shipped()
    if not (Path(told) / bundle.MANIFEST).is_file() and told not in shipped:
        raise UsageError(
            f"{told}: is no bundle, and none of that name comes with Mien "
            f"({', '.join(shipped)}); give the folder of one"
        )


def whole(least: int) -> Callable[[str], int]:
    """Return what makes a whole number of at least `least` of an argument."""

    def number(text: str) -> int:
        found = int(text)
        if found < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return found

    number.__name__ = "whole number"  # argparse tells it of what is no number at all
    return number


def share(text: str) -> float:
    """Return a share, 0 to less than 1, that an argument is.

    Raises
    ------
    argparse.ArgumentTypeError
        It is none.
    """
    found = float(text)
    if not 0 <= found < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to less than 1")
    return found
