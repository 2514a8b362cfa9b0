"""`mien demo`, run and read as a stranger would."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*python: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_it_shows_the_whole_of_it_and_ends_by_itself() -> None:
    if importlib.util.find_spec("amqtt") is None:
        assert os.environ.get("CI") != "true", "CI must have mien[demo]"
        pytest.skip("the embedded broker is missing: pip install 'mien[demo]'")
    done = run("-m", "edge", "demo")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("a broker on 127.0.0.1:")
    shown = [line for line in lines if " face " in line]
    assert [word for line in shown for word in ("appears", "left") if word in line] == [
        "appears",
        "left",
        "appears",
        "left",
    ]
    assert 8 <= len(shown) <= 40
    assert all("happy" in line for line in shown)
    assert "the device is online" in lines
    assert "the device is offline" in lines
    assert len(lines) <= 50
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    without = "import sys; sys.modules['amqtt'] = None; import edge.__main__ as mien; "
    done = run("-c", without + "sys.exit(mien.main(['demo']))")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'mien[demo]'")
