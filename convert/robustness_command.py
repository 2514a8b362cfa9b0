"""`mien-convert robustness`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import parse_qsl

from convert import options
from convert.recipe import POLICIES, Policy
from edge.errors import UsageError

if TYPE_CHECKING:  # --help must not wait for numpy
    from convert.robustness import Entrant
    from convert.subjects import Given

_SIDE = 48
_LEAST_SIDE = 16

_EXPECTED = {
    "name": "what its column is to be called",
    "labels": "A,B,C: each once, in the order of its answers",
    "mean": "a number, of its pixels, in 0..255",
    "std": "a number, where it sees (pixel - mean) / std",
    "weights": "a file, of MODULE:FACTORY",
    "input-shape": "CxHxW, as in 1x48x48, of MODULE:FACTORY",
}
"""What may be told of a model, and what it has to be."""


class Asked(argparse.Namespace):
    """What was asked of the command."""

    models: list[str]
    data: Path
    split: Literal["val", "train", "all"]
    policy: Policy
    size: int
    tiles: int | None
    out: Path | None
    json: bool


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data`."""
    parser.add_argument(
        "models", nargs="+", metavar="MODEL",
        help="as evaluate takes it; the first is held against the others. What it does not say "
        "by itself stands behind a question mark: 'net.h5?mean=0&std=255' "
        f"({', '.join(_EXPECTED)})",
    )  # fmt: skip
    parser.add_argument(
        "--split", choices=["val", "train", "all"], default="val", help="(%(default)s)"
    )
    parser.add_argument(
        "--policy", choices=POLICIES, default="labels",
        help="what counts as right: labels, or what most votes name (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=_side, default=_SIDE, metavar="PIXELS",
        help="the side at which faces are spoilt, before each model's own (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tiles", type=_count, metavar="N", help="look at so many, evenly spread (all)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="write robustness.md, robustness.png and robustness.json",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for; return the exit code.

    Raises
    ------
    MienError
        What is wrong with a model, the data or the options.
    """
    from convert import policies, report, robustness, robustness_report  # noqa: PLC0415  # see _EXPECTED

    asked = cast("Asked", arguments)
    options.check_out(asked.out)
    entrants = [_entrant(text) for text in asked.models]
    robustness.common_labels(entrants)
    faces = policies.faces(asked.data, asked.policy, entrants[0].subject.labels, asked.size)
    found = robustness.compare(entrants, faces, asked.data.stem, asked.split, at_most=asked.tiles)
    if asked.out is not None:
        robustness_report.write(found, asked.out)
    text = report.as_json(found) if asked.json else robustness_report.tables(found)
    sys.stdout.write(f"{text}\n")
    return 0


def _entrant(text: str) -> Entrant:
    """Open a model as it was named, with what was told of it."""
    from convert import robustness, subjects  # noqa: PLC0415  # see run

    model, name, given = parse_model(text)
    if subjects.run_folder(model) is not None:
        raise UsageError(
            f"{model}: is a run folder, which has networks of several stages; name one of its "
            "files, as in RUN/frame.tflite, or the bundle that was packaged from it"
        )
    subject = subjects.open_model(model, given)
    return robustness.Entrant(
        name or (Path(model).name if Path(model).exists() else model), subject
    )


def parse_model(text: str) -> tuple[str, str | None, Given]:
    """Take apart a model and what is told of it.

    Parameters
    ----------
    text
        `MODEL` or `MODEL?KEY=VALUE&KEY=VALUE`; a file may have a question mark in its name.

    Returns
    -------
    str
        The model.
    str or None
        What to call it.
    Given
        What else was told.

    Raises
    ------
    UsageError
        A key is unknown or there twice, or its value is not what it should be.

    Examples
    --------
    >>> model, name, given = parse_model("net.h5?name=theirs&mean=0&std=255")
    >>> model, name, given.mean, given.std
    ('net.h5', 'theirs', 0.0, 255.0)
    """
    from convert import subjects  # noqa: PLC0415  # see run

    model, mark, query = (text, "", "") if Path(text).exists() else text.partition("?")
    told: dict[str, Any] = {}
    # A plus sign in a path or a label is not a blank.
    for key, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        if key not in _EXPECTED or key in told:
            what = "given twice" if key in told else "not known"
            raise UsageError(
                f"{text}: {key} is {what}; what can be told of a model, once each, is "
                f"{', '.join(_EXPECTED)}"
            )
        told[key] = _value(text, key, value)
    if mark and not told:
        raise UsageError(f"{text}: nothing is told behind the question mark; write ?KEY=VALUE")
    name = told.pop("name", None)
    told = {key.replace("-", "_"): value for key, value in told.items()}
    return model, name, subjects.Given(**told, spelling="?{}=")


def _value(text: str, key: str, value: str) -> Any:  # noqa: ANN401  # each key has its own
    from convert import data  # noqa: PLC0415  # see run

    try:
        if key == "labels":
            return data.labels_of(value)
        if key in ("mean", "std"):
            return float(value)
        if key == "input-shape":
            return tuple(_count(each) for each in value.split("x"))
        if value:
            return Path(value) if key == "weights" else value
    except (UsageError, ValueError, argparse.ArgumentTypeError):
        pass
    raise UsageError(f"{text}: {key}={value} should be {_EXPECTED[key]}")


def _count(text: str) -> int:
    """Return a whole number of at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than one")
    return number


def _side(text: str) -> int:
    """Return a side that a face can still be seen at."""
    number = int(text)
    if number < _LEAST_SIDE:
        raise argparse.ArgumentTypeError(f"{text} is less than {_LEAST_SIDE}")
    return number
