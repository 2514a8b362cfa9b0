"""Frames are timed as they are, and held against the board's budget."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.boards import SHARES, UNKNOWN, Board
from edge.detector import Detector
from edge.errors import MienError
from edge.health import Sensors
from edge.pipeline import load_models
from edge.selftest import latency
from edge.selftest.subject import Examine, Subject
from edge.settings import Detector as Faces
from edge.settings import Limits, Settings, Tracker

MODELS = load_models(Settings())
SUBJECT = Subject(Settings(), UNKNOWN, MODELS)
AT_BOOT = replace(SUBJECT, scope="boot")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "FULL_RUNS", 30)
    monkeypatch.setattr(latency, "FULL_S", 0.3)


def slow_down(monkeypatch: pytest.MonkeyPatch, by_s: float) -> None:
    detect = Detector.__call__

    def slow(self: Detector, frame: object) -> object:
        time.sleep(by_s)
        return detect(self, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "__call__", slow)


def test_each_stage_and_the_whole_path_are_measured() -> None:
    checks = list(latency.idle(SUBJECT))
    assert [each.name for each in checks] == [f"latency-idle-{stage}" for stage in SHARES]
    for each in checks:
        assert each.percentiles is not None
        assert 0 < each.percentiles.p50 <= each.percentiles.p95 <= each.percentiles.p99
        assert each.measured == each.percentiles.p95
        assert each.budget == UNKNOWN.idle_ms[each.name.rpartition("-")[2]]


@pytest.mark.parametrize(("group", "subject"), [(latency.busy, SUBJECT), (latency.idle, AT_BOOT)])
def test_with_all_cores_busy_and_at_boot_everything_may_take_longer(
    group: Examine, subject: Subject
) -> None:
    found = {each.name.rpartition("-")[2]: each.budget for each in group(subject)}
    assert found == UNKNOWN.busy_ms


def test_what_is_slower_than_the_board_should_be_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down(monkeypatch, 0.02)
    board = Board("test", "", 60.0)
    failed = {each.name for each in latency.idle(replace(SUBJECT, board=board)) if each.text}
    assert failed >= {"latency-idle-detect", "latency-idle-total"}
    assert "latency-idle-crop" not in failed


def test_a_slow_board_is_measured_for_as_long_as_it_may_take_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = latency.Runs(Settings(), MODELS)
    begun, before = time.monotonic(), runs.count
    slow_down(monkeypatch, 0.05)
    runs.measure(1000, 0.2)
    assert time.monotonic() - begun < 1.0
    assert 2 <= runs.count - before <= 5


def test_all_cores_are_busy_meanwhile_and_only_then() -> None:
    def children() -> int:
        return len(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())

    before = children()
    with latency.all_cores_busy(0.5):
        assert children() == before + (os.cpu_count() or 1)
    assert children() == before


def test_the_load_ends_by_itself_when_nobody_ends_it() -> None:
    with latency.all_cores_busy(0.1):
        time.sleep(0.6)
        pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        states = [Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in pids]
        assert states.count("Z") >= (os.cpu_count() or 1)


@pytest.mark.parametrize("bundle", ["blazeface-short", "blazeface-full"])
@pytest.mark.parametrize("every", [1, 30])
def test_every_run_is_a_whole_path_whatever_is_asked_of_faces(bundle: str, every: int) -> None:
    settings = Settings(
        detector=Faces(bundle=bundle, every=every),
        quality=Limits(least_side_pixels=512.0),
        tracker=Tracker(confirm=30, bridge_s=0.0),
    )
    runs = latency.Runs(settings, load_models(settings))
    before = runs.count
    runs.measure(10, 1.0)
    assert runs.count == before + 10
    assert {stage: len(runs.seconds[stage]) for stage in SHARES} == dict.fromkeys(SHARES, 10)


def test_a_detector_that_sees_nothing_is_named() -> None:
    settings = Settings(detector=Faces(score=0.999))
    with pytest.raises(MienError, match=r"no face in the sample clip; leave detector\.score out"):
        latency.Runs(settings, load_models(settings))


def test_without_models_there_is_nothing_to_measure() -> None:
    without = replace(SUBJECT, models=None)
    for group in (latency.idle, latency.busy, latency.memory):
        assert not list(group(without))


class Growing(Sensors):
    """Memory that grows by `kb` for each of the five frames of a round."""

    def __init__(self, kb: float) -> None:
        self._step, self._now = kb * 5 / 1000, 100.0

    def rss_mb(self) -> float:
        self._now += self._step
        return self._now


@pytest.mark.parametrize(("kb", "verdict"), [(0.0, "passed"), (1.0, "passed"), (2.3, "failed")])
def test_memory_that_grows_by_a_tile_a_frame_is_a_leak(
    kb: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_ROUND_RUNS", 5)
    (check,) = latency.memory(replace(SUBJECT, sensors=Growing(kb)))
    assert check.verdict == verdict
    assert check.measured == pytest.approx(kb, abs=0.01)


def test_what_is_taken_once_is_no_leak() -> None:
    assert latency.slope_kb([50, 100, 150, 200], [80.0, 80.0, 120.0, 120.0]) == 0.0


def test_the_pipeline_does_not_leak() -> None:
    (check,) = latency.memory(SUBJECT)
    assert check.verdict == "passed", check
