"""`mien-convert filters`: its options, and what it does with them."""

from __future__ import annotations

import argparse
from typing import cast

from convert import bench_command
from convert.bench_command import Asked


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data`."""
    bench_command.add_options(parser, "filters")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for; return the exit code.

    Raises
    ------
    MienError
        What is wrong with the bundle, the data or the options.
    """
    from convert import filter_bench, filter_report  # noqa: PLC0415  # --help must not wait for numpy

    asked = cast("Asked", arguments)
    return bench_command.run(asked, filter_bench.bench, filter_report.write, filter_report.tables)
