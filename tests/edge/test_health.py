"""What a health report says, and that making it costs bounded memory."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import health
from edge.health import ERROR, Histogram, Monitor, Sensors


def sysfs(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


durations = st.lists(st.floats(1e-6, 60.0), min_size=1, max_size=200)


@given(durations, st.floats(0.0, 1.0))
def test_a_quantile_is_the_nearest_rank_to_within_the_stated_error(
    seconds: list[float], share: float
) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    exact = sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]
    assert histogram.quantile(share) == pytest.approx(exact, rel=ERROR + 1e-9)


@given(durations)
def test_percentiles_rise_and_lie_between_the_extremes(seconds: list[float]) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    found = histogram.percentiles()
    assert found.p50 <= found.p95 <= found.p99
    assert round(min(seconds) * 1000, 3) <= found.p50
    assert found.p99 <= round(max(seconds) * 1000, 3)


def test_what_cannot_be_is_counted_as_the_nearest_that_can() -> None:
    histogram = Histogram()
    histogram.add((-1.0, 0.0, 1e-9, 1e9))
    assert histogram.quantile(0.0) < 2e-6
    assert histogram.quantile(1.0) > 60.0


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram().quantile(0.5)


def monitor(tmp_path: Path, files: dict[str, str] | None = None) -> tuple[Monitor, list[float]]:
    """A monitor of two cameras on a board with these files, and its clock, to be set."""
    root = sysfs(tmp_path, files or {})
    clock = [100.0]
    sensors = Sensors(sys=root / "sys", proc=root / "proc")
    return Monitor("boot", ["door", "hall"], sensors=sensors, now=lambda: clock[0]), clock


def report(watched: Monitor) -> health.Health:
    return watched.report(frames_dropped={"door": 4}, events_dropped=2, spool_depth=7)


def test_a_report_covers_the_time_since_the_last(tmp_path: Path) -> None:
    watched, clock = monitor(tmp_path)
    for _ in range(30):
        watched.frame("door")
        watched.observe("detect", 0.002)
    clock[0] += 10.0
    first = report(watched)
    assert first.fps == {"door": 3.0, "hall": 0.0}
    assert first.latency_ms["detect"].p50 == 2.0
    assert first.uptime_s == 10.0
    assert (first.drops.frames, first.drops.events, first.spool_depth) == ({"door": 4}, 2, 7)
    clock[0] += 10.0
    second = report(watched)
    assert second.fps == {"door": 0.0, "hall": 0.0}
    assert second.latency_ms == {}
    assert second.uptime_s == 20.0


def test_every_duration_counts_however_many_there_are(tmp_path: Path) -> None:
    watched, _ = monitor(tmp_path)
    for number in range(1, 1001):
        watched.observe("detect", number / 1e6)
    found = report(watched).latency_ms["detect"]
    assert found.p50 == pytest.approx(0.5, rel=ERROR)
    assert found.p99 == pytest.approx(0.99, rel=ERROR)


def test_two_reports_at_once_do_not_divide_by_nothing(tmp_path: Path) -> None:
    watched, _ = monitor(tmp_path)
    assert report(watched).fps == report(watched).fps


def test_a_problem_keeps_its_beginning_until_it_is_solved(tmp_path: Path) -> None:
    watched, clock = monitor(tmp_path)
    watched.problem("camera-stalled", "door: no frame for 5 s")
    clock[0] += 30.0
    watched.problem("camera-stalled", "door: no frame for 35 s")
    later = report(watched)
    (problem,) = later.problems
    assert problem.code == "camera-stalled"
    assert problem.text == "door: no frame for 35 s"
    assert problem.since < later.ts
    watched.solved("camera-stalled")
    watched.solved("never-was")
    assert report(watched).problems == ()


def test_threads_may_count_while_reports_are_made(tmp_path: Path) -> None:
    watched, _ = monitor(tmp_path)

    def count() -> None:
        for _ in range(2000):
            watched.observe("detect", 0.001)
            watched.frame("door")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        report(watched)
    for thread in threads:
        thread.join()
    assert report(watched).boot_id == "boot"


ZONE = "sys/class/thermal/thermal_zone{}/temp"


@pytest.mark.parametrize(
    ("temperatures", "celsius"),
    [
        ([], None),
        (["48312\n"], 48.312),
        (["40000", "61500", "-3000"], 61.5),
        (["-256000", "45000"], 45.0),
        (["", "n/a"], None),
        (["-273000"], None),
    ],
)
def test_the_hottest_plausible_zone_is_told(
    temperatures: list[str], celsius: float | None, tmp_path: Path
) -> None:
    files = {ZONE.format(index): text for index, text in enumerate(temperatures)}
    watched, _ = monitor(tmp_path, files)
    assert report(watched).celsius == celsius


FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.mark.parametrize(
    ("bits", "throttled", "codes"),
    [
        (None, None, []),
        ("nonsense", None, []),
        ("0\n", False, []),
        ("50000\n", False, []),
        ("50005\n", True, ["under-voltage", "throttled"]),
        ("a", True, ["frequency-capped", "hot"]),
    ],
)
def test_a_raspberry_pi_says_that_it_is_slowed_down(
    *,
    bits: str | None,
    throttled: bool | None,
    codes: list[str],
    tmp_path: Path,
) -> None:
    watched, _ = monitor(tmp_path, {FIRMWARE: bits} if bits is not None else {})
    told = report(watched)
    assert told.throttled is throttled
    assert [problem.code for problem in told.problems] == codes


def test_a_supply_that_recovers_is_no_problem_any_more(tmp_path: Path) -> None:
    watched, _ = monitor(tmp_path, {FIRMWARE: "1"})
    assert [problem.code for problem in report(watched).problems] == ["under-voltage"]
    (tmp_path / FIRMWARE).write_text("50000")
    assert report(watched).problems == ()


@pytest.mark.parametrize(
    ("files", "board"),
    [
        (
            {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"},
            "Raspberry Pi 4 Model B Rev 1.4",
        ),
        ({"sys/class/dmi/id/product_name": "NUC7i5\n"}, "NUC7i5"),
        ({}, "unknown"),
    ],
)
def test_the_board_says_what_it_is(files: dict[str, str], board: str, tmp_path: Path) -> None:
    root = sysfs(tmp_path, files)
    assert Sensors(sys=root / "sys", proc=root / "proc").board() == board


def test_memory_is_that_of_this_process(tmp_path: Path) -> None:
    assert 5.0 < Sensors().rss_mb() < 5000.0
    assert Sensors(proc=tmp_path).rss_mb() == 0.0


def test_versions_are_those_of_what_is_installed() -> None:
    found = health.versions(["paho-mqtt", "no-such-distribution"])
    assert set(found) == {"mien", "python", "paho-mqtt"}


def test_what_is_slower_than_its_budget_for_a_minute_is_a_problem_until_it_is_not() -> None:
    now = [0.0]
    watched = Monitor("boot", ["door"], now=lambda: now[0], budgets_ms={"detect": 10.0})
    told = []
    for took_s in (0.02, 0.02, 0.02, 0.001):
        now[0] += 30.0
        watched.observe("detect", took_s)
        told.append([problem.code for problem in report(watched).problems])
    assert told == [[], ["over-budget"], ["over-budget"], []]
