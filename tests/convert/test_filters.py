"""Temporal filters: what holds of all of them, and what is particular to each."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert import filters
from convert.filters import Averaging, Filter, HiddenMarkov, Majority

LABELS = 3
RATES = np.array([[-0.5, 0.3, 0.2], [0.1, -0.4, 0.3], [0.6, 0.2, -0.8]])
PRIOR = np.array([0.5, 0.3, 0.2])

EVERY: dict[str, Filter[Any]] = {
    "none": Averaging(0.0),
    "mean": Averaging(0.4),
    "mean of logits": Averaging(0.4, "logits"),
    "newest vote": Majority(0.1),
    "majority": Majority(0.7),
    "HMM": HiddenMarkov(RATES, PRIOR),
    "paced HMM": HiddenMarkov(RATES, PRIOR, 100.0, 3.0),
}

every = pytest.mark.parametrize("smoothing", EVERY.values(), ids=EVERY)

logits = st.lists(st.floats(-40, 40), min_size=LABELS, max_size=LABELS)
gaps = st.floats(0.01, 3.0)
looks = st.lists(st.tuples(logits, gaps), min_size=1, max_size=6)


def run(
    smoothing: Filter[Any], seen: list[tuple[Any, float]], first_s: float = math.inf
) -> np.ndarray:
    """Filter one face's looks, each with the seconds since the one before; [looks, labels]."""
    memory, shares = smoothing.start(1, LABELS), []
    for index, (each, gap) in enumerate(seen):
        elapsed = np.array([gap if index else first_s])
        memory, now = smoothing.step(memory, np.array([each], float), elapsed)
        shares.append(now[0])
    return np.array(shares)


@every
@settings(max_examples=30)
@given(seen=looks)
def test_probabilities_sum_to_one(smoothing: Filter[Any], seen: list[Any]) -> None:
    shares = run(smoothing, seen)
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-9)
    assert (shares >= 0).all()


@every
@settings(max_examples=30)
@given(place=st.integers(0, LABELS - 1), pauses=st.lists(gaps, min_size=1, max_size=12))
def test_who_says_one_thing_is_answered_one_thing(
    smoothing: Filter[Any], place: int, pauses: list[float]
) -> None:
    shares = run(smoothing, [(8.0 * np.eye(LABELS)[place], pause) for pause in pauses])
    assert (shares.argmax(axis=1) == place).all()
    if not isinstance(smoothing, HiddenMarkov):  # which grows surer
        assert shares == pytest.approx(np.tile(shares[0], (len(shares), 1)))


@every
@settings(max_examples=30)
@given(before=looks, after=looks)
def test_what_is_new_or_forgotten_starts_afresh(
    smoothing: Filter[Any], before: list[Any], after: list[Any]
) -> None:
    both = [*before, (after[0][0], math.inf), *after[1:]]
    assert run(smoothing, both)[len(before) :] == pytest.approx(run(smoothing, after), abs=1e-12)


@every
@settings(max_examples=30)
@given(first=looks, second=looks)
def test_faces_do_not_hear_of_each_other(
    smoothing: Filter[Any], first: list[Any], second: list[Any]
) -> None:
    count = min(len(first), len(second))
    memory, together = smoothing.start(2, LABELS), []
    for index in range(count):
        pair = first[index], second[index]
        elapsed = np.array([each[1] if index else math.inf for each in pair])
        memory, now = smoothing.step(memory, np.array([each[0] for each in pair]), elapsed)
        together.append(now)
    for face, alone in enumerate((first, second)):
        apart = run(smoothing, alone[:count])
        assert np.array(together)[:, face] == pytest.approx(apart, abs=1e-9)


@given(
    old=logits, new=logits, seconds=st.floats(0.05, 5),
    of=st.sampled_from(["probabilities", "logits"]),
)  # fmt: skip
def test_an_average_is_the_same_after_the_same_time_at_half_the_rate(
    old: list[float], new: list[float], seconds: float, of: Literal["probabilities", "logits"]
) -> None:
    fast = run(Averaging(seconds, of), [(old, 0.0), *[(new, 0.1)] * 8])
    slow = run(Averaging(seconds, of), [(old, 0.0), *[(new, 0.2)] * 4])
    assert fast[::2] == pytest.approx(slow, abs=1e-9)


def test_an_average_forgets_by_the_second() -> None:
    shares = run(Averaging(2.0), [([50, 0, 0], 0.0), ([0, 50, 0], 2.0)])
    assert shares[1] == pytest.approx([math.exp(-1), 1 - math.exp(-1), 0])


@given(seconds=st.sampled_from([0.8, 1.6, 3.2]))
def test_a_majority_changes_at_the_same_time_at_half_the_rate(seconds: float) -> None:
    old, new = [5, 0, 0], [0, 5, 0]
    fast = run(Majority(seconds), [*[(old, 0.1)] * 40, *[(new, 0.1)] * 40]).argmax(axis=1)
    slow = run(Majority(seconds), [*[(old, 0.2)] * 20, *[(new, 0.2)] * 20]).argmax(axis=1)
    when = [float(answers.argmax()) * gap for answers, gap in ((fast, 0.1), (slow, 0.2))]
    assert when[0] == pytest.approx(when[1], abs=0.2 + 1e-9)


def test_a_majority_counts_the_window_and_a_tie_changes_nothing() -> None:
    a, b = [5, 0, 0], [0, 5, 0]
    # Three looks of 0.1 s are in a window of 0.3 s, and the first has left when the fourth comes.
    answers = run(Majority(0.3), [(each, 0.1) for each in (a, a, b, b, a)]).argmax(axis=1)
    assert answers.tolist() == [0, 0, 0, 1, 1]
    tied = run(Majority(0.4), [(each, 0.1) for each in (a, a, b, b, b)]).argmax(axis=1)
    assert tied.tolist() == [0, 0, 0, 0, 1]


def test_a_majority_forgets_what_was_missed() -> None:
    seen = [([5, 0, 0], 0.1)] * 5 + [([0, 5, 0], 1.0)]
    assert run(Majority(0.5), seen).argmax(axis=1).tolist() == [0, 0, 0, 0, 0, 1]


@given(seen=st.lists(st.tuples(logits, gaps), min_size=1, max_size=5))
def test_the_forward_algorithm_is_the_sum_over_all_paths(seen: list[Any]) -> None:
    """Rabiner's equation 17, written out."""
    start = filters.stationary(RATES)
    steps = filters.transitions(RATES, np.array([gap for _, gap in seen]))
    emissions = [filters.normalised(np.array(each, float)) / PRIOR for each, _ in seen]
    total = np.zeros(LABELS)
    for path in itertools.product(range(LABELS), repeat=len(seen)):
        chance = start[path[0]] * emissions[0][path[0]]
        for index in range(1, len(seen)):
            chance *= steps[index][path[index - 1], path[index]] * emissions[index][path[index]]
        total[path[-1]] += chance
    found = run(HiddenMarkov(RATES, PRIOR), seen)[-1]
    assert found == pytest.approx(total / total.sum(), rel=1e-6, abs=1e-12)


@given(st.floats(0.01, 20), st.floats(0.01, 20))
def test_time_may_pass_in_two_parts(first: float, second: float) -> None:
    parts = filters.transitions(RATES, np.array([first, second, first + second]))
    assert parts[0] @ parts[1] == pytest.approx(parts[2], abs=1e-9)
    assert parts.sum(axis=2) == pytest.approx(1)
    assert (parts >= 0).all()


def test_two_labels_change_as_the_closed_form_says() -> None:
    rates = np.array([[-0.3, 0.3], [0.3, -0.3]])
    kept = filters.transitions(rates, np.array([2.0, 1e-6, 0.0]))[:, 0, 0]
    assert kept == pytest.approx(0.5 + 0.5 * np.exp(-0.6 * np.array([2.0, 1e-6, 0.0])))


@pytest.mark.parametrize("looks_hz", [1.0, 4.0])
def test_a_paced_model_is_nearly_as_sure_at_half_the_rate(looks_hz: float) -> None:
    model = HiddenMarkov(RATES, PRIOR, 10.0, looks_hz)
    shown = ([2, 0, 0], [0, 1, 0])
    fast = run(model, [(shown[0], 0.0), *[(shown[1], 0.02)] * 100])
    slow = run(model, [(shown[0], 0.0), *[(shown[1], 0.04)] * 50])
    assert fast[::2] == pytest.approx(slow, abs=0.02)


def test_a_look_never_counts_more_than_once() -> None:
    seen = [([3.0, 0, 0], 0.0), ([0, 3.0, 0], 2.0)]
    assert run(HiddenMarkov(RATES, PRIOR, 1.0, 5.0), seen) == pytest.approx(
        run(HiddenMarkov(RATES, PRIOR), seen)
    )


def test_a_stickier_model_takes_longer() -> None:
    seen = [([4, 0, 0], 0.1)] * 10 + [([0, 1, 0], 0.1)] * 60
    when = [
        int((run(HiddenMarkov(RATES, PRIOR, times), seen).argmax(axis=1) == 1).argmax())
        for times in (0.1, 1.0, 1e3, 1e6, 1e9)
    ]
    assert when == sorted(when)
    assert len(set(when)) == len(when)


def test_what_is_left_as_it_is() -> None:
    shares = filters.stationary(RATES)
    assert shares @ RATES == pytest.approx(np.zeros(3), abs=1e-12)
    long = filters.transitions(RATES, np.array([200.0]))[0]
    assert long == pytest.approx(np.tile(shares, (3, 1)))


def test_rates_are_counted() -> None:
    # 300 s of label 0 and 100 s of label 1, in turns of 3 s and 1 s; label 2 never.
    truth = np.tile([0, 0, 0, 1], 100)
    rates = filters.fit_rates([np.arange(400.0)], [truth], LABELS)
    assert rates[0, 1] == pytest.approx(1 / 3, rel=0.02)
    assert rates[1, 0] == pytest.approx(1, rel=0.03)
    assert (rates[~np.eye(3, dtype=bool)] > 0).all()
    assert rates.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-12)


def test_rates_come_back_from_a_process_that_has_them() -> None:
    random, truth = np.random.default_rng(5), [0]
    step = filters.transitions(RATES, np.array([0.05]))[0]
    for _ in range(20_000):
        truth.append(int(random.choice(LABELS, p=step[truth[-1]])))
    found = filters.fit_rates([0.05 * np.arange(len(truth))], [np.array(truth)], LABELS)
    assert found == pytest.approx(RATES, abs=0.12)
