"""`mien-convert filters`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from convert import options

_STREAMS = 150


class Asked(argparse.Namespace):
    """What was asked of the command."""

    bundle: str
    data: Path
    count: int
    seed: int
    out: Path | None
    json: bool


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data`."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder or name")
    parser.add_argument(
        "--count", type=options.whole(1), default=_STREAMS, metavar="N",
        help="compose so many streams at each frame rate (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=options.whole(0), default=1, help="(%(default)s)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write filters.md, filters.png and filters.json"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for; return the exit code.

    Raises
    ------
    MienError
        What is wrong with the bundle, the data or the options.
    """
    from convert import filter_bench, filter_report, measure, policies, report, subjects  # noqa: PLC0415  # --help must not wait for numpy

    asked = cast("Asked", arguments)
    options.check_out(asked.out)
    options.check_bundle(asked.bundle)
    subject = subjects.open_model(asked.bundle, subjects.Given())
    assert subject.networks is not None  # noqa: S101  # every bundle of expressions has them
    faces = policies.faces(asked.data, subject.policy, subject.labels, subject.size)
    found = filter_bench.bench(
        *subject.networks,
        faces.val,
        measure.facts_of(faces, asked.data.stem, "val"),
        files=subject.files,
        count=asked.count,
        seed=asked.seed,
    )
    if asked.out is not None:
        filter_report.write(found, asked.out)
    text = report.as_json(found) if asked.json else filter_report.tables(found)
    sys.stdout.write(f"{text}\n")
    return 0
