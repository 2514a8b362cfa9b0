"""What is measured of answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert import metrics
from edge.networks import softmax


def one_hot_logits(answers: list[int], sure: float = 10.0) -> np.ndarray:
    return (np.eye(7, dtype=np.float32) * np.float32(sure))[answers]


def test_scores_of_a_small_case_done_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    scores = metrics.score(one_hot_logits([0, 0, 1, 1, 0, 2]), labels)
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.recall["angry"] == pytest.approx(2 / 3)
    assert scores.precision["disgust"] == pytest.approx(1 / 2)
    assert scores.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert scores.confusion[0][:2] == (2, 1)


@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    low, high = metrics.wilson(right, n)
    assert 0 <= low <= right / n + 1e-9
    assert right / n - 1e-9 <= high <= 1


def test_honest_confidence_has_no_calibration_error() -> None:
    probabilities = np.tile([0.75, 0.25], (1000, 1)).astype(np.float32)
    labels = np.array([0, 0, 0, 1] * 250)
    assert metrics.calibration_error(probabilities, labels) == pytest.approx(0, abs=1e-6)
    assert metrics.calibration_error(probabilities, 0 * labels) == pytest.approx(0.25)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_temperature_is_found_again(temperature: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 7)).astype(np.float32)
    chances = softmax(logits, temperature).cumsum(axis=1)
    labels = (random.random((len(logits), 1)) > chances).sum(axis=1).clip(0, 6)
    assert metrics.fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_flips_count_only_where_one_still_is_shown() -> None:
    answers = np.array([[0, 1, 1, 2, 2, 3]])
    stretch = np.array([[0, 0, 0, -1, 1, 1]])
    # Of three steps within a stretch two change the answer.
    assert metrics.flips_a_minute(answers, stretch, 10) == pytest.approx(2 / 3 * 600)


def test_coverage_falls_as_the_threshold_rises() -> None:
    random = np.random.default_rng(0)
    probabilities = softmax(random.normal(0, 2, (500, 7)).astype(np.float32), 1.0)
    rows = metrics.coverage(probabilities, random.integers(0, 7, 500), (0.0, 0.4, 0.8, 1.1))
    shares = [share for _, share, _ in rows]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert rows[-1] == (1.1, 0.0, 0.0)
