"""The command line of the workstation: `mien-convert`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from edge.errors import EXIT_FAILURE, MienError

AddCommand: TypeAlias = Callable[..., argparse.ArgumentParser]


class Arguments(argparse.Namespace):
    """The parsed command line; each command reads the fields it declared."""

    command: Callable[[Arguments], int]
    data: Path
    run: Path
    out: Path
    model: str
    epochs: int
    seed: int
    head: Literal["int8", "int16x8"]
    limit: float
    through_crop: bool
    json: bool
    name: str
    version: str
    abstain_below: float
    tiles: int
    source: str
    target: Literal["raspberry-pi", "jetson", "coral", "all"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv, Arguments())
    # TensorFlow greets on stderr from C++; an error still comes as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        return arguments.command(arguments)
    except MienError as exc:
        sys.stderr.write(f"mien-convert: {exc}\n")
        return exc.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mien-convert", description="Train, quantise, measure and package models."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_networks(commands.add_parser)
    _add_results(commands.add_parser)
    return parser


def _add_networks(add: AddCommand) -> None:
    """Add the commands that make networks."""
    train = add("train", help="train the frame model")
    _add_data(train)
    _add_run(train)
    train.add_argument(
        "--model", choices=["kalambate"], default="kalambate", help="which network (%(default)s)"
    )
    _add_training(train, epochs=80)
    train.set_defaults(command=_train)

    head = add("train-head", help="train the temporal head for it")
    _add_data(head)
    _add_run(head)
    _add_training(head, epochs=30)
    head.set_defaults(command=_train_head)

    quantise = add("quantise", help="turn both into integer TFLite files")
    _add_data(quantise)
    _add_run(quantise)
    quantise.add_argument(
        "--head", choices=["int16x8", "int8"], default="int16x8", help="precision (%(default)s)"
    )
    quantise.add_argument(
        "--limit", type=float, default=600, metavar="SECONDS", help="for each (%(default)s)"
    )
    quantise.set_defaults(command=_quantise)


def _add_results(add: AddCommand) -> None:
    """Add the commands that measure and package them."""
    framing = add("framing", help="measure how faces lie in their tiles")
    _add_data(framing)
    framing.add_argument("--tiles", type=_count, default=4000, help="look at so many (%(default)s)")
    framing.set_defaults(command=_framing)

    evaluate = add("evaluate", help="measure networks and files on split=val")
    _add_data(evaluate)
    _add_run(evaluate)
    evaluate.add_argument(
        "--through-crop", action="store_true", help="measure too what detector and crop cost"
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of tables")
    evaluate.set_defaults(command=_evaluate)

    check = add("check", help="say which boards a model can run on, and why not")
    check.add_argument(
        "source", metavar="FILE|BUNDLE", help="a .tflite file, or a bundle's folder or name"
    )
    check.add_argument(
        "--target",
        choices=["raspberry-pi", "jetson", "coral", "all"],
        default="all",
        help="(%(default)s)",
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.add_argument(
        "--limit", type=float, default=180.0, metavar="SECONDS",
        help="for edgetpu_compiler, where it is installed (%(default)g)",
    )  # fmt: skip
    check.set_defaults(command=_check)

    package = add("package", help="write the bundle that a device loads")
    _add_run(package)
    package.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle")
    package.add_argument("--name", required=True, help="lower-case letters, digits and dashes")
    package.add_argument("--version", default="1", help="of the bundle (%(default)s)")
    package.add_argument(
        "--abstain-below", type=float, default=0.4, metavar="SHARE",
        help="answer `unsure` below this confidence (%(default)s)",
    )  # fmt: skip
    package.set_defaults(command=_package)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="labels.csv and sheet-N.webp"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="where results are kept"
    )


def _add_training(parser: argparse.ArgumentParser, *, epochs: int) -> None:
    parser.add_argument("--epochs", type=_count, default=epochs, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")


def _count(text: str) -> int:
    """Return a whole number of at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than one")
    return number


def _train(arguments: Arguments) -> int:
    from convert import data, train  # noqa: PLC0415  # --help must not wait for TensorFlow

    settings = train.TrainSettings(
        model=arguments.model, epochs=arguments.epochs, seed=arguments.seed
    )
    record = train.train(arguments.run, data.load(arguments.data), settings)
    best = record.epochs[record.best_epoch - 1]
    print(f"best epoch {record.best_epoch}: val accuracy {best['val_accuracy']:.4f}")
    return 0


def _train_head(arguments: Arguments) -> int:
    from convert import data, head, report  # noqa: PLC0415  # see _train

    settings = head.HeadSettings(epochs=arguments.epochs, seed=arguments.seed)
    _, compared = head.train_head(arguments.run, data.load(arguments.data), settings)
    print(report.streams_table(compared))
    return 0


def _quantise(arguments: Arguments) -> int:
    from convert import data, quantise  # noqa: PLC0415  # see _train

    made = quantise.quantise(
        arguments.run,
        data.load(arguments.data),
        head_precision=arguments.head,
        limit_s=arguments.limit,
    )
    for model in (made.frame, made.head):
        print(f"{arguments.run / model.file}:")
        for way, tensors in (("in", model.inputs), ("out", model.outputs)):
            for each in tensors:
                print(
                    f"  {way:3} {each.role:9} {each.dtype:5} {list(each.shape)} "
                    f"scale {each.scale:.8g} zero point {each.zero_point}"
                )
    return 0


def _framing(arguments: Arguments) -> int:
    from convert import data, framing  # noqa: PLC0415  # see _train

    tiles = data.spread(data.load(arguments.data).train, arguments.tiles)
    found = framing.measure(tiles, framing.short_range_detector())
    print(f"{found.found} faces found in {found.tiles} tiles; in fractions of the tile's side")
    for name in ("centre_line", "face_length", "centre_x", "angle"):
        low, median, high = getattr(found, name)
        print(f"{name:12} median {median:7.3f}   quartiles {low:7.3f} {high:7.3f}")
    for name, (least, most) in framing.looks(tiles).items():
        print(f"{name:12} 1st percentile {least:7.2f}   99th {most:7.2f}")
    return 0


def _evaluate(arguments: Arguments) -> int:
    from convert import data, evaluate, report  # noqa: PLC0415  # see _train

    found = evaluate.evaluate(
        arguments.run, data.load(arguments.data), through_crop=arguments.through_crop
    )
    print(report.as_json(found) if arguments.json else report.evaluation_tables(found))
    return 0


def _check(arguments: Arguments) -> int:
    from convert import check  # noqa: PLC0415  # see _train

    targets = check.TARGETS if arguments.target == "all" else (arguments.target,)
    report = check.check(arguments.source, targets, limit_s=arguments.limit)
    print(check.to_json(report) if arguments.json else check.render(report))
    return 0 if report.fine else EXIT_FAILURE


def _package(arguments: Arguments) -> int:
    from convert import package  # noqa: PLC0415  # see _train

    manifest = package.package(
        arguments.run,
        arguments.out,
        name=arguments.name,
        version=arguments.version,
        abstain_below=arguments.abstain_below,
    )
    print(f"{arguments.out}: {manifest.name} {manifest.version}, golden vectors pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
