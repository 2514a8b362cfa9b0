"""What a person should know of becomes a problem, and ends when it is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from edge.payloads import Problem, SelfTest, SelfTestCheck, Verdict
from edge.settings import Settings
from edge.telemetry import Telemetry


class Board:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.published: list[SelfTest] = []

    def info(self, _: object) -> None:
        """Nobody reads it here."""

    def selftest(self, report: SelfTest) -> None:
        self.published.append(report)


def report_of(verdict: Verdict) -> SelfTest:
    return SelfTest(
        boot_id="boot",
        ts="2026-11-21T10:18:23.887Z",
        clock_synced=True,
        scope="full",
        board="test",
        profile="unknown",
        took_s=1.0,
        verdict="failed" if verdict == "failed" else "passed",
        checks=(SelfTestCheck(name="spool-room", verdict=verdict, text="free some"),),
    )


def problems(told: Telemetry) -> tuple[Problem, ...]:
    return told.monitor.report(frames_dropped={}, events_dropped=0, spool_depth=0).problems


def test_a_self_test_that_failed_is_a_problem_until_one_passes() -> None:
    board: Any = Board()
    bundle: Any = SimpleNamespace(ident="test@1+0", sha256="0" * 64)
    told = Telemetry(board, Settings(), bundle, "boot")
    told.selftest(report_of("failed"))
    (problem,) = problems(told)
    assert (problem.code, problem.text) == ("selftest-failed", "spool-room: free some")
    told.selftest(report_of("warned"))
    assert problems(told) == ()
    assert len(board.published) == 2
