"""A Debian that boots its own systemd in a namespace, without hardware or a network."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from shell import PATH, Done, Shell

NEEDS = "apt install systemd-container mmdebstrap debian-archive-keyring, and root"
PATIENCE_S = 60.0
_NSPAWN = Path("/run/systemd/nspawn")


def prepared() -> None:
    """Skip where no machine can be made; in CI that is a failure."""
    if os.geteuid() == 0 and all(map(shutil.which, ("systemd-nspawn", "mmdebstrap", "nsenter"))):
        return
    assert os.environ.get("CI") != "true", f"CI must have: {NEEDS}"
    pytest.skip(f"no machine can be booted here: {NEEDS}")


def build(root: Path, suite: str, packages: str, *options: str) -> None:
    """Make a Debian system in a folder; `options` are mmdebstrap's."""
    make = ("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", *options)
    # It would take the test's own environment, with a home of someone else's, for its own.
    environ = {"PATH": f"{os.environ['PATH']}:{PATH}", "LC_ALL": "C.UTF-8"}
    subprocess.run([*make, suite, str(root)], check=True, env=environ)


@contextmanager
def in_memory(folder: Path) -> Iterator[None]:
    """Make a folder whose files are in memory: a machine is many small files, written once."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g,mode=755", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Machine(Shell):
    """What runs in the namespace; entered as root."""

    patience_s = PATIENCE_S

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(self, *command: str, check: bool = True) -> Done:
        """Run a program in the machine and wait for it."""
        enter = ("nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-p", "-n", "--")
        done = subprocess.run(
            [*enter, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file into the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def edit(self, path: str, text: str) -> None:
        """Change what is in a file, and nothing else of it."""
        (self.root / path.lstrip("/")).write_text(text)

    def remove(self, path: str) -> None:
        """Remove a file or a folder, where there is one."""
        self.run("rm", "-rf", path)


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """Boot a system; its power is cut at the end."""
    process = _nspawn(root)
    try:
        leader = _leader(process.pid, _console(root))
        machine = Machine(root, leader)
        machine.eventually(
            lambda: (
                machine.run("systemctl", "is-system-running", check=False).stdout.strip()
                in {"running", "degraded"}
            ),
            "the boot",
        )
        yield machine
        # As if the power went: all that runs in the namespace ends with its first process.
        os.kill(leader, signal.SIGKILL)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()


def boot_to_its_end(root: Path, *kernel_options: str) -> None:
    """Boot a system that switches itself off."""
    process = _nspawn(root, *kernel_options)
    try:
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()


def _nspawn(root: Path, *kernel_options: str) -> subprocess.Popen[bytes]:
    _NSPAWN.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mountpoint", "-q", _NSPAWN], check=False).returncode != 0:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", _NSPAWN], check=True)
    command = (
        "systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network", "-b",
        # Without it, systemd can neither filter addresses nor devices.
        "--system-call-filter=bpf",
        "-D", str(root), "--console=pipe", *kernel_options,
    )  # fmt: skip
    environ = {"PATH": f"{os.environ['PATH']}:{PATH}", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with _console(root).open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
        )


def _console(root: Path) -> Path:
    return root.with_name(f"{root.name}.console")


def _leader(nspawn: int, console: Path) -> int:
    """Return the process id of the machine's systemd, which is the child of systemd-nspawn."""
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for child in children.read_text().split() if children.exists() else ():
            with suppress(OSError):
                status = Path(f"/proc/{child}/status").read_text()
                # Process 1 of a namespace of its own; before, there is one that only prepares it.
                if re.search(r"^NSpid:\t\d+\t1$", status, re.MULTILINE):
                    return int(child)
        time.sleep(0.05)
    raise AssertionError(f"nothing boots: {console.read_text(errors='replace')}")
