"""`mien-convert train`: which engine an option asks for, and what excludes what."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest
from optional import needed

from convert import train_command, weights
from convert.__main__ import main
from convert.golden import draw_face
from convert.recipe import Recipe
from convert.run import TrainingRecord, read_record
from convert.train_command import Asked
from edge.errors import UsageError


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


def test_what_starts_from_weights_is_trained_gently_and_is_what_they_are_of() -> None:
    begun = train_command.asked_recipe(asked("--start", "mien-consensus"), "residual")
    assert begun == Recipe(model="residual", epochs=20, learning_rate=5e-4, warm_up=1)
    told = asked("--start", "x", "--epochs", "3", "--learning-rate", "0.1", "--model", "inverted")
    assert train_command.asked_recipe(told, "residual") == Recipe(
        model="inverted", epochs=3, learning_rate=0.1, warm_up=1
    )


def test_smaller_tiles_are_not_for_a_network_of_one_size() -> None:
    with pytest.raises(UsageError, match="--small-share: kalambate takes tiles of one size"):
        train_command.asked_recipe(asked("--small-share", "0.5"))


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
     ["--views", "-2"], ["--small-side", "8"], ["--small-side", "36"]],
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


def test_the_weights_that_ship_learn_from_an_integrators_own_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow")
    needed("torch")
    random = np.random.default_rng(4)
    for split, count in (("train", 24), ("val", 8)):
        for place, label in enumerate(("happy", "neutral")):
            folder = tmp_path / "faces" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                tile = draw_face(random, 96)
                tile[48 * place : 48 * place + 48] //= 2
                cv2.imwrite(str(folder / f"{number}.png"), tile)
    words = ["--data", str(tmp_path / "faces"), "--run", str(tmp_path / "run"), "--epochs", "2"]
    assert main(["train", *words, "--start", "mien-consensus"]) == 0
    assert "best epoch" in capsys.readouterr().out
    record = read_record(tmp_path / "run" / "frame.json", TrainingRecord, made_by="train")
    assert record.settings["model"] == "residual"
    assert weights.name_of(str(record.settings["start"])) == "mien-consensus"


def test_weights_of_a_network_that_is_not_known_are_no_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras = pytest.importorskip("keras")
    tile = keras.Input((48, 48, 1))
    scores = keras.layers.Dense(7)(keras.layers.Flatten()(tile))
    file = tmp_path / "mine.keras"
    keras.Model(tile, scores, name="mine").save(file)
    assert main(["train", "--data", "d", "--run", "r", "--start", str(file)]) == 2
    assert "a network called mine, which cannot be trained on" in capsys.readouterr().err
