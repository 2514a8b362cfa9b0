"""Whether an installation may be put in force: what its self-test found, against what was before.

Some promises are of the program: bundles that are whole and golden vectors that pass. One that
breaks them is never put in force. The others are of the device as well, and budgets are goals that
no board was measured by: a first installation that misses some is put in force and tells so, as the
daemon does, because a device that tells is better than none. An update may fail nothing that did
not fail before; and since what is measured differs from one minute to the next, it is refused for
what it fails each time and the installation in force, asked in between, does not.
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

_ASKED_AGAIN = 2
"""How often an installation is asked again that fails what it should not. The figure is a choice: a
check that a busy minute fails one time in ten is then held against one update in a thousand."""


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
    at_work = before is not None
    report = _report(folder, root, at_work=at_work)
    failed = _failed(report)
    known = set(failed) if before is None else set(_failed(_earlier(before)))
    wrong = _wrong(failed, known)
    for _ in range(_ASKED_AGAIN):
        if not wrong or any(map(_is_of_the_program, wrong)):
            break
        say(f"fails what did not fail before: {', '.join(wrong)}; it is asked again")
        if before is not None and folder != before:
            known |= set(wrong) - _passed_now(before, root)
        report = _report(folder, root, at_work=at_work)
        failed = _failed(report)
        # What fails one time and not the next is of the moment.
        passed_once = failed.keys() - set(wrong)
        wrong = _wrong(failed, known | passed_once)
    if folder != before:
        write(folder / REPORT, json.dumps(report).encode())
    if wrong:
        raise SetupError("the self-test failed: " + "; ".join(f"{n}: {failed[n]}" for n in wrong))
    for name, text in failed.items():
        say(f"{name} fails: {text}")
    say(f"the self-test ran: {len(report['checks'])} checks, {len(failed)} failed")


def _passed_now(folder: Path, root: Path) -> set[str]:
    """Return what the installation in force passes now; nothing if it cannot be asked."""
    try:
        report = _report(folder, root, at_work=True)
    except SetupError as exc:
        say(f"what is in force: {exc}")
        return set()
    return {check["name"] for check in report["checks"]} - _failed(report).keys()


def _wrong(failed: dict[str, str], excused: set[str]) -> list[str]:
    """Return the failed checks that an installation may not fail."""
    return [name for name in failed if name not in excused or _is_of_the_program(name)]


def _is_of_the_program(check: str) -> bool:
    return check.startswith(_OF_THE_PROGRAM)


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
