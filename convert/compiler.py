"""Google's Edge TPU compiler, where it is installed: run it, read its log.

Options and log as of version 16.0 (https://coral.ai/docs/edgetpu/compiler/). It is a program for
x86-64 Linux that Google distributes by itself; nothing here needs it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convert.edgetpu import Placement
from convert.edgetpu_rules import MAPPED

PROGRAM = "edgetpu_compiler"
_ROW = re.compile(r"^(?P<operator>[A-Za-z0-9_-]+) +(?P<count>\d+) +(?P<status>\S.*)$", re.MULTILINE)
_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
_CACHED = re.compile(r"^(O(?:n|ff)-chip memory used for [a-z ]+: \S+)", re.MULTILINE)
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the log: so many operators of one kind with one status."""

    operator: str
    count: int
    status: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler said.

    Attributes
    ----------
    failed : str
        Why it gave no file; empty where it did.
    memory : tuple of str
        Its lines about the chip's memory.
    differences : tuple of str
        Where it and the prediction part, filled in by `compared`.
    """

    version: str
    rows: tuple[Row, ...] = ()
    failed: str = ""
    memory: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it mapped every operator."""
        return (
            not self.failed and bool(self.rows) and all(row.status == MAPPED for row in self.rows)
        )


def compile_model(data: bytes, limit_s: float) -> Compiled | None:
    """Compile a model in a scratch folder; None where the compiler is not installed.

    Parameters
    ----------
    data
        The .tflite file.
    limit_s
        How long it may take.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, "model.tflite")
        model.write_bytes(data)
        seconds = str(max(1, round(limit_s)))
        command = [program, "-s", "-t", seconds, "-o", scratch, str(model)]
        text, code = _run(command, limit_s + _GRACE_S)
    if code is None:
        return Compiled(_version(text), failed=f"was still busy after {limit_s:g} s")
    if code:
        lines = [line for line in text.splitlines() if line.strip()]
        return Compiled(_version(text), failed=_complaint(lines) or f"exit status {code}")
    return read_log(text)


def read_log(text: str) -> Compiled:
    """Read what the compiler prints with `-s`."""
    rows = tuple(
        Row(found["operator"], int(found["count"]), found["status"].strip())
        for found in _ROW.finditer(text)
    )
    failed = "" if rows else "its log lists no operators"
    return Compiled(_version(text), rows, failed, tuple(_CACHED.findall(text)))


def compared(compiled: Compiled, placed: Sequence[Placement]) -> Compiled:
    """Hold the log against the prediction: mapped operators of each kind.

    A log does not say which of several operators of a kind it means, so that counts are all
    there is to compare.
    """
    if compiled.failed:
        return compiled
    predicted = Counter(each.operator.name for each in placed if each.mapped)
    found: Counter[str] = Counter()
    for row in compiled.rows:
        found[row.operator] += row.count * (row.status == MAPPED)
    differences = tuple(
        f"{name}: predicted {predicted[name]} mapped, the compiler mapped {found[name]}"
        for name in sorted({*predicted, *found})
        if predicted[name] != found[name]
    )
    return replace(compiled, differences=differences)


def _run(command: Sequence[str], limit_s: float) -> tuple[str, int | None]:
    """Return what a command printed and its exit status, None if it was stopped.

    It compiles in a child process of its own, which has to be stopped with it.
    """
    try:
        process = subprocess.Popen(  # noqa: S603  # found on PATH by its documented name
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as exc:
        return f"{command[0]}: {exc.strerror}", 1
    with process:
        try:
            text, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text, _ = process.communicate()
            return text, None
    return text, process.returncode


def _version(text: str) -> str:
    found = _VERSION.search(text)
    return found[1] if found else "unknown"


def _complaint(lines: Sequence[str]) -> str:
    """Return the line that says why: an error, not the closing "Compilation failed!"."""
    telling = [
        line for line in lines if re.match(r"ERROR|Invalid|Internal|Compilation failed:", line)
    ]
    return (telling or [*lines][-1:] or [""])[0].strip()
