"""What is slow for a minute is told, and what is slow for a moment is not."""

from __future__ import annotations

from edge.overrun import SUSTAINED_S, Overruns
from edge.payloads import Percentiles


def took(**p95_ms: float) -> dict[str, Percentiles]:
    return {stage: Percentiles(p50=0.0, p95=ms, p99=ms) for stage, ms in p95_ms.items()}


def test_an_overrun_is_told_once_it_has_lasted() -> None:
    overruns = Overruns({"detect": 10.0})
    assert SUSTAINED_S == 60.0
    assert overruns.heard(took(detect=11.0), 0.0, 30.0) is None
    assert overruns.heard(took(detect=11.0), 30.0, 59.9) is None
    text = overruns.heard(took(detect=12.0), 59.9, 60.0)
    assert text is not None
    assert "detect 12.0 ms (10.0)" in text


def test_one_interval_within_budget_ends_it() -> None:
    overruns = Overruns({"detect": 10.0})
    overruns.heard(took(detect=11.0), 0.0, 70.0)
    assert overruns.heard(took(detect=10.0), 70.0, 100.0) is None
    assert overruns.heard(took(detect=11.0), 100.0, 159.0) is None
    assert overruns.heard(took(detect=11.0), 159.0, 160.0) is not None


def test_a_stage_that_does_not_run_is_not_slow() -> None:
    overruns = Overruns({"head": 1.0})
    overruns.heard(took(head=2.0), 0.0, 50.0)
    assert overruns.heard(took(), 50.0, 80.0) is None
    assert overruns.heard(took(head=2.0), 80.0, 110.0) is None


def test_each_stage_has_a_minute_of_its_own() -> None:
    overruns = Overruns({"detect": 10.0, "head": 1.0})
    overruns.heard(took(detect=11.0), 0.0, 40.0)
    text = overruns.heard(took(detect=11.0, head=2.0), 40.0, 80.0)
    assert text is not None
    assert "detect" in text
    assert "head" not in text


def test_stages_without_a_budget_take_what_they_like() -> None:
    assert Overruns({}).heard(took(quality=1e6), 0.0, 1e6) is None
