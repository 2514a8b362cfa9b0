"""Where weights come from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from test_trainings import begun

from convert import lineage, weights
from convert.recipe import Recipe
from convert.run import TrainingRecord, read_record, sha256_of, write_record


def trained(folder: Path, recipe: Recipe, *learned_from: Path) -> Path:
    """A run folder with a network, which started from the last of some others."""
    start = sha256_of(learned_from[-1]) if learned_from else ""
    run = begun(folder, recipe, [0.5, 0.6], start=start)
    network = run / "frame.keras"
    network.write_bytes(str(folder).encode())
    record = read_record(run / "frame.json", TrainingRecord, made_by="train")
    known = {name: getattr(record, name) for name in record.__struct_fields__}
    known["ancestors"] = lineage.ancestors(learned_from)
    write_record(run / "frame.json", TrainingRecord(**known))
    return network


def test_ancestors_are_told_oldest_first_and_once(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", Recipe(epochs=2))
    second = trained(tmp_path / "second", Recipe(epochs=2), first)
    found = lineage.ancestors([first, second])
    assert [each.sha256 for each in found] == [sha256_of(first), sha256_of(second)]
    assert found[0].options.startswith("--model residual --epochs 2")
    begins = hashlib.sha256(first.read_bytes()).hexdigest()[:12]
    assert found[1].options.endswith(f"--start RUN-OF-{begins}/frame.keras")
    assert (found[1].seconds, found[1].data_sha256) == (30, "d" * 64)


def test_a_run_that_was_stopped_is_said_to_have_been(tmp_path: Path) -> None:
    (found,) = lineage.ancestors([trained(tmp_path / "run", Recipe(epochs=60))])
    assert found.options.startswith("--model residual --epochs 60")
    assert found.options.endswith("  # stopped after epoch 2")


def test_nothing_is_known_of_a_file_that_no_run_made(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", Recipe())
    other = run.parent / "other.keras"
    other.touch()
    alone = tmp_path / "frame.keras"
    alone.touch()
    assert lineage.ancestors([other, alone, weights.find("mien-consensus")]) == ()


def test_parents_are_the_start_and_the_teachers(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", Recipe(), [0.5], start="a", teachers="b c")
    record = read_record(run / "frame.json", TrainingRecord, made_by="train")
    assert lineage.parents(record) == ("a", "b", "c")
    plain = begun(tmp_path / "plain", Recipe(), [0.5])
    record = read_record(plain / "frame.json", TrainingRecord, made_by="train")
    assert lineage.parents(record) == ()
