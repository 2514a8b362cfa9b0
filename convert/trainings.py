"""Training runs beside one another: what each did differently, and what came of it.

An ablation is read against the run that differs from it in one option; `Trainings.runs[0]` is
that run for all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from convert import lineage, report
from convert.report import percent
from convert.run import Figures, TrainingRecord, read_record, record_bytes, write_together
from edge.errors import UsageError

PAGE = "trainings.md"
RECORD = "trainings.json"
FIGURE = "trainings.png"


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes
    ----------
    name
        Of its folder.
    network
        As `mien-convert train --model` knows it.
    policy
        What counted as right on `val`; accuracies under different policies do not compare.
    options
        Of `mien-convert train`, all that matter.
    record
        All settings, and the figures of every epoch: its curves.
    """

    name: str
    network: str
    policy: str
    options: str
    record: TrainingRecord

    @property
    def best(self) -> Figures:
        """The figures of the epoch whose weights were kept."""
        return self.record.epochs[self.record.best_epoch - 1]


class Trainings(msgspec.Struct, frozen=True, kw_only=True):
    """Several runs on the same data; the first is what the others are read against."""

    schema: Literal["mien-trainings/1"] = "mien-trainings/1"
    data_sha256: str
    runs: tuple[Training, ...]


def read(folders: Sequence[Path]) -> Trainings:
    """Read run folders.

    Raises
    ------
    RunError
        A folder has no record of a training, or a damaged one.
    UsageError
        Runs are of different data, have one name, or have no epoch yet.
    """
    runs = [_read(folder) for folder in folders]
    names = [each.name for each in runs]
    for each in runs:
        if names.count(each.name) > 1:
            raise UsageError(f"{each.name}: named twice; give each run folder a name of its own")
        if each.record.data_sha256 != runs[0].record.data_sha256:
            raise UsageError(
                f"{each.name}: trained on other data than {runs[0].name}; compare runs on the same"
            )
    return Trainings(data_sha256=runs[0].record.data_sha256, runs=tuple(runs))


def _read(folder: Path) -> Training:
    record = read_record(folder / "frame.json", TrainingRecord, made_by="train")
    name = folder.resolve().name
    if not record.epochs:
        raise UsageError(f"{name}: no epoch is done yet; wait for the first")
    settings = record.settings
    return Training(
        name=name,
        network=str(settings["model"]),
        policy=str(settings.get("policy", "labels")),
        options=lineage.options(record),
        record=record,
    )


def changes(run: Training, first: Training) -> str:
    """Return the options of a run that the first does not have, and those it has not.

    Examples
    --------
    `--mixup 0.2` against `--cutmix 1.0` is `--cutmix 1.0, without --mixup 0.2`; against
    `--mixup 0.4` it is `--mixup 0.4`.
    """
    here, there = (_pairs(each.options) for each in (run, first))
    said = [f"{name} {value}".strip() for name, value in here.items() if there.get(name) != value]
    gone = [f"{name} {value}".strip() for name, value in there.items() if name not in here]
    return ", ".join([*said, *(f"without {each}" for each in gone)])


def _pairs(options: str) -> dict[str, str]:
    """Return the values of options, by their names; of one that is repeated, all of them."""
    found: dict[str, str] = {}
    for option in f" {options}".split(" --")[1:]:
        name, _, value = option.partition(" ")
        name = f"--{name}"
        found[name] = f"{found[name]} {value}" if name in found else value
    return found


def table(found: Trainings) -> str:
    """Return a row for each run: what it changed, and its best epoch on `val`."""
    first = found.runs[0]
    head = ["run", "epochs", "best", "val accuracy", "balanced", "least recall", "s an epoch",
            f"changed against {first.name}"]  # fmt: skip
    rows = []
    for each in found.runs:
        record, best = each.record, each.best
        rows.append([
            each.name,
            f"{len(record.epochs)} of {record.settings['epochs']}",
            str(record.best_epoch),
            percent(best["val_accuracy"]),
            _shown(best, "val_balanced_accuracy", 3),
            _shown(best, "val_least_recall", 2),
            f"{median(figures['seconds'] for figures in record.epochs):.0f}",
            "" if each is first else changes(each, first),
        ])  # fmt: skip
    return report.table(head, rows)


def _shown(figures: Figures, name: str, places: int) -> str:
    return f"{figures[name]:.{places}f}" if name in figures else ""


def tables(found: Trainings) -> str:
    """Return the table, and what the first run was."""
    first = found.runs[0]
    policies = sorted({each.policy for each in found.runs})
    parts = [
        table(found),
        f"{first.name}: mien-convert train --data DATA --run RUN {first.options}",
    ]
    if len(policies) > 1:
        parts.append(
            f"Accuracies under different policies ({', '.join(policies)}) do not compare: each is "
            "over the faces and the answers of its own."
        )
    return "\n\n".join(parts)


def write(found: Trainings, out: Path) -> None:
    """Write the record, the curves and the page, all of them or none.

    Raises
    ------
    RunError
        The folder cannot be made or written.
    """
    from convert import plots, trainings_plot  # noqa: PLC0415  # matplotlib, which most calls do without

    page = (
        "# Training runs\n\nFloat weights on `split=val`, the epoch that did best there.\n\n"
        f"{tables(found)}\n\n![Accuracy on val against the epoch, a line for each run]({FIGURE})\n"
    )
    write_together(
        out,
        {
            RECORD: record_bytes(found),
            FIGURE: plots.png(trainings_plot.draw, found),
            PAGE: page.encode(),
        },
    )
