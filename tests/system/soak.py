"""A device under faults for long: python tests/system/soak.py [--minutes 60] [--out FOLDER]

Runs `mien` in a lobby (`lobby.py`) where every minute brings the same: a crowd and a reload, a
broker that is killed, a camera that is, another reload, a broker that hangs. Writes `soak.csv` (a
line a minute), `samples.csv` (one a second), `findings.json` and `soak.svg` into FOLDER. Exits 1,
and says why, where something grows or falls from minute to minute, an event is missing, or memory
is too much (`soak_report.py`).
"""

# ruff: noqa: T201  # a program prints

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from lobby import EVENTS, Lobby, P, Sample
from soak_report import CYCLE_S, Report, Watched, judged, written
from tools.trend import LEAST

MINUTE = (
    (0.0, Lobby.burst),
    (5.0, Lobby.broker_dies),
    (10.0, Lobby.broker_returns),
    (20.0, Lobby.camera_dies),
    (24.0, Lobby.camera_returns),
    (30.0, Lobby.calm),
    (35.0, Lobby.broker_stops),
    (43.0, Lobby.broker_continues),
)
"""What happens when, in seconds. A reload publishes health at once, so that the two reports of a
minute always have the same faults in them, and come while the broker is there."""


def soak(minutes: int, folder: Path, mien: Sequence[str] = ("-m", "edge")) -> Report:
    """Run a device for so many minutes, in a folder of its own, and judge what was seen."""
    with Lobby(folder, mien) as lobby:
        begun_s = time.monotonic()
        watched = Watched(minutes, before_s=begun_s - lobby.started_s)
        with _sampling(lobby, begun_s, watched.samples):
            for minute, (at_s, happens) in product(range(minutes), MINUTE):
                _until(begun_s + minute * CYCLE_S + at_s)
                if lobby.ended:
                    break
                happens(lobby)
                watched.happened.append((time.monotonic() - begun_s, happens.__name__))
            else:
                _until(begun_s + minutes * CYCLE_S)
        watched.exit_code = lobby.stop()
        watched.log = lobby.log
        watched.emitted = lobby.emitted
        watched.heard = lobby.ear.json(EVENTS)
        watched.health = lobby.ear.json(f"{P}/health")
    return judged(watched)


def _until(moment_s: float) -> None:
    time.sleep(max(moment_s - time.monotonic(), 0.0))


@contextmanager
def _sampling(lobby: Lobby, begun_s: float, samples: list[Sample]) -> Iterator[None]:
    """Look at the device once a second, for as long as it lives."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(1.0) and not lobby.ended:
            samples.append(lobby.sample(begun_s))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description="run a device for long, and fail on a slope")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("soak"))
    arguments = parser.parse_args()
    if arguments.minutes <= LEAST:
        parser.error(f"--minutes: one to warm up and {LEAST} that show a slope, or more")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = soak(arguments.minutes, Path(folder))
    written(report, arguments.out)
    for finding in report.findings:
        print(f"{'passed' if finding.passed else 'FAILED'}  {finding.text}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
