"""Chance in composed streams."""

from __future__ import annotations

import numpy as np
import pytest

from convert.drift import spans, wander


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
def test_wandering_is_smooth_and_of_about_unit_size(fps: float) -> None:
    paths = wander(2, 20_000, 0.7, fps, np.random.default_rng(0))
    assert (paths.shape, paths.dtype) == ((2, 20_000), np.float32)
    assert paths.mean(axis=1) == pytest.approx(0, abs=0.2)
    assert paths.std(axis=1) == pytest.approx(1, abs=0.2)
    assert np.abs(np.diff(paths)).mean() < 5 / fps


def test_wandering_forgets_at_the_same_pace_at_any_rate() -> None:
    later = [
        wander(1, 60_000, 0.7, fps, np.random.default_rng(1))[0].reshape(-1, int(fps))[:, 0]
        for fps in (10.0, 30.0)
    ]
    kept = [np.corrcoef(path[:-1], path[1:])[0, 1] for path in later]
    assert kept == pytest.approx([0.27, 0.27], abs=0.1)


def test_paths_do_not_follow_one_another() -> None:
    one, other = wander(2, 20_000, 0.3, 10.0, np.random.default_rng(2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_spans_come_as_often_and_last_as_long_as_asked() -> None:
    found = spans(6000.0, 12.0, 0.1, 0.5, np.random.default_rng(0))
    assert len(found) == pytest.approx(1200, rel=0.1)
    lengths = [span.end - span.start for span in found]
    assert min(lengths) >= 0.1
    assert max(lengths) <= 0.5 + 1e-9
    assert [span.start for span in found] == sorted(span.start for span in found)


def test_what_never_happens_leaves_no_span() -> None:
    assert spans(60.0, 0.0, 0.1, 0.5, np.random.default_rng(0)) == []
