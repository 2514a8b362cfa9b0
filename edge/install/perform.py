"""Does what a plan says, and puts everything back where that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from edge.errors import MienError
from edge.install.plan import Action, Command, Folder, Plan, Purge, Remove, Write

Undo = Callable[[], None]

_LONGEST_S = 300.0
"""Starting the daemon may take `TimeoutStartSec` of its unit; what takes longer hangs."""


class InstallError(MienError):
    """A step of the plan failed."""


def perform(plan: Plan) -> None:
    """Do what a plan says, in order.

    Raises
    ------
    InstallError
        A step failed. What was done before it has been undone, and what could not be is named;
        but where a `last` step fails, what was done stays.
    """
    undos: list[Undo] = []
    done: list[Action] = []
    for action in plan.actions:
        try:
            _do(action, undos)
        except BaseException as exc:
            if isinstance(action, Purge | Command) and action.last:
                if not isinstance(exc, OSError | InstallError):
                    raise
                raise InstallError(f"{_line(exc)}; what comes before it is done") from exc
            left = _undo(undos, _settling(plan, done))
            if not isinstance(exc, OSError | InstallError):
                # Interrupted at the keyboard, or a defect.
                raise
            told = f"all is as it was but for: {'; '.join(left)}" if left else "all is as it was"
            raise InstallError(f"{_line(exc)}; {told}") from exc
        done.append(action)


def _settling(plan: Plan, done: Sequence[Action]) -> list[Undo]:
    """Return what makes those forget that have read what is now undone."""
    ran = {action.argv for action in done if isinstance(action, Command)}
    return [partial(_run, argv) for argv in plan.settle if argv in ran]


def _undo(undos: Sequence[Undo], settling: Sequence[Undo]) -> list[str]:
    """Undo in reverse; return what could not be."""
    left = []
    for undo in (*reversed(undos), *settling):
        try:
            undo()
        except (OSError, InstallError) as exc:
            left.append(_line(exc))
    return left


def _do(action: Action, undos: list[Undo]) -> None:
    """Do one thing, and note how to undo it as soon as there is something to undo."""
    match action:
        case Write():
            _make_folders(action.path.parent, 0o755, undos)
            _remember(action.path, undos)
            _write(action.path, action.text.encode(), action.mode)
        case Folder():
            _make_folders(action.path, action.mode, undos)
        case Remove():
            _remember(action.path, undos)
            action.path.unlink()
            if action.folder:
                # Where someone put a file of their own beside, the folder stays.
                with suppress(OSError):
                    action.path.parent.rmdir()
        case Purge():
            if action.path.is_symlink():
                action.path.unlink()
            else:
                shutil.rmtree(action.path)
        case Command():
            _run(action.argv)
            if action.undo:
                undos.append(partial(_run, action.undo))


def _make_folders(path: Path, mode: int, undos: list[Undo]) -> None:
    """Make a folder of that mode, and those above it of the usual one."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir()
        undos.append(each.rmdir)
        each.chmod(mode if each == path else 0o755)


def _remember(path: Path, undos: list[Undo]) -> None:
    """Note what a file is like now."""
    if not path.exists():
        undos.append(lambda: path.unlink(missing_ok=True))
        return
    before, mode = path.read_bytes(), path.stat().st_mode & 0o7777

    def restore() -> None:
        path.parent.mkdir(exist_ok=True)
        _write(path, before, mode)

    undos.append(restore)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in place whole, or not at all, and never readable by more than `mode` says."""
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(mode)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _run(argv: tuple[str, ...]) -> None:
    """Run a program; what it says is shown only where it fails."""
    command = " ".join(argv)
    # `su` leaves root without the folders of root's own programs.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(  # noqa: S603  # a literal command of the plan
            argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            timeout=_LONGEST_S, env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    except FileNotFoundError:
        raise InstallError(f"{argv[0]}: not found; this needs a system with systemd") from None
    except subprocess.TimeoutExpired:
        raise InstallError(f"`{command}` takes longer than {_LONGEST_S:g} s") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise InstallError(f"`{command}` failed: {said}")


def _line(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return f"{exc.filename}: {exc.strerror}"
    return str(exc)
