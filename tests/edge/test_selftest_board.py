"""What the board says of itself, and what that means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge import clock
from edge.boards import UNKNOWN
from edge.health import Sensors
from edge.selftest import board
from edge.selftest.subject import Subject
from edge.settings import Cadence, Settings, Spool


def subject(
    tmp_path: Path, settings: Settings | None = None, files: dict[str, str] | None = None
) -> Subject:
    for name, text in (files or {}).items():
        file = tmp_path / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    sensors = Sensors(sys=tmp_path / "sys", proc=tmp_path / "proc")
    return Subject(settings or Settings(), UNKNOWN, None, "full", sensors)


@pytest.mark.parametrize(("synchronised", "verdict"), [(True, "passed"), (False, "warned")])
def test_a_clock_that_is_not_synchronised_is_a_warning(
    synchronised: bool,  # noqa: FBT001  # a parameter of the test
    verdict: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "synchronised", lambda: synchronised)
    (check,) = board.wall_clock(subject(tmp_path))
    assert check.verdict == verdict


@pytest.mark.parametrize(("milli", "verdict"), [("60000", "passed"), ("71000", "failed")])
def test_the_temperature_at_which_the_daemon_slows_down_is_the_budget(
    milli: str, verdict: str, tmp_path: Path
) -> None:
    settings = Settings(cadence=Cadence(hot_celsius=70.0))
    files = {"class/thermal/thermal_zone0/temp": milli}
    (check,) = board.warmth(subject(tmp_path, settings, files))
    assert (check.verdict, check.budget) == (verdict, 70.0)


def test_a_board_without_sensors_is_not_judged(tmp_path: Path) -> None:
    blind = subject(tmp_path)
    assert [each.verdict for each in board.warmth(blind)] == ["skipped"]
    assert [each.verdict for each in board.throttling(blind)] == ["skipped"]


@pytest.mark.parametrize(
    ("bits", "verdict"), [("0", "passed"), ("50000", "passed"), ("50005", "failed")]
)
def test_throttling_now_fails_and_throttling_once_does_not(
    bits: str, verdict: str, tmp_path: Path
) -> None:
    files = {"devices/platform/soc/soc:firmware/get_throttled": bits}
    (check,) = board.throttling(subject(tmp_path, files=files))
    assert check.verdict == verdict
    assert ("power supply" in check.text) == (verdict == "failed")


def test_a_spool_that_can_be_written_and_has_room_passes_and_keeps_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "spool"
    settings = Settings(spool=Spool(path=str(folder), most_mb=1))
    writable, room = board.disk(subject(tmp_path, settings))
    assert (writable.verdict, room.verdict) == ("passed", "passed")
    assert room.budget == 1.0
    assert list(folder.iterdir()) == []


def test_what_the_spool_has_taken_already_it_does_not_need_again(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(bytes(600_000))
    settings = Settings(spool=Spool(path=str(tmp_path), most_mb=1))
    _, room = board.disk(subject(tmp_path, settings))
    assert room.budget == pytest.approx(0.4)


def test_a_disk_that_is_too_small_for_the_spool_fails(tmp_path: Path) -> None:
    free_mb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize / 1e6
    if free_mb > 90_000:
        pytest.skip("this disk has room for any spool")
    settings = Settings(spool=Spool(path=str(tmp_path), most_mb=100_000))
    _, room = board.disk(subject(tmp_path, settings))
    assert room.verdict == "failed"
    assert "spool.most_mb = 100000" in room.text


def test_a_folder_that_cannot_be_made_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(spool=Spool(path=str(tmp_path / "file" / "spool")))
    (check,) = board.disk(subject(tmp_path, settings))
    assert check.verdict == "failed"
    assert "Not a directory" in check.text


def test_without_a_spool_there_is_no_disk_to_look_at(tmp_path: Path) -> None:
    (check,) = board.disk(subject(tmp_path, Settings(spool=Spool(enabled=False))))
    assert check.verdict == "skipped"
