"""Temperatures, their honest error, and when to abstain: on logits whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert import calibration, metrics
from edge import bundle
from edge.bundle import StreamManifest
from edge.networks import softmax

LABELS = 4


def drawn(count: int, temperature: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits, [count, 4], that are calibrated at a temperature; and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, LABELS)).astype(np.float32)
    shares = softmax(logits, 1.0)
    labels = (shares.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return logits * np.float32(temperature), labels


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60).map(np.array),
    folds=st.integers(1, 8),
)
def test_folds_are_of_one_size_and_share_every_label(labels: np.ndarray, folds: int) -> None:
    found = calibration.folded(labels, folds)
    sizes = np.bincount(found, minlength=min(folds, len(labels)))
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(labels):
        some = np.bincount(found[labels == label], minlength=len(sizes))
        assert some.max() - some.min() <= 1


def test_folds_repeat_and_depend_on_the_seed() -> None:
    labels = np.arange(70) % 7
    assert (calibration.folded(labels) == calibration.folded(labels)).all()
    assert (calibration.folded(labels) != calibration.folded(labels, seed=2)).any()


def test_no_fold_has_a_part_in_its_own_temperature() -> None:
    logits, labels = drawn(600, 2.0)
    folds = np.arange(600) % 3
    before = calibration.crossfit(logits, labels, folds)
    spoilt = labels.copy()
    spoilt[folds == 0] = (labels[folds == 0] + 1) % LABELS
    after = calibration.crossfit(logits, spoilt, folds)
    assert after.temperatures[0] == before.temperatures[0]
    assert after.temperatures[1] != before.temperatures[1]
    assert after.temperature != before.temperature
    assert (after.probabilities == before.probabilities)[folds == 0].all()


def test_a_known_temperature_is_found() -> None:
    logits, labels = drawn(20_000, 3.0)
    found = calibration.crossfit(logits, labels, np.arange(20_000) % 5)
    assert found.temperature == pytest.approx(3.0, rel=0.03)
    assert found.temperatures == pytest.approx([3.0] * 5, rel=0.05)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(20_000), abs=1e-5)
    assert metrics.calibration_error(found.probabilities, labels) < 0.01


def test_one_fold_is_fitted_on_itself() -> None:
    logits, labels = drawn(50, 2.0)
    found = calibration.crossfit(logits, labels, np.zeros(50, np.int64))
    assert found.temperatures == (found.temperature,)


def test_the_interval_of_an_error_is_over_streams() -> None:
    logits, labels = drawn(4000, 1.0)
    shares = softmax(logits, 1.0)
    apart = calibration.error_interval(shares, labels, np.arange(4000), resamples=200)
    # The same steps ten times over are no more faces than before.
    again, ten = np.repeat(shares, 10, axis=0), np.repeat(labels, 10)
    streams = np.repeat(np.arange(4000), 10)
    assert calibration.error_interval(again, ten, streams, resamples=200) == pytest.approx(apart)
    narrower = calibration.error_interval(again, ten, np.arange(40_000), resamples=200)
    assert narrower[1] - narrower[0] < apart[1] - apart[0]


def test_the_interval_holds_a_large_error() -> None:
    logits, labels = drawn(3000, 4.0)
    shares = softmax(logits, 1.0)
    low, high = calibration.error_interval(shares, labels, np.arange(3000), resamples=200)
    assert low < metrics.calibration_error(shares, labels) < high
    assert low > calibration.MOST_ERROR


@pytest.mark.parametrize(
    ("curve", "chosen"),
    [
        (((0.2, 1.0, 0.95), (0.5, 0.9, 0.96)), 0.2),
        (((0.2, 1.0, 0.4), (0.5, 0.5, 0.6), (0.7, 0.3, 0.9)), 0.7),
        (((0.2, 1.0, 0.3), (0.9, 0.0, 0.0)), 0.9),  # better silent than wrong
        (((0.2, 1.0, 0.6), (0.3, 0.5, 0.7)), 0.2),  # of equal ones the lowest
    ],
)
def test_the_threshold_has_the_most_right_less_wrong(
    curve: tuple[tuple[float, float, float], ...], chosen: float
) -> None:
    assert calibration.threshold(curve) == chosen


def test_who_knows_their_doubt_abstains_below_a_half() -> None:
    logits, labels = drawn(40_000, 1.0)
    curve = metrics.coverage(softmax(logits, 1.0), labels, calibration.THRESHOLDS)
    assert calibration.threshold(curve) == pytest.approx(0.5, abs=0.03)


def test_only_steps_that_show_one_still_alone_count() -> None:
    logits, labels = drawn(1200, 2.0)
    head, truth = logits.reshape(30, 40, LABELS), labels.reshape(30, 40)
    stretch = np.zeros((30, 40), np.int64)
    stretch[:, 20:] = -1
    folds = np.arange(30) % 5
    found = calibration.doubt(head, head / 2, truth, stretch, folds)
    assert (found.folds, found.streams, found.steps) == (5, 30, 600)
    spoilt = head.copy()
    spoilt[:, 20:] = 0
    assert calibration.doubt(spoilt, head / 2, truth, stretch, folds) == found
    assert found.head.temperature == pytest.approx(2 * found.frame.temperature, abs=0.01)
    assert found.head.ece == pytest.approx(found.frame.ece, abs=0.02)
    assert found.head.ece_interval[0] <= found.head.ece_interval[1]
    assert sum(each.count for each in found.head.reliability) == 600
    assert found.curve[0][0] == calibration.THRESHOLDS[0]
    assert found.abstain_below in calibration.THRESHOLDS


@pytest.mark.parametrize("name", bundle.shipped())
def test_what_comes_with_mien_knows_its_doubt(name: str) -> None:
    raw = (bundle.locate(name) / bundle.MANIFEST).read_bytes()
    manifest = bundle.parse_manifest(raw, source=name)
    if isinstance(manifest, StreamManifest) and manifest.calibration.measured is not None:
        assert manifest.calibration.measured.ece <= calibration.MOST_ERROR
