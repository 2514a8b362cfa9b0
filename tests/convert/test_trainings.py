"""Training runs beside one another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from convert import trainings, weights
from convert.__main__ import main
from convert.errors import RunError
from convert.recipe import Recipe
from convert.run import TrainingRecord, sha256_of, write_record
from convert.trainings import Training
from edge.errors import UsageError


def begun(folder: Path, recipe: Recipe, accuracies: list[float], **more: str) -> Path:
    """A run folder as `train` leaves it, as far as records go."""
    epochs = tuple(
        {"val_accuracy": each, "val_balanced_accuracy": each / 2, "val_least_recall": 0.1,
         "seconds": 10.0 * number}
        for number, each in enumerate(accuracies, 1)
    )  # fmt: skip
    record = TrainingRecord(
        settings=dataclasses.asdict(recipe) | {"teachers": "", "start": ""} | more,
        data_sha256="d" * 64, tiles={"train": 1, "val": 1}, toolchain={}, machine="a machine",
        epochs=epochs, best_epoch=1 + accuracies.index(max(accuracies)) if accuracies else 0,
    )  # fmt: skip
    folder.mkdir()
    write_record(folder / "frame.json", record)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        begun(tmp_path / "usual", Recipe(epochs=3, mixup=0.2), [0.2, 0.5, 0.4]),
        begun(tmp_path / "cut", Recipe(epochs=3, cutmix=1.0), [0.3, 0.6]),
    ]


def test_each_run_has_a_row_with_its_best_epoch_and_what_it_changed(runs: list[Path]) -> None:
    head, _, *rows = trainings.table(trainings.read(runs)).splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in (head, *rows)]
    assert cells[0][-1] == "changed against usual"
    assert cells[1] == ["usual", "3 of 3", "2", "50.0 %", "0.250", "0.10", "20", ""]
    assert cells[2] == ["cut", "2 of 3", "2", "60.0 %", "0.300", "0.10", "15",
                        "--cutmix 1.0, without --mixup 0.2"]  # fmt: skip


def test_the_first_run_is_told_as_a_command(runs: list[Path]) -> None:
    said = trainings.tables(trainings.read(runs))
    assert "usual: mien-convert train --data DATA --run RUN --model residual --epochs 3" in said
    assert "do not compare" not in said


def test_accuracies_under_two_policies_are_said_not_to_compare(
    runs: list[Path], tmp_path: Path
) -> None:
    other = begun(tmp_path / "agreed", Recipe(policy="consensus", votes=1.0), [0.9])
    assert "(consensus, labels) do not compare" in trainings.tables(trainings.read([*runs, other]))


def one(options: str) -> Training:
    record = TrainingRecord(settings={}, data_sha256="", tiles={}, toolchain={}, machine="")
    return Training(name="", network="", policy="", options=options, record=record)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--mixup 0.2", ""),
        ("--mixup 0.4", "--mixup 0.4"),
        ("", "without --mixup 0.2"),
        ("--mixup 0.2 --teacher A --teacher B", "--teacher A B"),
    ],
)
def test_changes_are_told_against_the_first(options: str, said: str) -> None:
    assert trainings.changes(one(options), one("--mixup 0.2")) == said


def test_weights_that_ship_are_named(tmp_path: Path) -> None:
    start = sha256_of(weights.find("mien-consensus"))
    found = trainings.read([begun(tmp_path / "own", Recipe(epochs=1), [0.5], start=start)])
    assert found.runs[0].options.endswith("--start mien-consensus")


def test_runs_that_cannot_be_compared_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="usual: named twice"):
        trainings.read([runs[0], runs[0]])
    with pytest.raises(UsageError, match="new: no epoch is done yet"):
        trainings.read([begun(tmp_path / "new", Recipe(), [])])
    with pytest.raises(RunError, match=r"frame\.json: .*run mien-convert train first"):
        trainings.read([tmp_path])
    file = begun(tmp_path / "other", Recipe(), [0.1]) / "frame.json"
    file.write_text(file.read_text().replace("d" * 64, "e" * 64))
    with pytest.raises(UsageError, match="other: trained on other data than usual"):
        trainings.read([*runs, tmp_path / "other"])


def test_the_command_prints_and_keeps_the_curves(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    words = ["trainings", *map(str, runs)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "| cut " in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "trainings.json", "trainings.md", "trainings.png",
    ]  # fmt: skip
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "trainings.json").read_text())
    assert [len(run["record"]["epochs"]) for run in found["runs"]] == [3, 2]
    assert main([*words, "--out", str(runs[0] / "frame.json")]) == 2
