"""`mien-convert quality`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from convert import bench_command, options

_TILES = 1000


class Asked(argparse.Namespace):
    """What was asked of the command."""

    bundle: str
    data: Path
    tiles: int
    json: bool


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data`."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder or name")
    parser.add_argument(
        "--tiles",
        type=options.whole(1),
        default=_TILES,
        metavar="N",
        help="look at so many (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; return the exit code.

    Raises
    ------
    MienError
        What is wrong with the bundle, the data or the options.
    """
    from convert import quality_bench, quality_report, report  # noqa: PLC0415  # --help must not wait for numpy

    asked = cast("Asked", arguments)
    given = bench_command.opened(asked.bundle, asked.data)
    found = quality_bench.bench(
        given.networks, given.manifest, given.tiles, given.facts,
        files=given.files, at_most=asked.tiles,
    )  # fmt: skip
    text = report.as_json(found) if asked.json else quality_report.tables(found)
    sys.stdout.write(f"{text}\n")
    return 0
