"""A PC in an emulator: a kernel of its own, disks that lose what they were not told to keep.

Without hardware's help (KVM) everything in it takes ten to thirty times as long, so whoever waits
waits for what must happen, and long. Its system disk is served by nbdkit, which keeps what is
written in a cache until the machine flushes it, as a real disk does: losing the power is the end of
both processes, and what was not flushed was never written.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nspawn import build, in_memory
from shell import PATH, Done, Shell

NEEDS = (
    "apt install qemu-system-x86 qemu-utils nbdkit mtools dosfstools e2fsprogs mmdebstrap, and root"
)
PROGRAMS = (
    *("qemu-system-x86_64", "qemu-io", "nbdkit"),
    *("mcopy", "mkfs.vfat", "mke2fs", "mmdebstrap"),
)
PATIENCE_S = 900.0
SHORTLY_S = 20.0
HOST = "10.0.2.2"
"""This machine's own loopback, as the virtual machine sees it."""

BOOTABLE = "systemd,systemd-sysv,dbus,udev,kmod,python3,linux-image-amd64,initramfs-tools"
# An initial file system with what this machine has, and not with what any might have.
INITIAL = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
    'echo MODULES=list >"$1/etc/initramfs-tools/conf.d/machine"',
    'printf "%s\\n" virtio_pci virtio_blk ext4 >"$1/usr/share/initramfs-tools/modules.d/machine"',
)
FSTAB = """\
LABEL=system / ext4 defaults 0 1
LABEL=CIDATA /boot/firmware vfat defaults 0 0
"""
PORT = "mien.agent"
AGENT = Path(__file__).with_name("agent.py")
AGENT_UNIT = f"""\
[Service]
Environment=PATH={PATH}
ExecStart=/usr/bin/python3 /usr/local/lib/agent.py /dev/virtio-ports/{PORT}
Restart=always
RestartSec=1
"""
WANTED = "etc/systemd/system/multi-user.target.wants/agent.service"
# What a Debian does now and then, and what takes a machine's time at its first boot.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer")


QUIET = "systemd.firstboot=no"
"""Nobody sits at its console, and would be asked for a language."""


def prepared() -> None:
    """Skip where no machine can be emulated; in CI that is a failure."""
    path = f"{os.environ['PATH']}:{PATH}"
    if os.geteuid() == 0 and all(shutil.which(name, path=path) for name in PROGRAMS):
        return
    assert os.environ.get("CI") != "true", f"CI must have: {NEEDS}"
    pytest.skip(f"no machine can be emulated here: {NEEDS}")


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine that is switched off: what its disks hold is in files.

    `cards` are disks beside that of the system, in the order the machine numbers them.
    """

    folder: Path
    cards: tuple[Path, ...]

    @property
    def console(self) -> str:
        """All that its kernel and systemd have said so far."""
        return (self.folder / "console").read_text(errors="replace")


@contextmanager
def system(folder: Path, packages: str) -> Iterator[Path]:
    """Make a Debian 13 that boots, yield its root to be furnished, then write it to a disk."""
    with in_memory(folder / "memory"):
        root = folder / "memory/root"
        hooks = (f"--essential-hook={command}" for command in INITIAL)
        build(root, "trixie", f"{BOOTABLE},{packages}", *hooks)
        (root / "etc/fstab").write_text(FSTAB)
        (root / "boot/firmware").mkdir()
        shutil.copyfile(AGENT, root / "usr/local/lib/agent.py")
        (root / "etc/systemd/system/agent.service").write_text(AGENT_UNIT)
        (root / WANTED).parent.mkdir(parents=True, exist_ok=True)
        (root / WANTED).symlink_to("../agent.service")
        yield root
        for name in ("vmlinuz", "initrd.img"):
            (found,) = (root / "boot").glob(f"{name}-*")
            shutil.copyfile(found, folder / name)
        _quietly("mke2fs", "-q", "-t", "ext4", "-L", "system", "-d", root, folder / "disk", "4G")


def fat(content: Path, disk: Path, label: str) -> Path:
    """Make a disk with a FAT file system of a folder's content; return it."""
    _quietly("mkfs.vfat", "-C", "-F", "32", "-n", label, disk, str(400 << 10))
    _quietly("mcopy", "-s", "-i", disk, *sorted(content.iterdir()), "::")
    return disk


def _quietly(*command: str | Path) -> None:
    path = f"{os.environ['PATH']}:{PATH}"
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


class VirtualMachine(Shell):
    """A machine that runs; `hardware` outlives it."""

    patience_s = PATIENCE_S
    pause_s = 2.0

    def __init__(self, hardware: Hardware, channel: socket.socket) -> None:
        self.hardware = hardware
        self._channel = channel
        self._numbers = itertools.count(1)
        self._read = b""

    def run(self, *command: str, check: bool = True) -> Done:
        """Run a program in the machine and wait for it."""
        answer = self._answer(self._ask(*command), PATIENCE_S)
        assert answer is not None, f"{command}: no answer; {self.hardware.console[-2000:]}"
        assert not check or answer.returncode == 0, f"{command}: {answer.stdout}{answer.stderr}"
        return answer

    def awake(self) -> None:
        """Wait until it can be asked for anything."""
        self.eventually(
            lambda: self._answer(self._ask("true"), SHORTLY_S) is not None,
            f"an answer of {self.hardware.folder / 'console'}",
        )

    def _ask(self, *command: str) -> int:
        number = next(self._numbers)
        request = {"number": number, "command": command}
        self._channel.settimeout(SHORTLY_S)
        self._channel.sendall(json.dumps(request).encode() + b"\n")
        return number

    def _answer(self, number: int, patience_s: float) -> Done | None:
        """Return the answer to a request, or None where there is none in time."""
        deadline = time.monotonic() + patience_s
        while (line := self._line(deadline)) is not None:
            answer = json.loads(line)
            if answer.pop("number") == number:
                return Done([], **answer)
        return None

    def _line(self, deadline: float) -> bytes | None:
        while b"\n" not in self._read:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self._channel.recv(1 << 16)
            except TimeoutError:
                return None
            assert more, f"the machine has ended: {self.hardware.console[-2000:]}"
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line


@contextmanager
def powered(hardware: Hardware) -> Iterator[VirtualMachine]:
    """Switch a machine on; at the end its power is cut."""
    with ExitStack() as stack:
        folder = hardware.folder
        sockets = {name: folder / f"{name}.socket" for name in ("disk", "agent")}
        for path in sockets.values():
            path.unlink(missing_ok=True)
        log = stack.enter_context((folder / "log").open("ab"))
        processes: list[subprocess.Popen[bytes]] = []

        def lose_power() -> None:
            # The disk first: nothing that the machine still does reaches it.
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()

        stack.callback(lose_power)
        for command in (served(folder / "disk", sockets["disk"]), _machine(hardware, sockets)):
            processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
            _wait_for(sockets["disk" if len(processes) == 1 else "agent"], folder / "log")
        channel = stack.enter_context(socket.socket(socket.AF_UNIX))
        channel.connect(str(sockets["agent"]))
        machine = VirtualMachine(hardware, channel)
        machine.awake()
        yield machine


def _wait_for(path: Path, log: Path) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + SHORTLY_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name}: {log.read_text(errors='replace')}"
        time.sleep(0.05)


def served(disk: Path, at: Path) -> list[str]:
    """Return the command that is a disk, at a socket: what is not flushed it keeps to itself."""
    store = ("--filter=cache", "file", f"file={disk}", "cache=writeback")
    return ["nbdkit", "--foreground", "--unix", str(at), *store]


def _machine(hardware: Hardware, sockets: dict[str, Path]) -> list[str]:
    folder = hardware.folder
    drives = [f"file=nbd:unix:{sockets['disk']},format=raw,if=virtio,cache=writeback"]
    drives += [f"file={card},format=raw,if=virtio,cache=writeback" for card in hardware.cards]
    masks = " ".join(f"systemd.mask={unit}" for unit in MASKED)
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"),
        *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img")),
        *("-append", f"root=/dev/vda ro console=ttyS0 mitigations=off {QUIET} {masks}"),
        *("-chardev", f"file,id=console,path={folder / 'console'},append=on"),
        *("-serial", "chardev:console"),
        *(part for drive in drives for part in ("-drive", drive)),
        *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={sockets['agent']},server=on,wait=off"),
        *("-device", f"virtserialport,chardev=agent,name={PORT}"),
    ]
