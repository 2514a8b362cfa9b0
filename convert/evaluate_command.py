"""`mien-convert evaluate`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from convert import options
from edge.errors import UsageError

if TYPE_CHECKING:  # --help must not wait for numpy
    from convert.measure import Measurement
    from convert.recipe import Policy


class Asked(argparse.Namespace):
    """What was asked of the command."""

    measured: str | None
    run: Path | None
    data: Path
    split: Literal["val", "train", "all"]
    through_crop: bool
    out: Path | None
    json: bool
    labels: str | None
    mean: float | None
    std: float | None
    weights: Path | None
    input_shape: str | None
    policy: Policy | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data`. A model and a run folder exclude each other."""
    parser.add_argument(
        "measured", nargs="?", metavar="MODEL",
        help="a bundle's folder or name, a .tflite frame model, a float model as quantise takes "
        "it, or a run folder",
    )  # fmt: skip
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="a run folder, which keeps the result for package"
    )
    parser.add_argument(
        "--split", choices=["val", "train", "all"], default="val", help="(%(default)s)"
    )
    parser.add_argument(
        "--through-crop", action="store_true",
        help="of a run folder, measure too what detector and crop cost",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.html, figures and evaluation.json"
    )
    parser.add_argument(
        "--policy", choices=["labels", "consensus"],
        help="what counts as right: labels, or what most votes name (as the bundle was trained)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    told = parser.add_argument_group("what a model does not say by itself")
    told.add_argument("--labels", metavar="A,B,C", help="in the order of its answers")
    told.add_argument("--mean", type=float, metavar="M", help="of its pixels, in 0..255 (128)")
    told.add_argument("--std", type=float, metavar="S", help="it sees (pixel - M) / S (128)")
    told.add_argument("--weights", type=Path, metavar="FILE", help="of MODULE:FACTORY")
    told.add_argument("--input-shape", metavar="CxHxW", help="of MODULE:FACTORY")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for; return the exit code.

    Raises
    ------
    MienError
        What is wrong with the model, the data or the options.
    """
    from convert import report  # noqa: PLC0415  # --help must not wait for numpy

    asked = cast("Asked", arguments)
    options.check_out(asked.out)
    measured, text = _measured(asked)
    if asked.out is not None:
        from convert import page  # noqa: PLC0415  # matplotlib, which most calls do without

        page.write(measured, asked.out)
    sys.stdout.write(f"{text if asked.json else report.measurement_tables(measured)}\n")
    return 0


def _measured(asked: Asked) -> tuple[Measurement, str]:
    """Measure, and return the result also as JSON."""
    from convert import subjects  # noqa: PLC0415  # see run

    if asked.measured is not None and asked.run is None:
        folder = subjects.run_folder(asked.measured)
        return _model(asked, asked.measured) if folder is None else _run_folder(asked, folder)
    if asked.measured is None and asked.run is not None:
        return _run_folder(asked, asked.run)
    raise UsageError("evaluate: name a MODEL, or a run folder as --run DIR; one of the two")


def _model(asked: Asked, model: str) -> tuple[Measurement, str]:
    from convert import data, measure, policies, report, sources, subjects  # noqa: PLC0415  # see run

    if asked.through_crop:
        raise UsageError("--through-crop goes with a run folder alone; leave it out")
    given = subjects.Given(
        labels=None if asked.labels is None else data.labels_of(asked.labels),
        mean=asked.mean,
        std=asked.std,
        weights=asked.weights,
        input_shape=None if asked.input_shape is None else sources.parse_shape(asked.input_shape),
    )
    subject = subjects.open_model(model, given)
    policy = asked.policy or subject.policy
    faces = policies.faces(asked.data, policy, subject.labels, subject.size)
    majority = policies.by_majority(asked.data, asked.split) if policy == "consensus" else None
    found = measure.measure(
        subject, model, faces, asked.data.stem, asked.split, by_majority=majority
    )
    return found, report.as_json(found)


def _run_folder(asked: Asked, folder: Path) -> tuple[Measurement, str]:
    told = [
        asked.labels, asked.mean, asked.std, asked.weights, asked.input_shape, asked.policy,
    ]  # fmt: skip
    if asked.split != "val" or any(each is not None for each in told):
        raise UsageError(
            f"{folder}: a run folder is measured on val and says by itself what it takes; leave "
            "out --split, --policy, --labels, --mean, --std, --weights and --input-shape"
        )
    if asked.out is not None and asked.out.resolve() == folder.resolve():
        raise UsageError(f"--out {asked.out}: is the run folder; name another")
    from convert import evaluate, interface, measure, policies, report  # noqa: PLC0415  # TensorFlow

    taken = interface.read(folder)
    faces = policies.faces(asked.data, taken.policy, taken.labels, taken.size)
    majority = policies.by_majority(asked.data, "val") if taken.policy == "consensus" else None
    found = evaluate.evaluate(folder, faces, through_crop=asked.through_crop, by_majority=majority)
    return measure.of_run(folder, found, faces, asked.data.stem), report.as_json(found)
