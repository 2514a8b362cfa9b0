"""The daemon has no door: each socket it holds is one end of a connection that it began."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from realbroker import Ear, Mosquitto

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
ESTABLISHED, UNIX_CONNECTED = "01", "03"
KINDS = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")


def inodes(process: int) -> set[str]:
    """The sockets that a process holds."""
    held = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        # What reads the folder is in it too, and gone by now.
        with suppress(FileNotFoundError):
            found = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            held |= {found[1]} if found else set()
    return held


def sockets(process: int) -> dict[str, set[str]]:
    """What the kernel says of them: those to a port of a remote machine, and all that are open.

    Any that is in none of its tables (netlink, packet, ...) is open too.
    """
    ours, found = inodes(process), {"connected": set[str](), "open": set[str]()}
    unknown = set(ours)
    for kind in KINDS:
        table = Path(f"/proc/{process}/net/{kind}")
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, remote, state, *_, inode = line.split()[:10]
            if inode in ours:
                unknown.discard(inode)
                joined = kind in ("tcp", "tcp6") and state == ESTABLISHED
                place, end = ("connected", remote) if joined else ("open", local)
                found[place].add(f"{kind}:{int(end.rpartition(':')[2], 16)}")
    for line in Path(f"/proc/{process}/net/unix").read_text().splitlines()[1:]:
        *_, state, inode = line.split()[:7]
        if inode in ours and state == UNIX_CONNECTED:
            unknown.discard(inode)
    found["open"] |= {f"socket:{inode}" for inode in unknown & inodes(process)}
    return found


def test_the_running_daemon_listens_nowhere(
    tmp_path: Path, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    ear = ears(broker)
    command = [sys.executable, "-m", "edge", "run", "--camera", f"clip:{SAMPLE}"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*command, "--mqtt", broker.url],
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "MIEN_EVENTS__HEARTBEAT_S": "0.2"},
        ) as process,
    ):
        try:
            for count in range(1, 5):
                ear.wait("mien/mien/camera/camera/event", count)
                assert sockets(process.pid) == {"connected": {f"tcp:{broker.port}"}, "open": set()}
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_door_would_be_found(family: socket.AddressFamily, kind: socket.SocketKind) -> None:
    before = sockets(os.getpid())["open"]
    try:
        door = socket.socket(family, kind)
        door.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with door:
        if kind == socket.SOCK_STREAM:
            door.listen()
        (found,) = sockets(os.getpid())["open"] - before
    name = "tcp" if kind == socket.SOCK_STREAM else "udp"
    assert found.startswith(name + ("6:" if family == socket.AF_INET6 else ":"))


def test_a_unix_door_would_be_found(tmp_path: Path) -> None:
    before = sockets(os.getpid())["open"]
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "door"))
        door.listen()
        assert len(sockets(os.getpid())["open"] - before) == 1
