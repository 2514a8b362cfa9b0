"""`mien-convert streams`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Literal, cast

from convert import options
from edge.errors import UsageError

_COUNT = 12
_SLOWEST, _FASTEST = 5.0, 30.0
"""As `streams.SLOWEST` and `FASTEST`, which --help must not import."""
_SHORTEST_S, _LONGEST_S = 1.0, 120.0


class Asked(argparse.Namespace):
    """What was asked of the command."""

    data: Path
    out: Path
    count: int
    seed: int
    split: Literal["val", "train"]
    fps: float
    seconds: float | None
    settings: Literal["scoring", "learning"]
    labels: str | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data`."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="a new folder: for each stream a sheet to look at and an .npz, and streams.json",
    )  # fmt: skip
    parser.add_argument(
        "--count", type=options.whole(1), default=_COUNT, help="of streams (%(default)s)"
    )
    parser.add_argument("--seed", type=options.whole(0), default=1, help="(%(default)s)")
    parser.add_argument(
        "--split", choices=["val", "train"], default="val",
        help="whose faces; a head learns from those of train (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--fps", type=_rate, default=10.0, metavar="HZ",
        help=f"frames a second, {_SLOWEST:g} to {_FASTEST:g} (%(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=_seconds, metavar="S", help="how long each stream lasts (8)"
    )
    parser.add_argument(
        "--settings", choices=["scoring", "learning"], default="scoring",
        help="what a head is measured on, or learns from (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--labels", metavar="A,B,C", help="of the data, in the order of targets")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Compose streams, write them, say where; return the exit code.

    Raises
    ------
    MienError
        What is wrong with the data or the options.
    """
    from convert import data, streams_folder  # noqa: PLC0415  # --help must not wait for numpy

    asked = cast("Asked", arguments)
    _check_new(asked.out)
    names = data.LABELS if asked.labels is None else data.labels_of(asked.labels)
    faces = data.load(asked.data, names=names)
    order = streams_folder.Order(
        data=asked.data.stem, split=asked.split, settings=asked.settings, seconds=asked.seconds,
        fps=asked.fps, seed=asked.seed, count=asked.count,
    )  # fmt: skip
    record = streams_folder.write(asked.out, faces, order)
    frames = sum(len(each.times) for each in record.streams)
    print(  # noqa: T201  # a command's answer
        f"{asked.out}: {len(record.streams)} composed streams of stills, not video; {frames} "
        f"frames at {asked.fps:g} Hz"
    )
    return 0


def _check_new(out: Path) -> None:
    """Refuse a folder that holds anything: streams of two orders must not lie in one."""
    options.check_out(out)
    try:
        full = out.is_dir() and any(out.iterdir())
    except OSError as exc:
        raise UsageError(f"--out {out}: cannot read it ({exc.strerror}); name another") from exc
    if full:
        raise UsageError(f"--out {out}: is not empty; name a new folder")


def _rate(text: str) -> float:
    return _within(text, _SLOWEST, _FASTEST, "frames a second")


def _seconds(text: str) -> float:
    return _within(text, _SHORTEST_S, _LONGEST_S, "seconds")


def _within(text: str, least: float, most: float, unit: str) -> float:
    number = float(text)
    if math.isnan(number) or not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text} is not {least:g} to {most:g} {unit}")
    return number
