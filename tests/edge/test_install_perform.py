"""Doing what a plan says: with real files and real programs, and what is left where it fails."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.install.perform import InstallError, perform
from edge.install.plan import Action, Command, Folder, Plan, Purge, Remove, Write

FAILS = Command(("sh", "-c", "echo first >&2; echo second >&2; exit 3"), "it fails")


def everything(folder: Path) -> dict[str, tuple[int, str | None]]:
    """All that is below a folder: modes, and what is in files."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.read_text() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def failing(*actions: Action) -> str:
    with pytest.raises(InstallError) as caught:
        perform(Plan(actions))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_are_written_with_their_folders_and_modes(tmp_path: Path) -> None:
    file = tmp_path / "etc/mien/mien.toml"
    perform(Plan((Write(file, "text", "why", 0o640), Folder(tmp_path / "etc/c", "why", 0o700))))
    assert everything(tmp_path) == {
        "etc": (0o40755, None),
        "etc/c": (0o40700, None),
        "etc/mien": (0o40755, None),
        "etc/mien/mien.toml": (0o100640, "text"),
    }


def test_what_failed_is_told_in_a_line_and_all_is_as_it_was(tmp_path: Path) -> None:
    old, gone = tmp_path / "old", tmp_path / "own/gone"
    old.write_text("before")
    old.chmod(0o600)
    gone.parent.mkdir()
    gone.write_text("was here")
    before = everything(tmp_path)
    told = failing(
        Write(old, "after", "why"),
        Write(tmp_path / "new/deep/file", "text", "why"),
        Folder(tmp_path / "folder", "why"),
        Remove(gone, folder=True),
        FAILS,
        Write(tmp_path / "never", "text", "why"),
    )
    assert told == (
        "`sh -c echo first >&2; echo second >&2; exit 3` failed: first second; all is as it was"
    )
    assert everything(tmp_path) == before


def test_commands_are_undone_in_reverse_before_the_files_they_need(tmp_path: Path) -> None:
    log, unit = tmp_path / "log", tmp_path / "unit"

    def says(word: str) -> tuple[str, ...]:
        return ("sh", "-c", f"test -e {unit} && echo {word} with >>{log} || echo {word} >>{log}")

    plan = Plan(
        (
            Write(unit, "text", "why"),
            Command(says("reload"), "why"),
            Command(says("enable"), "why", undo=says("disable")),
            FAILS,
        ),
        settle=(says("reload"), says("never run, so never run again")),
    )
    with pytest.raises(InstallError):
        perform(plan)
    assert log.read_text().splitlines() == ["reload with", "enable with", "disable with", "reload"]


def test_what_cannot_be_undone_is_named(tmp_path: Path) -> None:
    told = failing(
        Write(tmp_path / "file", "text", "why"),
        Command(("true",), "why", undo=("sh", "-c", "echo I will not >&2; exit 1")),
        FAILS,
    )
    wanted = "all is as it was but for: `sh -c echo I will not >&2; exit 1` failed: I will not"
    assert told.endswith(wanted)
    assert everything(tmp_path) == {}


def test_a_last_step_that_fails_leaves_what_is_in_place(tmp_path: Path) -> None:
    told = failing(
        Write(tmp_path / "file", "text", "why"), Command(("false",), "start now", last=True)
    )
    assert told == "`false` failed: exit 1; what comes before it is done"
    assert (tmp_path / "file").exists()


def test_a_program_that_is_missing_is_named() -> None:
    told = failing(Command(("mien-no-such-program",), "why"))
    assert told.startswith("mien-no-such-program: not found; this needs a system with systemd")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told = failing(Write(tmp_path / "file/below", "text", "why"))
    assert re.match(rf"{tmp_path}/file.*: (Not a directory|File exists); all is as it was", told)
    assert everything(tmp_path) == {"file": (0o100644, "in the way")}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What a shell without job control starts in the background ignores the keyboard."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_at_the_keyboard_it_is_undone_too(tmp_path: Path) -> None:
    interrupt = Command(("sh", "-c", "kill -INT $PPID"), "why")
    with pytest.raises(KeyboardInterrupt):
        perform(Plan((Write(tmp_path / "file", "text", "why"), interrupt)))
    assert everything(tmp_path) == {}


def test_a_folder_where_someone_else_has_a_file_stays(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "d/50-mien.conf", tmp_path / "d/override.conf"
    perform(Plan((Write(ours, "ours", "why"), Write(theirs, "theirs", "why"))))
    perform(Plan((Remove(ours, folder=True),)))
    assert list(everything(tmp_path)) == ["d", "d/override.conf"]
    perform(Plan((Remove(theirs, folder=True),)))
    assert everything(tmp_path) == {}


def test_what_is_purged_is_gone_and_what_a_link_leads_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "state/spool").mkdir(parents=True)
    (tmp_path / "state/spool/events.db").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    perform(Plan((Purge(tmp_path / "state"), Purge(tmp_path / "link"))))
    assert list(everything(tmp_path)) == ["mine"]
