"""What a person should know of becomes a problem, and ends when it is over."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from edge.health import Sensors
from edge.homeassistant import EXPIRE_AFTER_S, Device
from edge.payloads import Problem, SelfTest, SelfTestCheck, Verdict
from edge.settings import Camera, HomeAssistant, Settings
from edge.telemetry import HEALTH_EVERY_S, Telemetry


class Board:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.published: list[SelfTest] = []
        self.announced: list[tuple[HomeAssistant, Device]] = []

    def info(self, _: object) -> None:
        """Nobody reads it here."""

    def announce(self, settings: HomeAssistant, device: Device) -> None:
        self.announced.append((settings, device))

    def selftest(self, report: SelfTest) -> None:
        self.published.append(report)

    def configure(self, cameras: object, begun: object) -> None:
        """Nobody asks for it here."""


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


BUNDLE: Any = SimpleNamespace(ident="test@1+0", sha256="0" * 64, labels=("happy", "sad"))


def cameras(*names: str) -> Settings:
    return Settings(
        device_id="kiosk", camera=tuple(Camera(uri="clip:x", name=name) for name in names)
    )


def test_home_assistant_is_told_what_there_is_at_the_start_and_after_a_reload() -> None:
    board: Any = Board()
    told = Telemetry(board, cameras("door"), BUNDLE, "boot")
    told.configured(cameras("door", "hall"), BUNDLE, {"hall"})
    (_, first), (_, second) = board.announced
    assert (first.base, first.cameras, first.labels) == ("mien/kiosk", ("door",), ("happy", "sad"))
    assert second == replace(first, cameras=("door", "hall"))


def test_a_temperature_is_told_of_only_where_the_board_has_a_sensor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for celsius in (None, 51.5):
        monkeypatch.setattr(Sensors, "celsius", lambda _, celsius=celsius: celsius)
        board: Any = Board()
        Telemetry(board, cameras("door"), BUNDLE, "boot")
        ((_, device),) = board.announced
        assert device.thermometer is (celsius is not None)


def test_figures_of_the_health_report_expire_after_three_that_were_missed() -> None:
    assert 3 * HEALTH_EVERY_S < EXPIRE_AFTER_S < 4 * HEALTH_EVERY_S


def test_a_self_test_that_failed_is_a_problem_until_one_passes() -> None:
    board: Any = Board()
    told = Telemetry(board, Settings(), BUNDLE, "boot")
    told.selftest(report_of("failed"))
    (problem,) = problems(told)
    assert (problem.code, problem.text) == ("selftest-failed", "spool-room: free some")
    told.selftest(report_of("warned"))
    assert problems(told) == ()
    assert len(board.published) == 2
