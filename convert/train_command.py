"""`mien-convert train`: its options, and what it does with them.

Without any of the options that need PyTorch, `kalambate` is trained by TensorFlow
(`convert.train`); any of them, or another network, is for `convert.engine`. What starts from
weights is trained for a shorter time and more gently, unless it is told otherwise.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from convert.recipe import POLICIES, PRECISIONS, Recipe
from edge.errors import UsageError

if TYPE_CHECKING:  # --help must not wait for TensorFlow
    import keras

    from convert.run import TrainingRecord

NETWORKS = ("kalambate", "residual", "inverted", "branched", "teacher")
"""The keys of `models.FRAME_MODELS`, which --help must not import."""

_USUAL = "kalambate"
_EPOCHS = 80
_FROM_WEIGHTS = {"epochs": 20, "learning_rate": 5e-4, "warm_up": 1.0}
_SIDES = (16, 24, 32, 40)
"""Pixels of a smaller tile that can be halved three times, as the networks do."""


class Asked(argparse.Namespace):
    """What was asked of the command; an ingredient that was not is None."""

    data: Path
    run: Path
    model: str | None
    epochs: int | None
    seed: int
    teacher: list[Path] | None
    answers: Path | None
    start: str | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but `--data` and `--run`."""
    usual = Recipe()
    parser.add_argument(
        "--model", choices=NETWORKS, help=f"which network (that of --start, or {_USUAL})"
    )
    parser.add_argument(
        "--epochs", type=_whole, help=f"({_EPOCHS}; from weights {_FROM_WEIGHTS['epochs']})"
    )
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    group = parser.add_argument_group("ingredients (PyTorch trains with any of these)")
    group.add_argument(
        "--policy", choices=POLICIES,
        help="what is right: the data's labels, or what most votes name (labels)",
    )  # fmt: skip
    for name, kind, what in (
        ("votes", _share, "share of the target that comes from votes"),
        ("crowd", _amount, "weight of foretelling the votes as a second task"),
        ("batch", _whole, "faces a step"),
        ("learning-rate", _positive, "the highest"),
        ("weight-decay", _amount, "of AdamW"),
        ("warm-up", _amount, "epochs until the rate is highest"),
        ("smoothing", _share, "share of the target spread over all labels"),
        ("balance", _amount, "strength of the adjustment for rare labels, 0 to 1"),
        ("mixup", _amount, "concentration; 0 for none"),
        ("cutmix", _amount, "concentration; 0 for none"),
        ("mixed-share", _share, "of batches that are mixed"),
        ("augment", _amount, "strength; 0 mirrors only"),
        ("average", _share, "decay of the moving average of the weights"),
        ("small-side", _side, "of the tiles in the first epochs, in pixels"),
        ("small-share", _share, "of the epochs that learn from those"),
        (
            "views",
            _none_or_more,
            "augmented copies that epochs take turns with; 0 for one an epoch",
        ),
        ("teaching", _share, "share of the target that is the teachers' answer"),
        ("temperature", _positive, "of the teachers' answers"),
    ):
        shown = getattr(usual, name.replace("-", "_"))
        group.add_argument(f"--{name}", type=kind, metavar="N", help=f"{what} ({shown:g})")
    group.add_argument(
        "--precision", choices=PRECISIONS,
        help=f"bfloat16 is faster where the processor has it ({usual.precision})",
    )  # fmt: skip
    group.add_argument(
        "--teacher", action="append", type=Path, metavar="RUN",
        help="a run folder whose network teaches; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--answers", type=Path, metavar="DIR",
        help="where teachers' answers are kept, for several students to share (the run folder)",
    )  # fmt: skip
    group.add_argument(
        "--start",
        metavar="NAME|FILE",
        help="weights to start from: a bundle that ships, or a .keras file",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; print the best epoch.

    Raises
    ------
    UsageError
        Teachers without a share of the target, or the other way round.
    MienError
        What is wrong with the data, the weights or the run folder.
    """
    asked = Asked(**vars(arguments))
    if bool(asked.teacher) != bool(asked.teaching):
        raise UsageError("--teacher RUN and --teaching SHARE go together; give both")
    file = start = None
    if asked.start is not None:
        from convert import weights  # noqa: PLC0415  # --help must not wait for numpy

        file = weights.find(asked.start)
        start = _started(file)
    recipe = asked_recipe(asked, None if start is None else start[0].name)
    if recipe is None:
        record = _as_ever(asked)
    else:
        teachers = [each / "frame.keras" for each in asked.teacher or ()]
        learned_from = [*teachers, *filter(None, [file])]
        record = _by_recipe(asked, recipe, start, learned_from)
    best = record.epochs[record.best_epoch - 1]
    print(f"best epoch {record.best_epoch}: val accuracy {best['val_accuracy']:.4f}")  # noqa: T201  # a command's answer
    return 0


def asked_recipe(asked: Asked, started: str | None = None) -> Recipe | None:
    """Return the recipe that was asked for; None for `kalambate` without any ingredient.

    Parameters
    ----------
    asked
        The options.
    started
        Which network the weights to start from are of; None where there are none.

    Raises
    ------
    UsageError
        Smaller tiles for a network that takes one size.
    """
    fields = [name for name in Recipe.__slots__ if name not in ("model", "epochs", "seed")]
    chosen = {name: value for name in fields if (value := getattr(asked, name)) is not None}
    model = asked.model or started or _USUAL
    if model == _USUAL and not (chosen or asked.teacher or started):
        return None
    if model == _USUAL and asked.small_share:
        raise UsageError(f"--small-share: {model} takes tiles of one size; choose another --model")
    usual = {"epochs": _EPOCHS} if started is None else _FROM_WEIGHTS
    told = chosen if asked.epochs is None else chosen | {"epochs": asked.epochs}
    return Recipe(model=model, seed=asked.seed, **(usual | told))


def _started(file: Path) -> tuple[keras.Model, str]:
    """Return the network in a file, and the file's sha256."""
    from convert.run import sha256_of  # noqa: PLC0415  # --help must not wait for TensorFlow
    from convert.train import load_network  # noqa: PLC0415  # likewise

    network = load_network(file)
    if network.name not in NETWORKS:
        raise UsageError(
            f"--start {file}: a network called {network.name}, which cannot be trained on; "
            f"start from one of {', '.join(NETWORKS)}"
        )
    return network, sha256_of(file)


def _as_ever(asked: Asked) -> TrainingRecord:
    from convert import data, train  # noqa: PLC0415  # --help must not wait for TensorFlow

    settings = train.TrainSettings(epochs=asked.epochs or _EPOCHS, seed=asked.seed)
    return train.train(asked.run, data.load(asked.data), settings)


def _by_recipe(
    asked: Asked,
    recipe: Recipe,
    start: tuple[keras.Model, str] | None,
    learned_from: list[Path],
) -> TrainingRecord:
    from convert import distil, engine, lineage, policies  # noqa: PLC0415  # see _as_ever

    taught = policies.load(asked.data, recipe.policy, recipe.votes, crowd=bool(recipe.crowd))
    teachers = None
    if asked.teacher:
        cache = asked.answers or asked.run
        together = distil.Teachers(asked.teacher, recipe.temperature, recipe.precision, cache)
        teachers = (together.answers, together.sha256)
    return engine.train(
        asked.run, taught, recipe, teachers=teachers, start=start,
        ancestors=lineage.ancestors(learned_from),
    )  # fmt: skip


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than one")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def _amount(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


def _none_or_more(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than zero")
    return number


def _side(text: str) -> int:
    number = int(text)
    if number not in _SIDES:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(map(str, _SIDES))}")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
