"""A lobby with a device in it, all of real processes: broker, camera, `mien run`, a subscriber.

Between device and broker lies a proxy, so that the device comes back to a broker that was restarted
only once the subscriber has: what arrives is to be counted, and a broker without stored sessions
keeps nothing for who is away.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
# Imported by a program too, for which nobody puts the tests' folders on the path.
sys.path[:0] = [str(ROOT), str(TESTS), str(TESTS / "edge")]

from realbroker import (  # noqa: E402
    CONTINUE,
    STOP,
    Ear,
    Mosquitto,
    eventually,
    free_port,
    program,
)
from tools.faultproxy import FaultProxy  # noqa: E402

P = "mien/lobby"
EVENTS = f"{P}/camera/door/event"

BROKER = "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0"
"""It passes an event on before it acknowledges it, so that being killed between the two loses
nothing; what it has acknowledged would be the broker's own to keep."""

CONFIGURATION = """\
device_id = "lobby"
[[camera]]
name = "door"
uri = "http://127.0.0.1:{camera}/cam.mjpg"
[mqtt]
url = "{broker}"
[spool]
path = "{spool}"
[events]
heartbeat_s = {heartbeat_s}
[recovery]
retry_longest_s = 1.0
"""

CALM_S, BUSY_S = 5.0, 0.1
"""How often a face is told of that does not change: the default, and the shortest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The device's process at one moment, `at_s` seconds after the soak began.

    Memory is in units of 10^6 bytes, `cpu_s` is what all threads have used so far, `spool` how many
    events are on disk.
    """

    at_s: float
    rss_mb: float
    peak_mb: float
    anonymous_mb: float
    cpu_s: float
    descriptors: int
    threads: int
    spool: int


class Lobby:
    """All processes, running between `__enter__` and `__exit__`.

    Parameters
    ----------
    folder
        For their files; empty.
    mien
        What Python runs as the device.
    """

    def __init__(self, folder: Path, mien: Sequence[str] = ("-m", "edge")) -> None:
        self.folder = folder
        self._mien = mien
        self.events_file = folder / "events.jsonl"
        self._configuration = folder / "mien.toml"
        self._spool = folder / "spool"
        self._camera_port = free_port()
        self._broker = Mosquitto(program("mosquitto", "mosquitto"), folder, BROKER)
        self._log = (folder / "mien.log").open("ab")
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Lobby:
        with ExitStack() as stack:
            stack.callback(self._log.close)
            stack.callback(self._broker.kill)
            self._broker.start()
            self._proxy = FaultProxy(self._broker.port)
            stack.callback(self._proxy.close)
            self.ear = Ear(self._broker.port, qos=0)
            stack.callback(self.ear.close)
            stack.callback(self._kill_processes)
            self.camera_returns()
            self._configure(CALM_S)
            command = [sys.executable, *self._mien, "run", "--config", str(self._configuration)]
            self.started_s = time.monotonic()
            self._device = self._started([*command, "--events", str(self.events_file)])
            self.ear.wait(f"{P}/health")
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _kill_processes(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    @property
    def ended(self) -> bool:
        """Whether the device is no more."""
        return self._device.poll() is not None

    @property
    def log(self) -> str:
        return (self.folder / "mien.log").read_text()

    @property
    def emitted(self) -> list[dict[str, Any]]:
        """Every event, as the device wrote it to a file before anything else was done with it."""
        return [json.loads(line) for line in self.events_file.read_text().splitlines()]

    def stop(self) -> int:
        """End the device as systemd does, hear it out, and return its exit code."""
        self._device.send_signal(signal.SIGTERM)
        code = self._device.wait(30)
        if code == 0:
            eventually(lambda: self.ear.texts(f"{P}/availability")[-1] == "offline", "the goodbye")
        return code

    def sample(self, begun_s: float) -> Sample:
        """Look at the device's process."""
        proc = Path(f"/proc/{self._device.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        megabytes = {
            key: int(status[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM", "RssAnon")
        }
        ticks = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
        return Sample(
            at_s=time.monotonic() - begun_s,
            rss_mb=megabytes["VmRSS"],
            peak_mb=megabytes["VmHWM"],
            anonymous_mb=megabytes["RssAnon"],
            cpu_s=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
            descriptors=len(list((proc / "fd").iterdir())),
            threads=int(status["Threads"]),
            spool=self._depth(),
        )

    def _depth(self) -> int:
        with sqlite3.connect(f"file:{self._spool / 'events.db'}?mode=ro", uri=True) as spool:
            (count,) = spool.execute("SELECT count(*) FROM events").fetchone()
        spool.close()
        return int(count)

    def burst(self) -> None:
        """Put four faces in view, and have each told of ten times a second, by a reload."""
        self._camera.send_signal(signal.SIGUSR1)
        self._reload(BUSY_S)

    def calm(self) -> None:
        """Undo `burst`, by another reload."""
        self._camera.send_signal(signal.SIGUSR2)
        self._reload(CALM_S)

    def broker_dies(self) -> None:
        self._proxy.refusing = True
        self.ear.forget()
        self._broker.kill()

    def broker_returns(self) -> None:
        self._broker.start()
        self.ear.subscribed()
        self._proxy.refusing = False

    def broker_stops(self) -> None:
        self._broker.signal(STOP)

    def broker_continues(self) -> None:
        self._broker.signal(CONTINUE)

    def camera_dies(self) -> None:
        self._camera.kill()
        self._camera.wait()

    def camera_returns(self) -> None:
        server = str(TESTS / "tools" / "lobbycamera.py")
        self._camera = self._started([sys.executable, server, str(self._camera_port)])
        eventually(self._camera_listens, "the camera")

    def _camera_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._camera_port)) == 0

    def _reload(self, heartbeat_s: float) -> None:
        self._configure(heartbeat_s)
        self._device.send_signal(signal.SIGHUP)

    def _configure(self, heartbeat_s: float) -> None:
        self._configuration.write_text(
            CONFIGURATION.format(
                camera=self._camera_port,
                broker=self._proxy.url,
                spool=self._spool,
                heartbeat_s=heartbeat_s,
            )
        )

    def _started(self, command: list[str]) -> subprocess.Popen[bytes]:
        # Of the terminal's, a reload would take SIGHUP for its end.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._processes.append(process)
        return process
