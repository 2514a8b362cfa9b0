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


def test_errors_of_probabilities_done_by_hand() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]], np.float32)
    scores = metrics.score_probabilities(probabilities, np.array([0, 2]), ("a", "b", "c"))
    # 0.25 + 0.09 + 0.04, and 0.01 + 0.64 + 0.81.
    assert scores.brier == pytest.approx((0.38 + 1.46) / 2)
    assert scores.mse == pytest.approx((0.38 + 1.46) / 6)
    assert scores.accuracy == 0.5
    assert scores.names == ("a", "b", "c")


def test_logits_are_measured_as_the_probabilities_they_stand_for() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 2, (200, 7)).astype(np.float32), random.integers(0, 7, 200)
    direct = metrics.score_probabilities(softmax(logits, 2.0), labels)
    assert metrics.score(logits, labels, temperature=2.0) == direct


def test_the_bins_of_a_reliability_diagram_done_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.91, 0.09], [0.3, 0.7], [0.25, 0.75]], np.float32)
    low, high = metrics.reliability(probabilities, np.array([0, 1, 1, 1]), bins=5)
    assert (low.low, low.high, low.count) == (0.6, 0.8, 2)
    assert low.confidence == pytest.approx(0.725)
    assert low.accuracy == 1
    assert (high.low, high.high, high.count) == (0.8, 1.0, 2)
    assert high.confidence == pytest.approx(0.93)
    assert high.accuracy == 0.5


@given(st.integers(0, 2**32 - 1))
def test_the_bins_hold_every_answer_and_give_the_calibration_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(0, 2, (100, 3)).astype(np.float32), 1.0)
    labels = random.integers(0, 3, 100)
    bins = metrics.reliability(probabilities, labels)
    assert sum(each.count for each in bins) == 100
    gaps = sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / 100
    assert gaps == pytest.approx(metrics.calibration_error(probabilities, labels), abs=1e-6)


def bootstrapped(answers: np.ndarray, labels: np.ndarray) -> dict[str, tuple[float, float]]:
    return metrics.bootstrapped(answers, np.zeros(len(labels)), labels, 3)


def test_bootstrap_intervals_repeat_and_are_as_wide_as_chance() -> None:
    labels = np.repeat([0, 1], 500)
    answers = np.where(np.arange(1000) % 5 == 0, 1 - labels, labels)  # 80 % of either
    ends = bootstrapped(answers, labels)
    assert ends == bootstrapped(answers, labels)
    error = np.sqrt(0.8 * 0.2 / 1000)
    low, high = ends["accuracy"]
    assert low == pytest.approx(0.8 - 1.96 * error, abs=0.004)
    assert high == pytest.approx(0.8 + 1.96 * error, abs=0.004)
    assert ends["balanced_accuracy"] == pytest.approx(ends["accuracy"])


def test_a_rare_label_is_in_every_resample() -> None:
    labels = np.array([0] * 999 + [1])
    answers = labels.copy()
    # Were the one sample of label 1 ever left out, it would count as zero.
    assert bootstrapped(answers, labels)["balanced_accuracy"] == (1.0, 1.0)
    assert bootstrapped(answers, labels)["macro_f1"] == (1.0, 1.0)


def test_every_interval_holds_its_figure() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 500)
    logits = one_hot_logits(labels.tolist(), 2.0) + random.normal(0, 1, (500, 7)).astype(np.float32)
    scores = metrics.score(logits, labels)
    for value, (low, high) in (
        (scores.accuracy, scores.accuracy_interval),
        (scores.accuracy, scores.accuracy_bootstrap),
        (scores.balanced_accuracy, scores.balanced_accuracy_interval),
        (scores.macro_f1, scores.macro_f1_interval),
        (scores.mse, scores.mse_interval),
    ):
        assert low < value < high
        assert high - low < 0.15


@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    low, high = metrics.wilson(right, n)
    assert 0 <= low <= right / n + 1e-9
    assert right / n - 1e-9 <= high <= 1


def test_matched_shares_differ_by_what_only_one_of_them_has() -> None:
    first = np.repeat([True, True, False, False], [50, 25, 5, 18])
    second = np.repeat([True, False, True, False], [50, 25, 5, 18])
    middle, error = metrics.matched(first, second)
    # Half a sample in each of four cells: 25.5 and 5.5 of 100.
    assert middle == pytest.approx(0.2)
    assert error == pytest.approx(np.sqrt(0.31 - 0.04) / 10)
    assert metrics.matched(second, first) == pytest.approx((-middle, error))


def test_the_error_of_matched_shares_is_how_far_they_scatter() -> None:
    random = np.random.default_rng(0)
    seen, errors = [], []
    for _ in range(400):
        first = random.random(300) < 0.7
        second = np.where(random.random(300) < 0.8, first, random.random(300) < 0.5)
        middle, error = metrics.matched(first, second)
        seen.append(middle)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(seen), rel=0.1)


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
