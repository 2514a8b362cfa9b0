"""A daemon under a service manager: a real process, a real notify socket, a camera that obeys."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from realbroker import eventually

ROOT = Path(__file__).parents[2]
DOUBLES = Path(__file__).parent / "doubles.py"
P = "mien/lobby"
WATCHDOG_S = 1.8
"""A sign of life is due every 0.6 s; the loop looks at its clocks every half second."""


class Manager:
    """Listens as systemd does, and notes when it heard what."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self.heard: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(0.05)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                text = self._socket.recv(65536).decode()
            except TimeoutError:
                continue
            self.heard.append((time.monotonic(), text))

    def times(self, message: str) -> list[float]:
        return [at_s for at_s, text in self.heard if text == message]

    @property
    def status(self) -> str:
        said = [text for _, text in self.heard if text.startswith("STATUS=")]
        return said[-1].removeprefix("STATUS=") if said else ""

    def wait(self, message: str, count: int = 1) -> None:
        eventually(lambda: len(self.times(message)) >= count, f"{count} {message}; {self.heard}")

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._socket.close()


class Device:
    """A daemon with one camera that does what a file says."""

    def __init__(self, folder: Path, manager: Manager) -> None:
        self.control = folder / "control"
        self.events_file = folder / "events.jsonl"
        self.config = folder / "mien.toml"
        self.manager = manager
        self.uri = f"double:{self.control}"
        self.mqtt = "mqtt://127.0.0.1:1"
        self.process: subprocess.Popen[str] | None = None

    def become(self, mode: str) -> None:
        self.control.write_text(mode)

    def start(
        self,
        mode: str = "ok",
        *,
        extra: str = "",
        stdin: int = subprocess.DEVNULL,
        **environ: str,
    ) -> None:
        self.become(mode)
        self.config.write_text(
            'device_id = "lobby"\n[events]\nheartbeat_s = 0.5\nsettle_s = 0.1\n'
            f'[[camera]]\nname = "door"\nuri = "{self.uri}"\nfrozen_s = 0.5\n'
            f'[mqtt]\nurl = "{self.mqtt}"\n'
            "[recovery]\nstalled_s = 0.5\nhang_s = 1.0\nretry_longest_s = 0.3\n" + extra
        )
        command = [sys.executable, str(DOUBLES), "run", "--config", str(self.config)]
        self.process = subprocess.Popen(
            [*command, "--events", str(self.events_file)],
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{DOUBLES.parent}",
                "NOTIFY_SOCKET": self.manager.address,
                "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
                **environ,
            },
        )

    @property
    def events(self) -> list[dict[str, object]]:
        if not self.events_file.exists():
            return []
        return [json.loads(line) for line in self.events_file.read_text().splitlines()]

    def count(self, kind: str) -> int:
        return sum(event["type"] == kind for event in self.events)

    def stop(self) -> tuple[int, float, str]:
        """Send SIGTERM; return exit code, seconds, and what was logged."""
        assert self.process is not None
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, time.monotonic() - began_s, log

    def whole(self) -> None:
        """Every track that was told has begun once and ended once, and no event is missing."""
        events = self.events
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        told = Counter((event["type"], event["track"]["id"]) for event in events)  # type: ignore[index]
        tracks = {track for _, track in told}
        assert {told["start", track] for track in tracks} <= {1}
        assert {told["end", track] for track in tracks} <= {1}
