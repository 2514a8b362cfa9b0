"""Figures: drawn for any number of labels, alike each time, and only from the scores."""

from __future__ import annotations

import re

import matplotlib as mpl
import numpy as np
import pytest

from convert import metrics, plots
from convert.metrics import Scores


def scores_of(labels: int, n: int = 200) -> Scores:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (n, labels)).astype(np.float32)
    names = tuple(f"label {index}" for index in range(labels))
    return metrics.score(logits, random.integers(0, labels, n), names=names)


@pytest.mark.parametrize("name", plots.FIGURES)
@pytest.mark.parametrize("labels", [2, 7, 20])
def test_every_figure_is_drawn_for_any_number_of_labels(name: str, labels: int) -> None:
    assert plots.png(plots.FIGURES[name], scores_of(labels)).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", plots.FIGURES)
def test_the_same_scores_give_the_same_bytes_and_no_date(name: str) -> None:
    draw, scores = plots.FIGURES[name], scores_of(3)
    assert plots.png(draw, scores) == plots.png(draw, scores)
    text = plots.svg(draw, scores, plots.DARK)
    assert text == plots.svg(draw, scores, plots.DARK)
    assert not re.search(rb"<dc:date>", text)


def test_labels_that_never_occur_or_are_never_answered_are_drawn() -> None:
    scores = metrics.score(np.eye(7, dtype=np.float32)[[0, 0, 1]], np.array([0, 1, 1]))
    for draw in plots.FIGURES.values():
        assert plots.png(draw, scores)


def test_a_figure_ignores_the_users_style_and_leaves_it() -> None:
    draw, scores = plots.FIGURES["confusion"], scores_of(3)
    before = plots.png(draw, scores)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert plots.png(draw, scores) == before
        assert mpl.rcParams["font.size"] == 30


def test_the_two_grounds_have_figures_of_their_own() -> None:
    draw, scores = plots.FIGURES["reliability"], scores_of(3)
    light, dark = (plots.svg(draw, scores, theme) for theme in (plots.LIGHT, plots.DARK))
    assert plots.LIGHT.ink.encode() in light
    assert plots.DARK.ink.encode() in dark
    assert plots.LIGHT.ink.encode() not in dark
