"""`mien-convert trainings`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from convert import options


class Asked(argparse.Namespace):
    """What was asked of the command."""

    runs: list[Path]
    out: Path | None
    json: bool


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN",
        help="run folders, finished or not; the others are read against the first",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="write trainings.md, trainings.png and trainings.json",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, print, and write what was asked for; return the exit code.

    Raises
    ------
    MienError
        What is wrong with a run folder or the options.
    """
    from convert import report, trainings  # noqa: PLC0415  # --help must not wait for numpy

    asked = cast("Asked", arguments)
    options.check_out(asked.out)
    found = trainings.read(asked.runs)
    if asked.out is not None:
        trainings.write(found, asked.out)
    text = report.as_json(found) if asked.json else trainings.tables(found)
    sys.stdout.write(f"{text}\n")
    return 0
