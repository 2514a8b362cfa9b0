"""The command line of the workstation: `mien-convert`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from convert import (
    evaluate_command,
    events_command,
    filters_command,
    options,
    quality_command,
    robustness_command,
    streams_command,
    train_command,
    trainings_command,
)
from convert.quiet import load_tensorflow
from edge.errors import EXIT_FAILURE, MienError, UsageError

_OF_SOURCES = ("onnx", "onnx2tf", "onnxruntime", "onnxscript", "onnxsim", "tf_keras")
"""Packages that only the readers of other frameworks' models need."""

_OF_TRAINING = ("torch",)
"""Packages that the larger networks are trained with."""

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
    embedding_dropout: float
    head: Literal["int8", "int16x8"]
    cut: str | None
    weights: Path | None
    input_shape: str | None
    labels: str | None
    mean: float | None
    std: float | None
    crop: str | None
    step_hz: float | None
    calibration: Path | None
    percentile: float | None
    finetune: int
    allow: list[str]
    limit: float
    through_crop: bool
    json: bool
    name: str
    version: str
    abstain_below: float | None
    tiles: int
    source: str
    trained: str | None
    target: Literal["raspberry-pi", "jetson", "coral", "all"]
    sign: Path | None
    key: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv, Arguments())
    # TensorFlow greets on stderr from C++; an error still comes as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        code = arguments.command(arguments)
        # Here, where a reader who has left can still be met, rather than at the very end.
        sys.stdout.flush()
    except MienError as exc:
        sys.stderr.write(f"mien-convert: {exc}\n")
        return exc.exit_code
    except BrokenPipeError:
        # Whoever reads has read enough, as `head` does. What is left must not be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except KeyboardInterrupt:
        sys.stderr.write("mien-convert: stopped; no file was left half-written\n")
        return EXIT_FAILURE
    except ModuleNotFoundError as exc:
        package = (exc.name or "").split(".")[0]
        if package in ("", "convert", "edge"):
            raise
        extras = "convert"
        extras += ",convert-sources" if package in _OF_SOURCES else ""
        extras += ",convert-train" if package in _OF_TRAINING else ""
        sys.stderr.write(
            f"mien-convert: the package {package} is missing; pip install 'mien[{extras}]'\n"
        )
        return EXIT_FAILURE
    return code


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
    train_command.add_options(train)

    head = add("train-head", help="train the temporal head for it")
    _add_data(head)
    _add_run(head)
    _add_training(head, epochs=30)
    head.add_argument(
        "--embedding-dropout", type=options.share, default=0.4, metavar="SHARE",
        help="of each embedding hidden while training; more for a frame model that knows its "
        "training faces by heart (%(default)s)",
    )  # fmt: skip
    head.set_defaults(command=_train_head)

    composed = add("streams", help="compose streams of faces from stills, with their truth")
    _add_data(composed)
    streams_command.add_options(composed)

    _add_quantise(add("quantise", help="turn networks into integer TFLite files, or say why not"))


def _add_quantise(quantise: argparse.ArgumentParser) -> None:
    """Add the options of `quantise`; what a source is told is left out where there is none."""
    quantise.add_argument(
        "trained", nargs="?", metavar="SOURCE",
        help="a trained model: .keras, .h5, .onnx, .pt2, a SavedModel folder, or MODULE:FACTORY; "
        "without one, the networks in the run folder",
    )  # fmt: skip
    _add_data(quantise)
    _add_run(quantise)
    told = quantise.add_argument_group("what a source does not say by itself")
    told.add_argument("--cut", metavar="NAME", help="the layer or tensor that is the embedding")
    told.add_argument("--weights", type=Path, metavar="FILE", help="of MODULE:FACTORY")
    told.add_argument("--input-shape", metavar="CxHxW", help="of MODULE:FACTORY")
    told.add_argument("--labels", metavar="A,B,C", help="in the order of the logits")
    told.add_argument("--mean", type=float, metavar="M", help="of its pixels, in 0..255")
    told.add_argument("--std", type=float, metavar="S", help="it saw (pixel - M) / S")
    told.add_argument("--crop", metavar="LINE,LENGTH", help="how its faces were framed")
    told.add_argument("--step-hz", type=_positive, metavar="HZ", help="how often its head steps")
    how = quantise.add_argument_group("how")
    how.add_argument(
        "--head", choices=["int16x8", "int8"], default="int16x8", help="precision (%(default)s)"
    )
    how.add_argument(
        "--calibration", type=Path, metavar="DIR|NPZ",
        help="typical pictures (the training split of --data)",
    )  # fmt: skip
    how.add_argument(
        "--percentile", type=_percentile, metavar="P",
        help="share of values that a range holds, like 99.99 (all of them)",
    )  # fmt: skip
    how.add_argument(
        "--finetune", type=_count, default=0, metavar="EPOCHS",
        help="of quantisation-aware training first (none)",
    )  # fmt: skip
    how.add_argument(
        "--allow", action="append", default=[], metavar="NAME=VALUE",
        help="lower the bar of one parity gate; the bundle will say so",
    )  # fmt: skip
    how.add_argument(
        "--limit", type=_positive, default=600, metavar="SECONDS",
        help="for each step (%(default)s)",
    )  # fmt: skip
    quantise.set_defaults(command=_quantise)


def _add_results(add: AddCommand) -> None:
    """Add the commands that measure and package them."""
    framing = add("framing", help="measure how faces lie in their tiles")
    _add_data(framing)
    framing.add_argument("--tiles", type=_count, default=4000, help="look at so many (%(default)s)")
    framing.set_defaults(command=_framing)

    evaluate = add("evaluate", help="measure any model on labelled pictures")
    _add_data(evaluate)
    evaluate_command.add_options(evaluate)

    robustness = add("robustness", help="compare models on faces that are blurred, dark, covered…")
    _add_data(robustness)
    robustness_command.add_options(robustness)

    filters = add("filters", help="compare the head with smoothing that needs no network")
    _add_data(filters)
    filters_command.add_options(filters)

    events = add("events", help="measure how long a change should hold before it is told")
    _add_data(events)
    events_command.add_options(events)

    quality = add("quality", help="measure how poor a look at a face may be before it is refused")
    _add_data(quality)
    quality_command.add_options(quality)

    trainings = add("trainings", help="compare training runs: what each changed, what came of it")
    trainings_command.add_options(trainings)

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
        "--limit", type=_positive, default=180.0, metavar="SECONDS",
        help="for edgetpu_compiler, where it is installed (%(default)g)",
    )  # fmt: skip
    check.set_defaults(command=_check)

    package = add("package", help="write the bundle that a device loads")
    _add_run(package)
    package.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle")
    package.add_argument("--name", required=True, help="lower-case letters, digits and dashes")
    package.add_argument("--version", default="1", help="of the bundle (%(default)s)")
    package.add_argument(
        "--abstain-below", type=float, metavar="SHARE",
        help="answer `unsure` below this confidence (as `evaluate` found best)",
    )  # fmt: skip
    package.add_argument(
        "--sign", type=Path, metavar="KEY", help="sign it with this Ed25519 private key (PEM)"
    )
    package.set_defaults(command=_package)

    sign = add("sign", help="copy any bundle, signed, for devices that have a bundle_key")
    sign.add_argument("source", metavar="BUNDLE", help="a bundle's folder or name")
    sign.add_argument(
        "--key", type=Path, required=True, metavar="KEY", help="an Ed25519 private key (PEM)"
    )
    sign.add_argument("--out", type=Path, required=True, metavar="DIR", help="the signed copy")
    sign.set_defaults(command=_sign)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PATH",
        help="labelled pictures: a folder per label, an .npz, or labels.csv and sheet-N.webp",
    )  # fmt: skip


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


def _positive(text: str) -> float:
    """Return a number above zero that has an end."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def _percentile(text: str) -> float:
    """Return a share above a half, in percent."""
    number = float(text)
    if not 50 < number < 100:  # noqa: PLR2004  # percent
        raise argparse.ArgumentTypeError(f"{text} is not between 50 and 100")
    return number


def _train_head(arguments: Arguments) -> int:
    load_tensorflow()
    from convert import head, interface, policies, report  # noqa: PLC0415  # --help must not wait for TensorFlow

    settings = head.HeadSettings(
        epochs=arguments.epochs,
        seed=arguments.seed,
        embedding_dropout=arguments.embedding_dropout,
    )
    taken = interface.read(arguments.run)
    faces = policies.faces(arguments.data, taken.policy, taken.labels, taken.size)
    _, compared = head.train_head(arguments.run, faces, settings)
    print(report.streams_table(compared))
    return 0


def _quantise(arguments: Arguments) -> int:
    load_tensorflow()
    from convert import adopt, data, gates, interface, policies, quantise, sources  # noqa: PLC0415  # see _train_head

    told = adopt.Told(
        labels=None if arguments.labels is None else data.labels_of(arguments.labels),
        mean=arguments.mean,
        std=arguments.std,
        crop=None if arguments.crop is None else adopt.parse_crop(arguments.crop),
        step_hz=arguments.step_hz,
    )
    shape = arguments.input_shape
    options = sources.Options(
        cut=arguments.cut,
        weights=arguments.weights,
        input_shape=None if shape is None else sources.parse_shape(shape),
        limit_s=arguments.limit,
    )
    settings = quantise.QuantiseSettings(
        head_precision=arguments.head,
        percentile=arguments.percentile,
        finetune_epochs=arguments.finetune,
        limit_s=arguments.limit,
        allowed=gates.parse_allowed(arguments.allow),
    )
    if arguments.trained is not None:
        source = sources.read(arguments.trained, options)
        taken = adopt.taken_by(arguments.run, source, told)
    elif told != adopt.Told() or options != sources.Options(limit_s=arguments.limit):
        raise UsageError("the options that a source needs go with a SOURCE; name one, or not them")
    else:
        source, taken = None, interface.read(arguments.run)
    faces = policies.faces(arguments.data, taken.policy, taken.labels, taken.size)
    calibration = None
    if arguments.calibration is not None:
        calibration = data.pictures(arguments.calibration, taken.size)
    # Only now, so that a mistake leaves no run folder behind.
    if source is not None:
        adopt.adopt(arguments.run, source, taken)
    try:
        made = quantise.quantise(arguments.run, faces, settings, calibration=calibration)
    except gates.ParityError as exc:
        print(gates.tables(exc.record))
        raise
    print(gates.tables(made.parity))
    for model in made.files:
        print(f"\n{arguments.run / model.file}:")
        for way, tensors in (("in", model.inputs), ("out", model.outputs)):
            for each in tensors:
                print(
                    f"  {way:3} {each.role:9} {each.dtype:5} {list(each.shape)} "
                    f"scale {each.scale:.8g} zero point {each.zero_point}"
                )
    if made.record.head is None:
        print("\nno head yet: mien-convert train-head, then quantise again")
    return 0


def _framing(arguments: Arguments) -> int:
    from convert import data, framing  # noqa: PLC0415  # see _train_head

    tiles = data.spread(data.load(arguments.data).train, arguments.tiles)
    found = framing.measure(tiles, framing.short_range_detector())
    print(f"{found.found} faces found in {found.tiles} tiles; in fractions of the tile's side")
    for name in ("centre_line", "face_length", "centre_x", "angle"):
        low, median, high = getattr(found, name)
        print(f"{name:12} median {median:7.3f}   quartiles {low:7.3f} {high:7.3f}")
    for name, (least, most) in framing.looks(tiles).items():
        print(f"{name:12} 1st percentile {least:7.2f}   99th {most:7.2f}")
    return 0


def _check(arguments: Arguments) -> int:
    from convert import check  # noqa: PLC0415  # see _train_head

    targets = check.TARGETS if arguments.target == "all" else (arguments.target,)
    report = check.check(arguments.source, targets, limit_s=arguments.limit)
    print(check.to_json(report) if arguments.json else check.render(report))
    return 0 if report.fine else EXIT_FAILURE


def _package(arguments: Arguments) -> int:
    from convert import package  # noqa: PLC0415  # see _train_head

    manifest = package.package(
        arguments.run,
        arguments.out,
        name=arguments.name,
        version=arguments.version,
        abstain_below=arguments.abstain_below,
        sign=arguments.sign,
    )
    signed = ", signed" if arguments.sign else ""
    print(f"{arguments.out}: {manifest.name} {manifest.version}, golden vectors pass{signed}")
    return 0


def _sign(arguments: Arguments) -> int:
    from convert import signing  # noqa: PLC0415  # see _train_head

    manifest = signing.sign(arguments.source, arguments.out, key=arguments.key)
    print(f"{arguments.out}: {manifest.name} {manifest.version}, signed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
