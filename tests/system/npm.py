"""Programs from the npm registry that system tests need, at the versions that a lock names."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"


@functools.cache
def installed() -> tuple[str, Path]:
    """Return node, and the folder that holds node_modules; install those once."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        assert os.environ.get("CI") != "true", "CI must have node: apt install nodejs npm"
        pytest.skip("node is missing: apt install nodejs npm")
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        command = [npm, "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return node, FOLDER
