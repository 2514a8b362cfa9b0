"""The figures that a conversion is held to, and when one refuses it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert import gates
from convert.gates import Gate, LayerNoise, ParityRecord
from edge.errors import UsageError


def logits_of(answers: list[int], sure: float = 4.0) -> np.ndarray:
    return np.eye(7, dtype=np.float32)[answers] * np.float32(sure)


def test_equal_answers_change_nothing() -> None:
    labels = np.array([0, 1, 2, 3])
    figures = gates.frame_figures(logits_of([0, 1, 2, 4]), logits_of([0, 1, 2, 4]), labels)
    assert figures["agreement"] == 1
    assert figures["accuracy_float"] == figures["accuracy_device"] == 0.75
    assert figures["accuracy_drop"] == 0
    assert figures["mean_logit_difference"] == figures["max_logit_difference"] == 0
    assert figures["kl_divergence"] == 0
    assert figures["ece_float"] == figures["ece_device"]


def test_what_changed_is_measured() -> None:
    labels = np.array([0, 1, 2, 3])
    figures = gates.frame_figures(logits_of([0, 1, 2, 3]), logits_of([0, 1, 2, 0]), labels)
    assert figures["agreement"] == 0.75
    assert figures["accuracy_drop"] == 0.25
    assert figures["max_logit_difference"] == 4
    assert figures["mean_logit_difference"] == pytest.approx(2 * 4 / 28)
    # One of four: sure of one label against sure of another, by hand.
    total = math.exp(4) + 6
    wanted = (math.exp(4) - 1) / total * 4
    assert figures["kl_divergence"] == pytest.approx(wanted / 4, rel=1e-5)


def test_twice_the_logits_are_the_same_answers_and_another_certainty() -> None:
    once = logits_of([0, 1, 2, 3])
    figures = gates.frame_figures(once, 2 * once, np.array([0, 1, 2, 3]))
    assert (figures["agreement"], figures["accuracy_drop"]) == (1, 0)
    assert figures["logit_sqnr"] == pytest.approx(0, abs=1e-6)


def test_a_shift_that_softmax_does_not_see_is_no_noise() -> None:
    once = logits_of([0, 1])
    assert gates.logit_sqnr(once, once + 3) == pytest.approx(96.33, abs=0.01)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_bound_lies_above_the_drop_and_tightens_with_more_of_the_same(
    pairs: list[tuple[bool, bool]],
) -> None:
    before, after = (np.array(side) for side in zip(*pairs, strict=True))
    drop, upper = gates.drop_bound(before, after)
    assert drop == pytest.approx(before.mean() - after.mean())
    _, tighter = gates.drop_bound(np.tile(before, 30), np.tile(after, 30))
    assert tighter - drop < upper - drop + 1e-12
    assert tighter > drop


def test_the_bound_is_that_of_the_paper() -> None:
    # Agresti and Min, 2005, table 1: the approval ratings, 794, 150, 86 and 570 of 1,600.
    before = np.repeat([True, True, False, False], [794, 150, 86, 570])
    after = np.repeat([True, False, True, False], [794, 150, 86, 570])
    drop, upper = gates.drop_bound(before, after)
    assert drop == pytest.approx(64 / 1600)
    lost, won, n = 150.5, 86.5, 1602
    spread = math.sqrt(lost + won - (lost - won) ** 2 / n) / n
    assert upper == pytest.approx((lost - won) / n + 1.6449 * spread, abs=1e-5)


def test_heads_that_part_are_measured_in_the_worst_state() -> None:
    steps = np.zeros((4, 2), np.float32)
    off = steps + np.float32(0.5)
    figures = gates.head_figures(logits_of([0] * 4), logits_of([0, 0, 1, 1]), [steps, steps],
                                 [steps, off])  # fmt: skip
    assert figures["head_steps"] == 4
    assert figures["head_agreement"] == 0.5
    assert figures["state_drift"] == figures["state_drift_max"] == 0.5


def test_drift_that_adds_up_is_seen_at_the_end() -> None:
    steps = np.zeros((100, 2), np.float32)
    rising = np.linspace(0, 0.99, 100, dtype=np.float32)[:, None].repeat(2, axis=1)
    answers = logits_of([0] * 100)
    figures = gates.head_figures(answers, answers, [steps], [rising])
    assert figures["state_drift"] == pytest.approx(0.495)
    assert figures["state_drift_end"] == pytest.approx(0.945)


def test_a_cell_is_measured_in_its_own_range() -> None:
    cell = np.full((3, 2), 10, np.float32)
    figures = gates.head_figures(logits_of([0] * 3), logits_of([0] * 3), [cell], [cell + 1])
    assert figures["state_drift"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("samples", 2000, True), ("samples", 1999, False),
        ("agreement", 0.97, True), ("agreement", 0.969, False), ("agreement", math.nan, False),
        ("accuracy-drop", 0.01, True), ("accuracy-drop", 0.0101, False),
        ("logit-sqnr", 15, True), ("logit-sqnr", 14.9, False), ("logit-sqnr", math.nan, False),
        ("accuracy-drop", -0.5, True), ("accuracy-drop", math.nan, False),
        ("head-steps", 1000, True), ("head-steps", 999, False),
        ("state-drift", 0.01, True), ("state-drift", 0.011, False),
    ],
)  # fmt: skip
def test_each_bar_is_where_it_is_said_to_be(name: str, value: float, passes: bool) -> None:  # noqa: FBT001
    assert gates.gate(name, value, {}).passed is passes


def test_a_lowered_bar_is_marked_and_no_other() -> None:
    allowed = gates.parse_allowed(["agreement=0.9", "samples=10"])
    lowered = gates.gate("agreement", 0.95, allowed)
    assert (lowered.passed, lowered.allowed, lowered.bar) == (True, True, 0.9)
    assert not gates.gate("agreement", 0.89, allowed).passed
    assert not gates.gate("accuracy-drop", 0.0, allowed).allowed


@pytest.mark.parametrize("text", ["agreement", "agreement=", "agreement=nan", "speed=1", "=1", ""])
def test_what_allows_nothing_is_refused_with_the_names_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=VALUE, where NAME is one of samples, agreement"):
        gates.parse_allowed([text])


def test_the_tables_name_what_failed() -> None:
    record = ParityRecord(
        sha256={"frame": "0" * 64},
        data_sha256="0" * 64,
        split="val",
        n=2000,
        gates=(
            Gate(name="agreement", value=0.9, bar=0.97, side="at least"),
            Gate(name="accuracy-drop", value=0.02, bar=0.03, side="at most", allowed=True),
        ),
        figures={"agreement": 0.9, "max_logit_difference": 2.5},
        layers={"frame": (
            LayerNoise(operator="0 CONV_2D", tensor="first", sqnr_db=40, fall_db=8),
            LayerNoise(operator="1 CONV_2D", tensor="second", sqnr_db=6, fall_db=34),
        )},
    )  # fmt: skip
    assert [each.name for each in record.failed] == ["agreement"]
    assert gates.culprit(record.layers["frame"]).tensor == "second"
    told = " ".join(gates.tables(record).split())
    assert "| agreement | 0.9 | at least 0.97 | FAILED |" in told
    assert "at most 0.03 (lowered) | passed" in told
    assert "max logit difference" in told
    assert "1 CONV_2D (second)" in told
