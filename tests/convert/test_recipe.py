"""Settings of a training: the rate's course, the view an epoch sees, the command they came from."""

from __future__ import annotations

import dataclasses

import pytest

from convert.recipe import Recipe, options, rate


def test_the_rate_rises_then_falls_to_a_hundredth() -> None:
    recipe = Recipe(epochs=12, warm_up=2, learning_rate=0.1)
    assert rate(recipe, 0) == 0
    assert rate(recipe, 1) == pytest.approx(0.05)
    assert rate(recipe, 2) == pytest.approx(0.1)
    assert rate(recipe, 7) == pytest.approx(0.1 * (0.01 + 0.99 / 2))
    assert rate(recipe, 12) == pytest.approx(0.001)


def test_a_run_no_longer_than_its_warm_up_has_a_rate() -> None:
    assert rate(Recipe(epochs=1, warm_up=2, learning_rate=0.1), 1) == pytest.approx(0.05)


def test_epochs_take_turns_with_the_views() -> None:
    assert [Recipe(views=2).view(epoch) for epoch in (1, 2, 3, 4)] == [1, 2, 1, 2]
    assert [Recipe().view(epoch) for epoch in (1, 2, 3)] == [1, 2, 3]


def test_options_name_what_differs_from_the_usual() -> None:
    settings = dataclasses.asdict(Recipe(epochs=3, votes=0.5, weight_decay=0.1))
    settings |= {"augment_shift": 0.08, "teachers": "a" * 64, "start": ""}
    said = options(settings)
    assert said == (
        "--model residual --epochs 3 --seed 1 --votes 0.5 --weight-decay 0.1 "
        "--teacher RUN-OF-aaaaaaaaaaaa"
    )


def test_the_size_of_smaller_tiles_is_told_where_there_were_some() -> None:
    assert "--small" not in options(dataclasses.asdict(Recipe(small_side=40)))
    said = options(dataclasses.asdict(Recipe(small_side=40, small_share=0.5)))
    assert "--small-side 40 --small-share 0.5" in said


def test_what_a_run_started_from_is_named_by_its_sha256_or_better() -> None:
    settings = dict.fromkeys(("model", "epochs", "seed", "policy"), "x") | {"start": "ab" * 32}
    assert options(settings).endswith("--start RUN-OF-abababababab/frame.keras")
    assert options(settings, "mien-consensus").endswith("--start mien-consensus")


def test_options_of_a_run_without_a_recipe_are_those_it_had() -> None:
    settings = {"model": "kalambate", "epochs": 80, "seed": 1, "batch": 128, "learning_rate": 1e-3}
    assert options(settings) == "--model kalambate --epochs 80 --seed 1"
