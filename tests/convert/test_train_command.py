"""`mien-convert train`: which engine an option asks for, and what excludes what."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from optional import needed

from convert import train_command
from convert.__main__ import main
from convert.recipe import Recipe
from convert.train_command import Asked


def asked(*words: str) -> Asked:
    parser = argparse.ArgumentParser()
    train_command.add_options(parser)
    return Asked(**vars(parser.parse_args(words)))


def test_without_ingredients_the_network_of_the_paper_is_trained_as_ever() -> None:
    assert train_command.asked_recipe(asked()) is None
    assert train_command.asked_recipe(asked("--epochs", "3", "--seed", "2")) is None


def test_another_network_or_an_ingredient_is_for_the_engine() -> None:
    assert train_command.asked_recipe(asked("--model", "residual", "--epochs", "5")) == Recipe(
        model="residual", epochs=5
    )
    assert train_command.asked_recipe(asked("--votes", "0")) == Recipe(
        model="kalambate", epochs=80, votes=0.0
    )


def test_every_ingredient_has_an_option() -> None:
    parser = argparse.ArgumentParser()
    train_command.add_options(parser)
    known = vars(parser.parse_args([]))
    assert set(Recipe.__slots__) <= set(known)


@pytest.mark.parametrize("words", [["--teacher", "run"], ["--teaching", "0.5"]])
def test_teachers_and_their_share_go_together(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", "d", "--run", "r", *words]) == 2
    assert "--teacher RUN and --teaching SHARE go together" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--votes", "1.5"], ["--smoothing", "-0.1"], ["--temperature", "0"], ["--policy", "mine"],
     ["--epochs", "0"], ["--model", "vgg"], ["--mixup", "-1"], ["--warm-up", "nan"],
     ["--views", "-2"], ["--small-side", "8"]],
)  # fmt: skip
def test_a_value_out_of_range_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--data", "d", "--run", "r", *words])
    assert exit_.value.code == 2


def test_a_network_is_trained_and_taught_from_the_command_line(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow")
    needed("torch")
    first, second = tmp_path / "first", tmp_path / "second"
    words = ["train", "--data", str(data_folder), "--epochs", "1", "--augment", "0.5"]
    assert main([*words, "--run", str(first)]) == 0
    assert "best epoch 1: val accuracy 0." in capsys.readouterr().out
    taught = ["--teacher", str(first), "--teaching", "0.5", "--start", str(first / "frame.keras")]
    assert main([*words, "--run", str(second), *taught, "--views", "1"]) == 0
    assert len(list(second.glob("answers-*.npy"))) == 1
