"""Carries out what was asked of the daemon, between two frames: commands, and self-tests.

A self-test takes seconds and runs beside (`edge.examiner`); all else is done when it is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, final

from edge.commands import Inbox, Request
from edge.examiner import Examiner
from edge.outbox import Message
from edge.payloads import Conclusion, SelfTest
from edge.reload import Outcome
from edge.settings import Settings

_log = logging.getLogger(__name__)


class Host(Protocol):
    """Whose errands they are: the loop."""

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...

    def reload(self) -> Outcome:
        """Put the configuration in force anew."""
        ...

    def pause(self, camera: str | None) -> Outcome:
        """Look through a camera no longer, or through any."""
        ...

    def resume(self, camera: str | None) -> Outcome:
        """Look again."""
        ...

    def tested(self, report: SelfTest) -> None:
        """Take in what a self-test found."""
        ...


@final
class Errands:
    """What is to be carried out. Used by the main thread only.

    Parameters
    ----------
    examiner
        Runs self-tests.
    boot_id
        As in other payloads.
    inbox
        Where commands come from; None where none are heard.
    answer
        Publishes a result.
    """

    def __init__(
        self,
        examiner: Examiner,
        boot_id: str,
        inbox: Inbox | None = None,
        answer: Callable[[Message], None] | None = None,
    ) -> None:
        self._examiner = examiner
        self._boot_id = boot_id
        self._inbox = inbox
        self._answer = answer
        self._asker: Request | None = None

    def attend(self, host: Host) -> bool:
        """Do one thing that waits, if any; return whether more does."""
        self._conclude(host)
        request = self._inbox.take() if self._inbox is not None else None
        if request is None:
            return False
        if request.command == "selftest":
            trouble = self.examine(host, request)
            if trouble is not None:
                self._say(request, "refused", trouble)
        else:
            outcome = _done(host, request)
            self._say(request, "done" if outcome.accepted else "refused", outcome.text)
        return self._inbox is not None and self._inbox.waiting

    def examine(self, host: Host, asker: Request | None = None) -> str | None:
        """Begin a self-test; return why not, where it cannot be begun."""
        if self._examiner.busy:
            return "a self-test is running already"
        try:
            self._examiner.begin(host.settings)
        except OSError as exc:
            return f"no process can be started: {exc.strerror}"
        self._asker = asker
        _log.info("self-test: begun")
        return None

    def close(self) -> None:
        """End what runs."""
        if self._examiner.busy:
            self._examiner.close()
            self._say(self._asker, "failed", "the daemon ends")

    def _conclude(self, host: Host) -> None:
        """Take a self-test's finding in, if one is over."""
        finding = self._examiner.take()
        if finding is None:
            return
        asker, self._asker = self._asker, None
        if finding.report is None:
            _log.error("self-test: %s", finding.trouble)
            self._say(asker, "failed", finding.trouble)
            return
        report = replace(finding.report, boot_id=self._boot_id)
        text = summary(report)
        _log.info("self-test: %s", text)
        host.tested(report)
        self._say(asker, "done", text)

    def _say(self, request: Request | None, conclusion: Conclusion, text: str) -> None:
        if request is not None and self._inbox is not None and self._answer is not None:
            self._answer(self._inbox.answer(request, conclusion, text))


def _done(host: Host, request: Request) -> Outcome:
    if request.command == "reload":
        return host.reload()
    if request.command == "pause":
        return host.pause(request.camera)
    return host.resume(request.camera)


def summary(report: SelfTest) -> str:
    """Return a report's verdict in one line: what failed, or how many checks passed."""
    failed = [check.name for check in report.checks if check.verdict == "failed"]
    if failed:
        return f"failed in {report.took_s:.1f} s: {', '.join(failed)}"
    passed = sum(check.verdict == "passed" for check in report.checks)
    return f"passed in {report.took_s:.1f} s: {passed} of {len(report.checks)} checks"
