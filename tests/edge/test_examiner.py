"""A self-test in a process of its own: whatever becomes of it, the daemon hears of it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from realbroker import PATIENCE_S

from edge import selftest
from edge.errands import Errands, summary
from edge.examiner import PROGRAM, Examiner, Finding
from edge.payloads import SelfTest, SelfTestCheck
from edge.reload import Outcome
from edge.selftest.subject import said
from edge.settings import Camera, Emotion, Mqtt, Settings

SETTINGS = Settings(
    camera=(Camera(uri="v4l2:/dev/video0"),),
    emotion=Emotion(bundle="absent"),
    mqtt=Mqtt(url="mqtt://127.0.0.1:1"),
)
"""A device of which little can be tested, so that it does not take long."""


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, sys, time\n{code}")


class Examined:
    """An examiner, and what came of it."""

    def __init__(self, code: str | None = None, longest_s: float = 60.0) -> None:
        self._woken = threading.Event()
        chosen = PROGRAM if code is None else program(code)
        self.examiner = Examiner(self._woken.set, longest_s=longest_s, program=chosen)

    def finding(self) -> Finding:
        self.examiner.begin(SETTINGS)
        assert self.examiner.busy
        assert self._woken.wait(PATIENCE_S)
        found = self.examiner.take()
        assert found is not None
        assert not self.examiner.busy
        assert self.examiner.take() is None
        return found


def test_the_report_is_that_of_the_settings_in_force() -> None:
    report = Examined().finding().report
    assert report is not None
    checks = {check.name: check for check in report.checks}
    assert (report.scope, report.verdict) == ("full", "failed")
    assert "absent" in checks["bundles"].text
    assert checks["camera"].verdict == checks["busy"].verdict == "skipped"
    assert "the daemon has the cameras" in checks["camera"].text


def test_settings_are_handed_over_where_nobody_else_can_read_them() -> None:
    code = (
        "settings = sys.stdin.read()\n"
        "seen = ' '.join(sys.argv) + str(os.environ)\n"
        "assert 'v4l2:/dev/video0' in settings and 'v4l2:/dev/video0' not in seen\n"
        "os._exit(7)"
    )
    assert "exit code 7" in Examined(code).finding().trouble


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("os._exit(3)", "ended with exit code 3 and left no report"),
        ("os.kill(os.getpid(), 11)", "was killed by signal 11 and left no report"),
        ("print('{}')", "left no report"),
        ("sys.stdout.buffer.write(b'\\xff')", "left no report"),
        ("os.close(0); print('half a repo', end='')", "left no report"),
    ],
)
def test_one_that_leaves_no_report_is_told_of(code: str, trouble: str) -> None:
    found = Examined(code).finding()
    assert found.report is None
    assert trouble in found.trouble


def test_one_that_hangs_is_killed_at_its_time_limit() -> None:
    found = Examined("time.sleep(1000)", longest_s=0.3).finding()
    assert found == Finding(None, "it took longer than 0.3 s and was killed")


def test_one_that_runs_is_ended_with_the_daemon(tmp_path: Path) -> None:
    examined = Examined(f"open({str(tmp_path / 'begun')!r}, 'w')\ntime.sleep(1000)")
    examined.examiner.begin(SETTINGS)
    while not (tmp_path / "begun").exists():
        pass
    examined.examiner.close()
    found = examined.examiner.take()
    assert found is not None
    assert "signal 9" in found.trouble


def test_without_a_daemon_it_ends_by_itself() -> None:
    """Nobody is there any more to kill it."""
    code = "import signal, sys\nfrom edge import beside\nbeside._ALARM_S = 1\nbeside.main()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.wait(PATIENCE_S) == -14, "SIGALRM, while its settings do not come"


class Host:
    """A loop that does nothing but take note."""

    settings = SETTINGS

    def __init__(self) -> None:
        self.reports: list[SelfTest] = []

    def reload(self) -> Outcome:
        raise AssertionError

    def pause(self, camera: str | None) -> Outcome:
        raise AssertionError(camera)

    def resume(self, camera: str | None) -> Outcome:
        raise AssertionError(camera)

    def tested(self, report: SelfTest) -> None:
        self.reports.append(report)


@pytest.fixture
def report() -> SelfTest:
    def well(_: object) -> Iterator[SelfTestCheck]:
        yield said("well", "passed", "")
        yield said("cold", "skipped", "no sensor")

    subject = selftest.Subject(SETTINGS, selftest.board_of("unknown"), None)
    groups = [selftest.Group("well", well)]
    return selftest.summed_up(subject, list(selftest.examined(subject, groups)), begun_s=0.0)


def test_a_report_bears_the_mark_of_the_daemon_it_was_made_beside(report: SelfTest) -> None:
    woken = threading.Event()
    body = json.dumps(msgspec.json.encode(report).decode())
    examiner = Examiner(woken.set, program=program(f"print({body})"))
    errands, host = Errands(examiner, "b00t"), Host()
    assert errands.examine(host) is None
    assert errands.examine(host) == "a self-test is running already"
    assert woken.wait(PATIENCE_S)
    assert not errands.attend(host)
    assert host.reports == [replace(report, boot_id="b00t")]


def test_a_machine_that_starts_no_process_is_told_of() -> None:
    errands = Errands(Examiner(lambda: None, program=("/absent/program",)), "b00t")
    assert errands.examine(Host()) == "no process can be started: No such file or directory"
    errands.close()


def test_a_report_is_summed_up_in_a_line(report: SelfTest) -> None:
    assert summary(replace(report, took_s=1.23)) == "passed in 1.2 s: 1 of 2 checks"
    broken = replace(report, checks=(*report.checks, said("disk", "failed", "full")))
    assert summary(replace(broken, took_s=1.0)) == "failed in 1.0 s: disk"
