"""The self-test of a running daemon: a process of its own, beside it.

It measures, loads libraries that may crash, and waits for the broker; none of that may hold up a
frame or a sign of life. The process gets the settings in force on its standard input and gives back
the report on its standard output; nothing of them is in its arguments or its environment.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import msgspec

from edge.payloads import SelfTest
from edge.settings import Settings

_log = logging.getLogger(__name__)

LONGEST_S = 120.0
"""After this it is killed. It takes 3 s on a workstation, and no more than some 30 s anywhere."""

PROGRAM = (sys.executable, "-m", "edge.beside")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a self-test found, or why it found nothing."""

    report: SelfTest | None
    trouble: str = ""


@final
class Examiner:
    """Runs one self-test at a time. For the main thread, which is told by `wake` when it is over.

    Parameters
    ----------
    wake
        Called from another thread.
    longest_s
        How long a self-test may take, in seconds.
    program
        What runs it.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        longest_s: float = LONGEST_S,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._wake = wake
        self._longest_s = longest_s
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._finding: Finding | None = None

    @property
    def busy(self) -> bool:
        """Whether a self-test was begun whose finding was not taken yet."""
        return self._thread is not None

    def begin(self, settings: Settings) -> None:
        """Begin to test what these settings describe.

        Raises
        ------
        OSError
            The process could not be started.
        """
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            self._program, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._thread = threading.Thread(
            target=self._wait, args=(self._process, msgspec.json.encode(settings)), name="selftest"
        )
        self._thread.start()

    def take(self) -> Finding | None:
        """Return what was found, once, when it is over."""
        finding = self._finding
        if finding is not None:
            self._finding = self._thread = self._process = None
        return finding

    def close(self) -> None:
        """End a self-test that runs."""
        if self._thread is not None and self._process is not None:
            self._process.kill()
            self._thread.join()

    def _wait(self, process: subprocess.Popen[bytes], settings: bytes) -> None:
        with process:
            try:
                said, _ = process.communicate(settings, self._longest_s)
                finding = _read(said, process.returncode)
            except subprocess.TimeoutExpired:
                process.kill()
                finding = Finding(None, f"it took longer than {self._longest_s:g} s and was killed")
        self._finding = finding
        self._wake()


def _read(said: bytes, code: int) -> Finding:
    try:
        return Finding(msgspec.json.decode(said, type=SelfTest))
    except (msgspec.DecodeError, UnicodeDecodeError):
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Finding(None, f"its process {how} and left no report: see the log")
