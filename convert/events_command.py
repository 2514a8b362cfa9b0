"""`mien-convert events`: its options, and what it does with them."""

from __future__ import annotations

import argparse
from typing import cast

from convert import bench_command
from convert.bench_command import Asked


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data`."""
    bench_command.add_options(parser, "events")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for; return the exit code.

    Raises
    ------
    MienError
        What is wrong with the bundle, the data or the options.
    """
    from convert import event_bench, event_report  # noqa: PLC0415  # --help must not wait for numpy

    asked = cast("Asked", arguments)
    return bench_command.run(asked, event_bench.bench, event_report.write, event_report.tables)
