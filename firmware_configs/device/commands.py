"""Programs of the system that a device is set up with, by their names on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from firmware_configs.device.files import SetupError

Done = subprocess.CompletedProcess[str]


def say(text: str) -> None:
    """Tell whoever reads the journal, or sits at the terminal."""
    sys.stdout.write(f"mien-setup: {text}\n")
    sys.stdout.flush()


def run(*command: str, more: Mapping[str, str] | None = None) -> Done:
    """Run a program to its end, with `more` variables in its environment.

    Raises
    ------
    SetupError
        There is no such program.
    """
    # A service of the system has none, and pip asks for one.
    environment = {"HOME": "/root", **os.environ, **(more or {})}
    try:
        return subprocess.run(  # noqa: S603  # the commands are this package's own
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    except OSError as exc:
        raise SetupError(f"{command[0]}: {exc.strerror}") from exc


def must(*command: str) -> None:
    """Run a program that has to succeed.

    Raises
    ------
    SetupError
        It did not.
    """
    done = run(*command)
    if done.returncode != 0:
        raise SetupError(f"{Path(command[0]).name} failed: {why(done)}")


def attempt(*command: str) -> None:
    """Run a program that may be missing, and whose failure stops nothing but is told."""
    if shutil.which(command[0]) is not None:
        done = run(*command)
        if done.returncode != 0:
            say(f"{' '.join(command)}: {why(done)}")


def why(done: Done) -> str:
    """Return the last line of what a program complained of."""
    lines = done.stderr.strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {done.returncode}"
