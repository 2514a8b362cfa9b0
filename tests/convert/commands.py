"""`mien-convert` as its users run it, to the end: a bundle that `mien run` runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convert.__main__ import main
from edge import bundle

ROOT = Path(__file__).parents[2]
PIXELS = ("--mean", "0", "--std", "255")
"""How the networks of these tests see theirs, unless they say so themselves."""


def convert(*words: object) -> int:
    """Run one command line; return its exit code, a wrong usage's too."""
    try:
        return main([str(word) for word in words])
    except SystemExit as exc:
        return int(exc.code or 0)


def quantise(source: object, run: Path, data: Path, *more: object) -> int:
    return convert("quantise", source, "--data", data, "--run", run, *more)


def packaged(run: Path, data: Path, out: Path) -> Any:  # noqa: ANN401  # JSON
    """Measure and package a run folder; return the bundle's manifest."""
    assert convert("evaluate", "--data", data, "--run", run) == 0
    assert convert("package", "--run", run, "--name", out.name, "--out", out) == 0
    bundle.load_stream(str(out))
    return json.loads((out / "manifest.json").read_text())


def events_of(out: Path) -> list[dict[str, Any]]:
    """Run the sample clip through a bundle on the device's own command line."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", "--bundle", str(out), "--no-mqtt", "--events", "-",
         "--camera", f"clip:{ROOT}/edge/samples/portrait.webm?pace=fast"],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too; none where there is no folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refusal says, progress bars aside."""
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert not [line for line in lines if "Traceback" in line]
    said = [line for line in lines if line.startswith("mien-convert: ")]
    assert len(said) == 1
    assert lines[-1] == said[0]
    return said[0]
