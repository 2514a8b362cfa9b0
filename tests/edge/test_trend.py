"""A leak is found, noise is not: the statistics with which `tests/system/soak.py` judges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tools.trend import LEAST, Limit, Trend, trend

FRAMES_A_MINUTE = 1800
RSS = Limit("rss", "MB", 2.0)


def hour(seed: int) -> np.ndarray:
    """An hour's minutes after the warm-up, and memory as it looks while nothing leaks.

    Half a megabyte of noise, and now and then a minute in which something took ten for a while.
    """
    rng = np.random.default_rng(seed)
    minutes = np.arange(6.0, 60.0)
    rss = 100.0 + rng.normal(0.0, 0.5, len(minutes))
    rss[rng.choice(len(minutes), 4, replace=False)] += 10.0
    return rss


def change(values: np.ndarray) -> Trend:
    return trend(list(np.arange(len(values), dtype=float)), list(values)).over(len(values) - 1.0)


def leaking(rss: np.ndarray, bytes_a_frame: float) -> np.ndarray:
    return rss + np.arange(len(rss)) * FRAMES_A_MINUTE * bytes_a_frame / 1e6


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("bytes_a_frame", [64.0, 1000.0, 2300.0])
def test_a_leak_of_64_bytes_a_frame_or_more_is_found_within_the_hour(
    seed: int, bytes_a_frame: float
) -> None:
    rss = hour(seed)
    found = change(leaking(rss, bytes_a_frame))
    grown = bytes_a_frame * FRAMES_A_MINUTE * (len(rss) - 1) / 1e6
    assert RSS.broken_by(found)
    assert found.low < grown < found.high


@pytest.mark.parametrize("seed", range(10))
def test_a_tile_a_frame_is_found_within_five_minutes(seed: int) -> None:
    quiet = 100.0 + np.random.default_rng(seed).normal(0.0, 0.5, LEAST)
    assert RSS.broken_by(change(leaking(quiet, 48.0 * 48.0)))
    assert not RSS.broken_by(change(quiet))


def test_noise_alone_is_no_leak() -> None:
    for seed in range(200):
        assert not RSS.broken_by(change(hour(seed)))


def test_memory_that_is_taken_once_and_kept_is_no_leak() -> None:
    rss = hour(3)
    rss[2:] += 5.0
    assert not RSS.broken_by(change(rss))


def test_the_interval_holds_the_true_slope_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    times = list(range(12))
    held = 0
    for _ in range(2000):
        found = trend(times, [0.3 * each + rng.standard_cauchy() for each in times])
        held += found.low <= 0.3 <= found.high
    # 98 % or, since ranks are whole numbers, a little more.
    assert 0.972 <= held / 2000 <= 0.995


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        (lambda x: 30.0 - 0.1 * x, True),
        (lambda x: 30.0 + 0.1 * x, False),
        (lambda _: 30.0, False),
    ],
    ids=["falls", "rises", "stays"],
)
def test_a_negative_limit_is_for_what_must_not_fall(
    values: Callable[[float], float], *, broken: bool
) -> None:
    found = change(np.array([values(float(x)) for x in range(50)]))
    assert Limit("fps", "frames/s", -1.5).broken_by(found) is broken


def test_the_slope_is_the_median_of_those_between_all_pairs() -> None:
    found = trend([0, 1, 2, 3, 4], [0, 1, 2, 3, 40])
    assert found.slope == 1.0
    assert (found.low, found.high) == (1.0, 37.0), "of five points all slopes are needed"


def test_uneven_times_are_taken_as_they_are() -> None:
    assert trend([0, 1, 5, 6, 20], [0, 2, 10, 12, 40]) == Trend(2.0, 2.0, 2.0)


def test_too_few_points_and_doubled_times_are_refused() -> None:
    with pytest.raises(ValueError, match="4 points show no slope"):
        trend([1, 2, 3, 4], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="the same time"):
        trend([1, 2, 2, 3, 4], [1, 2, 3, 4, 5])
