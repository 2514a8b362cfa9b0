"""The unit files are what systemd understands."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"

pytestmark = pytest.mark.system


@pytest.mark.parametrize("name", ["mien.service", "mien-selftest.service", "mien-selftest.timer"])
def test_systemd_understands_the_unit(name: str, tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        assert os.environ.get("CI") != "true", "CI must have systemd"
        pytest.skip("systemd-analyze is missing: apt install systemd")
    # It checks that the program exists; on this machine it need not. A unit is looked for beside
    # the one that asks for it.
    for unit in UNITS.glob("mien*"):
        text = unit.read_text().replace("/opt/mien/bin/mien", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [verify, "verify", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    # It exits 0 on an unknown key, and says so on stderr.
    assert (done.returncode, done.stderr) == (0, "")
