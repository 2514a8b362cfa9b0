"""The command line of the workstation: `mien-convert`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.errors import MienError


class Arguments(argparse.Namespace):
    """The parsed command line; each command reads the fields it declared."""

    command: Callable[[Arguments], int]
    data: Path
    run: Path
    model: str
    epochs: int
    seed: int


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

    train = commands.add_parser("train", help="train the frame model")
    _add_folders(train)
    train.add_argument("--model", default="kalambate", help="which network (%(default)s)")
    _add_training(train, epochs=80)
    train.set_defaults(command=_train)

    head = commands.add_parser("train-head", help="train the temporal head for it")
    _add_folders(head)
    _add_training(head, epochs=30)
    head.set_defaults(command=_train_head)
    return parser


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="labels.csv and sheet-N.webp"
    )
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="where results are kept"
    )


def _add_training(parser: argparse.ArgumentParser, *, epochs: int) -> None:
    parser.add_argument("--epochs", type=int, default=epochs, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")


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


if __name__ == "__main__":
    sys.exit(main())
