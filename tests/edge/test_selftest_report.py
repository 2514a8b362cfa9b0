"""What a person reads of a self-test, and what a program does."""

from __future__ import annotations

import json

from edge.payloads import Percentiles, SelfTest, SelfTestCheck
from edge.selftest import report

REPORT = SelfTest(
    boot_id=None,
    ts="2026-11-21T10:18:23.887Z",
    clock_synced=True,
    scope="full",
    board="Raspberry Pi 4 Model B",
    profile="pi-4",
    took_s=6.04,
    verdict="failed",
    checks=(
        SelfTestCheck(
            name="latency-idle-detect",
            verdict="failed",
            measured=41.2,
            budget=40.0,
            unit="ms",
            percentiles=Percentiles(p50=30.0, p95=41.2, p99=50.0),
            text="cool the board",
        ),
        SelfTestCheck(
            name="spool-room", verdict="passed", measured=12345.6, budget=64.0, unit="MB"
        ),
        SelfTestCheck(name="edgetpu", verdict="skipped", text="none found"),
    ),
)


def test_a_person_reads_a_line_for_each_check_and_the_verdict_last() -> None:
    board, head, detect, room, tpu, verdict = report.table(REPORT).splitlines()
    assert board == "board Raspberry Pi 4 Model B, budgets of 'pi-4'"
    assert head.split() == ["check", "measured", "budget", "unit", "verdict"]
    assert detect.split()[:5] == ["latency-idle-detect", "41.20", "40.00", "ms", "failed"]
    assert detect.endswith("p50 30.00, p95 41.20, p99 50.00; cool the board")
    assert room.split() == ["spool-room", "12,346", "64.00", "MB", "passed"]
    assert tpu.split() == ["edgetpu", "-", "-", "skipped", "none", "found"]
    assert verdict == "failed in 6.0 s: 1 passed, 1 failed, 1 skipped"


def test_columns_stand_below_one_another() -> None:
    _, head, *lines, _ = report.table(REPORT).splitlines()
    place = head.index("verdict")
    assert [line[place - 1] for line in lines] == [" "] * 3
    assert [line[place:].split()[0] for line in lines] == ["failed", "passed", "skipped"]


def test_a_program_reads_the_payload_itself() -> None:
    plain = json.loads(report.to_json(REPORT))
    assert plain["schema"] == "mien-selftest/1"
    assert plain["checks"][0]["percentiles"] == {"p50": 30.0, "p95": 41.2, "p99": 50.0}
    assert plain["checks"][2]["measured"] is None
