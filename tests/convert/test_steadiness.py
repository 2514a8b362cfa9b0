"""How far answers wander while nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow")

from convert import steadiness

STRETCH = np.array([[0, 0, 0, 0, -1, -1, 1, 1, 1, 1, 1, 1]])
LABELS = 3


def excess(probabilities: np.ndarray, stretch: np.ndarray = STRETCH) -> float:
    given_ = np.asarray(probabilities, np.float32)
    return float(steadiness.excess(given_, steadiness.spans(stretch)))


def answering(*labels: int) -> np.ndarray:
    return np.eye(LABELS)[list(labels)][None]


def drawn(seed: int, steps: int, streams: int = 2) -> np.ndarray:
    powers = np.random.default_rng(seed).exponential(size=(streams, steps, LABELS)) + 1e-3
    return np.asarray(powers / powers.sum(axis=2, keepdims=True))


@pytest.mark.parametrize("change", range(6, 13))
def test_who_changes_once_late_or_not_pays_nothing(change: int) -> None:
    answers = [0] * 12
    answers[change:] = [1] * (12 - change)
    assert excess(answering(*answers)) == 0


@given(st.integers(0, 1000), st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_a_straight_way_is_free_however_fast_it_is_gone(seed: int, shares: list[float]) -> None:
    start, end = drawn(seed, 2)[:1].transpose(1, 0, 2)
    gone = np.sort(shares)[:, None]
    path = ((1 - gone) * start + gone * end)[None]
    assert excess(path, np.zeros((1, len(shares)), int)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("times", [1, 2])
def test_there_and_back_costs_both_ways(times: int) -> None:
    answers = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    answers[8 : 8 + 2 * times : 2] = [2] * times
    # Of the steps, three and five go on with a still.
    assert excess(answering(*answers)) == pytest.approx(2 * times / 8)


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_it_is_never_negative_nor_more_than_the_path(seed: int) -> None:
    probabilities = drawn(seed, 12)
    stretch = np.repeat(STRETCH, 2, axis=0)
    path = np.abs(np.diff(probabilities, axis=1)).sum(axis=2) / 2
    within = steadiness.spans(stretch).goes_on[:, 1:] > 0
    assert -1e-6 <= excess(probabilities, stretch) <= path[within].mean() + 1e-6


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_what_happens_between_stills_is_free(seed: int) -> None:
    probabilities = drawn(seed, 12, streams=1)
    calm = probabilities.copy()
    calm[:, 4:6] = drawn(seed + 1, 2, streams=1)
    assert excess(calm) == pytest.approx(excess(probabilities), abs=1e-6)


def test_streams_are_charged_together() -> None:
    restless = np.concatenate([
        answering(0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1), answering(*[0] * 12)
    ])  # fmt: skip
    assert excess(restless, np.repeat(STRETCH, 2, axis=0)) == pytest.approx(2 / 16)


def test_stills_of_one_step_have_nothing_to_wander_in() -> None:
    assert excess(answering(0, 1, 2), np.array([[0, 1, 2]])) == 0


def test_some_streams_can_be_taken_out() -> None:
    every = steadiness.spans(np.array([[0, 0, 1], [0, -1, -1], [2, 2, 2]]))
    some = every.of(np.array([2, 0]))
    assert some.begun.tolist() == [[0, 0, 0], [0, 0, 2]]
    assert some.ends.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert some.goes_on.tolist() == [[0, 1, 1], [0, 1, 0]]
