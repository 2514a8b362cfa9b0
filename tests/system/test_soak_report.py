"""Whatever a soak must not show is found in what it saw."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from lobby import Sample
from soak_report import Watched, judged, written

MINUTES = 10


def sound() -> Watched:
    """What is seen of a device that is well, its broker away from second 5 to 10 of a minute."""
    watched = Watched(MINUTES, exit_code=0)
    for second in range(1, MINUTES * 60):
        wave = math.sin(second)
        watched.samples.append(
            Sample(
                at_s=float(second),
                rss_mb=100.0 + wave,
                peak_mb=102.0,
                anonymous_mb=50.0,
                cpu_s=0.1 * second,
                descriptors=13,
                threads=7,
                spool=50 if 5 <= second % 60 <= 10 else 0,
            )
        )
    watched.happened = [(60.0 * minute + 10.0, "broker_returns") for minute in range(MINUTES)]
    watched.health = [report(30.0 * half) for half in range(1, 2 * MINUTES + 1)]
    watched.emitted = [{"id": f"a-{seq}", "seq": seq, "boot_id": "a"} for seq in range(1, 100)]
    watched.heard = [*watched.emitted[:50], watched.emitted[48], *watched.emitted[50:]]
    return watched


def report(uptime_s: float, fps: float = 28.0) -> dict[str, Any]:
    return {
        "uptime_s": uptime_s,
        "fps": {"door": fps},
        "latency_ms": {"total": {"p50": 2.0, "p95": 4.0, "p99": 8.0}},
        "drops": {"events": 0},
    }


def alter(watched: Watched, **change: Callable[[Sample], float]) -> None:
    watched.samples = [
        replace(each, **{name: of(each) for name, of in change.items()})  # type: ignore[arg-type]
        for each in watched.samples
    ]


def failures(watched: Watched) -> list[str]:
    return [finding.text for finding in judged(watched).findings if not finding.passed]


def test_a_device_that_is_well_passes() -> None:
    assert failures(sound()) == []


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("rss_mb", lambda each: each.rss_mb + each.at_s / 120.0),
        ("descriptors", lambda each: 13 + each.at_s // 60),
        ("threads", lambda each: 7 + each.at_s // 60),
        ("cpu_s", lambda each: each.cpu_s + (each.at_s / 100.0) ** 2),
    ],
)
def test_what_grows_from_minute_to_minute_fails(name: str, of: Callable[[Sample], float]) -> None:
    watched = sound()
    alter(watched, **{name: of})
    (text,) = failures(watched)
    assert text.startswith("cpu_percent" if name == "cpu_s" else name)


def test_frames_that_become_fewer_fail() -> None:
    watched = sound()
    watched.health = [report(30.0 * half, 28.0 - 0.2 * half) for half in range(1, 21)]
    (text,) = failures(watched)
    assert text.startswith("fps")


def test_latency_that_rises_fails() -> None:
    watched = sound()
    for half, each in enumerate(watched.health):
        each["latency_ms"]["total"] = {"p50": 2.0, "p95": 4.0 + 0.3 * half, "p99": 80.0}
    (text,) = failures(watched)
    assert text.startswith("p95_ms")


def test_a_neighbour_who_begins_to_work_fails_no_short_run() -> None:
    watched = sound()
    watched.minutes = 6
    for half, each in enumerate(watched.health):
        each["latency_ms"]["total"] = {"p50": 2.0, "p95": 4.0 + 1.5 * half, "p99": 80.0}
    report = judged(watched)
    (text,) = [finding.text for finding in report.findings if finding.text.startswith("p95_ms")]
    assert text.endswith("judged from 10 minutes on")
    assert not [each for each in failures(watched) if each.startswith("p95_ms")]


def test_more_memory_than_the_bar_fails_however_short_it_was() -> None:
    watched = sound()
    alter(watched, peak_mb=lambda _: 120.1)
    assert failures(watched) == ["peak memory 120.1 MB; limit 120"]


@pytest.mark.parametrize(("peak_mb", "failed"), [(169.9, False), (170.1, True)])
def test_libraries_that_the_kernel_mapped_unasked_are_no_memory_of_the_device(
    *, peak_mb: float, failed: bool
) -> None:
    watched = sound()
    alter(watched, peak_mb=lambda _: peak_mb, rss_mb=lambda _: 160.0, anonymous_mb=lambda _: 50.0)
    said = f"peak memory {peak_mb} MB; limit 120 and the 50.0 of libraries that were mapped unasked"
    assert failures(watched) == ([said] if failed else [])
    assert said in [finding.text for finding in judged(watched).findings]


def test_a_spool_that_is_not_empty_soon_after_the_broker_came_back_fails() -> None:
    watched = sound()
    alter(watched, spool=lambda each: 3 if 245.0 <= each.at_s < 295.0 else each.spool)
    (text,) = failures(watched)
    assert text.startswith("spool: up to 50 events, empty again within 45.0 s of 10 outages' ends")


def test_an_event_that_never_arrives_fails() -> None:
    watched = sound()
    del watched.heard[20]
    assert failures(watched) == [
        "99 events emitted, 98 arrived, 1 of them twice",
        "seq from 1 on, in order and without gaps: False",
    ]


def test_an_event_that_was_never_told_of_fails() -> None:
    watched = sound()
    del watched.emitted[20], watched.heard[20]
    assert failures(watched) == ["seq from 1 on, in order and without gaps: False"]


def test_events_out_of_order_fail() -> None:
    watched = sound()
    watched.heard[20], watched.heard[21] = watched.heard[21], watched.heard[20]
    assert "seq from 1 on, in order and without gaps: False" in failures(watched)


def test_dropped_events_fail() -> None:
    watched = sound()
    watched.health[-1]["drops"]["events"] = 2
    assert failures(watched) == ["2 events dropped"]


def test_a_device_that_ended_by_itself_fails_with_its_last_words() -> None:
    watched = sound()
    watched.exit_code, watched.log = 1, "mien: camera door: open\nmien: it hangs\n"
    watched.samples = watched.samples[:200]
    watched.health = watched.health[:6]
    assert failures(watched) == [
        "only 3 of 10 minutes were seen",
        "exit code 1; its last words: mien: camera door: open; mien: it hangs",
    ]


def test_minutes_too_few_for_a_slope_fail() -> None:
    watched = sound()
    watched.minutes = 5
    assert "5 minutes show no slope" in failures(watched)


def test_a_device_that_ended_in_its_first_minute_leaves_its_findings(tmp_path: Path) -> None:
    written(judged(Watched(MINUTES, exit_code=78)), tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["findings.json"]


def test_what_was_seen_is_written_as_tables_and_as_a_picture(tmp_path: Path) -> None:
    written(judged(sound()), tmp_path)
    assert len((tmp_path / "soak.csv").read_text().splitlines()) == 1 + MINUTES
    assert len((tmp_path / "samples.csv").read_text().splitlines()) == MINUTES * 60
    picture = ET.fromstring((tmp_path / "soak.svg").read_text())  # noqa: S314  # our own
    lines = [each for each in picture.iter() if each.tag.endswith("polyline")]
    assert len(lines) == 10
    assert max(len(each.attrib["points"].split()) for each in lines) <= 800
