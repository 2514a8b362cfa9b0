"""Whether an installation may be put in force: what its self-test found, against what was before.

Some promises are of the program: bundles that are whole and golden vectors that pass. One that
breaks them is never put in force. The others are of the device as well, and budgets are goals that
no board was measured by: a first installation that misses some is put in force and tells so, as the
daemon does, because a device that tells is better than none. An update may fail nothing that did
not fail before.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from firmware_configs.device.card import CREDENTIALS
from firmware_configs.device.commands import run, say
from firmware_configs.device.files import SetupError, write

RUN = Path("run/mien-setup")
REPORT = "selftest.json"
"""The report that an installation was put in force with, in its folder."""

LEFT_OUT = ("camera", "broker")
"""Groups of the self-test that do not judge an installation: the daemon in force has the camera,
and a first boot needs no network. The daemon's own reports tell how those are."""

_OF_THE_PROGRAM = ("bundles", "golden")


def hold(folder: Path, root: Path, before: Path | None) -> None:
    """Run an installation's own self-test, which publishes its report where it gets through.

    Parameters
    ----------
    folder
        The installation.
    root
        `/`, or a folder that stands for it.
    before
        The installation in force, which may be the same; None where there is none.

    Raises
    ------
    SetupError
        It fails what it may not fail, or does not come to an end.
    """
    report = _report(folder, root, at_work=before is not None)
    if folder != before:
        write(folder / REPORT, json.dumps(report).encode())
    failed = _failed(report)
    known = _failed(_earlier(before)) if before is not None else failed
    wrong = []
    for name, text in failed.items():
        if name not in known or name.startswith(_OF_THE_PROGRAM):
            wrong.append(f"{name}: {text}")
        else:
            say(f"{name} fails{'' if before is None else ' as before'}: {text}")
    if wrong:
        raise SetupError(f"the self-test failed: {'; '.join(wrong)}")
    say(f"the self-test ran: {len(report['checks'])} checks, {len(failed)} failed")


def _report(folder: Path, root: Path, *, at_work: bool) -> dict[str, Any]:
    # The daemon that is at work leaves what `busy` measures, not an idle board.
    skip = [*LEFT_OUT, *(["idle"] if at_work else [])]
    command = [str(folder / "bin/mien"), "selftest", "--json"]
    command += ["--config", str(folder / "mien.toml")]
    for group in skip:
        command += ["--skip", group]
    handed = _handed_over(root)
    done = run(*command, more={"CREDENTIALS_DIRECTORY": str(handed)})
    shutil.rmtree(handed)
    for line in done.stderr.splitlines():
        say(line)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
        _failed(report)
    except (ValueError, KeyError, TypeError):
        raise SetupError(
            f"the self-test did not come to an end (exit code {done.returncode})"
        ) from None
    return report


def _failed(report: dict[str, Any]) -> dict[str, str]:
    """Return the failed checks of a report (mien-selftest/1), each with what it says."""
    failed = [check for check in report["checks"] if check["verdict"] == "failed"]
    return {check["name"]: str(check.get("text", "")) for check in failed}


def _earlier(folder: Path) -> dict[str, Any]:
    """Return the report that an installation was put in force with."""
    try:
        report: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"checks": []}
    return report


def _handed_over(root: Path) -> Path:
    """Return a folder with the credentials under the names that the unit gives them."""
    folder = root / RUN / "credentials"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    for file in sorted((root / CREDENTIALS).glob("*")):
        (folder / f"mqtt_{file.name}").symlink_to(file)
    return folder
