"""What can be asked of a Debian that boots its own systemd, wherever it runs."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

Done = subprocess.CompletedProcess[str]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Shell(ABC):
    """A root's shell in a machine.

    `patience_s` is how long what must happen may take there, `pause_s` how long to wait before
    looking again.
    """

    patience_s: float
    pause_s = 0.1

    @abstractmethod
    def run(self, *command: str, check: bool = True) -> Done:
        """Run a program in the machine and wait for it."""

    def says(self, *command: str) -> str:
        """Run a program in the machine and return what it prints."""
        return self.run(*command).stdout.strip()

    def shows(self, unit: str, name: str) -> str:
        """Return a property of a unit as systemd has it."""
        return self.says("systemctl", "show", "--value", "-p", name, unit)

    def journal(self, unit: str) -> str:
        """Return what a unit has logged since the machine was started."""
        return self.says("journalctl", "-b", "-o", "cat", "--no-pager", "-u", unit)

    def eventually(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + self.patience_s
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true"
            time.sleep(self.pause_s)
