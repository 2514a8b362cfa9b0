"""The unit files are what systemd understands, and as closed as they are said to be."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
EXPOSURE = 1.5
"""What an audit by systemd may say at most, 0 to 10."""

pytestmark = pytest.mark.system


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        assert os.environ.get("CI") != "true", "CI must have systemd"
        pytest.skip("systemd-analyze is missing: apt install systemd")
    return found


def here(units: list[Path], folder: Path) -> list[str]:
    """Copies that start a program of this machine: systemd checks that it exists."""
    # A unit is looked for beside the one that asks for it.
    for unit in units[0].parent.glob("mien*.*"):
        text = unit.read_text().replace("/opt/mien/bin/mien", "/bin/true")
        (folder / unit.name).write_text(text)
    return [str(folder / unit.name) for unit in units]


def verify(analyze: str, *arguments: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [analyze, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )
    return done.returncode, done.stderr


def test_systemd_understands_the_units(analyze: str, tmp_path: Path) -> None:
    units = here([*UNITS.glob("*.service"), *UNITS.glob("*.timer")], tmp_path)
    # It exits 0 on an unknown key, and says so on stderr.
    assert verify(analyze, "verify", *units) == (0, "")


def test_systemd_understands_the_units_of_a_login(analyze: str, tmp_path: Path) -> None:
    units = here([*(UNITS / "user").glob("*.service")], tmp_path)
    assert verify(analyze, "--user", "verify", *units, XDG_RUNTIME_DIR=str(tmp_path)) == (0, "")


@pytest.mark.parametrize("name", ["mien.service", "mien-selftest.service"])
def test_an_audit_finds_little_to_attack(name: str, analyze: str, tmp_path: Path) -> None:
    unit = here([UNITS / name], tmp_path)
    threshold = f"--threshold={EXPOSURE * 10:g}"
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", threshold, *unit],
        capture_output=True,
        text=True,
        check=False,
    )
    overall = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert overall is not None, done.stderr
    sys.stdout.write(f"{overall[0]}\n")
    assert done.returncode == 0, done.stdout
    assert float(overall[1]) <= EXPOSURE


def section(unit: Path, name: str) -> dict[str, list[str]]:
    """A section of a unit file, whose keys may stand more than once."""
    keys: dict[str, list[str]] = {}
    inside = False
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            inside = line == f"[{name}]"
        elif inside and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            keys.setdefault(key, []).append(value)
    return keys


def test_only_the_devices_that_are_needed_are_allowed() -> None:
    service = section(UNITS / "mien.service", "Service")
    assert service["DevicePolicy"] == ["closed"]
    kinds = ("video4linux", "media", "dma_heap", "usb_device", "apex")
    assert service["DeviceAllow"] == [f"char-{kind} rw" for kind in kinds]


def test_the_unit_of_a_login_keeps_all_that_needs_no_root() -> None:
    system = section(UNITS / "mien.service", "Service")
    login = section(UNITS / "user/mien.service", "Service")
    needs_root = re.compile(
        "Private|Protect|Device|IPAddress|Capability|Ambient|Runtime|User|Group|Supplementary"
        "|RemoveIPC|KeyringMode"
    )
    kept = {key for key in system if not needs_root.match(key)}
    assert kept == set(login)
    differ = {key for key in kept if system[key] != login[key]}
    assert differ == {"ExecStart", "LoadCredential"}


def test_the_watchdog_of_the_board_is_named_but_not_installed() -> None:
    file = UNITS / "system.conf.d/mien-watchdog.conf"
    settings = configparser.ConfigParser(comment_prefixes="#")
    settings.read(file)
    assert settings["Manager"]["RuntimeWatchdogSec"] == "15"
