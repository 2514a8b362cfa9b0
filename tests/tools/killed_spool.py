"""Kill processes in the midst of spool writes, count what is lost: killed_spool.py FOLDER ROUNDS.

Each round a child appends events to the spool and tells each one through a pipe once `append` has
returned, while a second thread of it takes and acknowledges some, telling so before. At a random
moment it is killed. Then the spool is read: what was told and not acknowledged must be there, in
order. Synchronisation and moving the log are made far more frequent than they are, so that many
kills hit them. Prints the counts as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge import spoolfile, spoolsync
from edge.datatypes import Event, EventBox, Latency, TrackInfo
from edge.spool import Spool

EVENT = Event(
    id="boot-1",
    seq=1,
    boot_id="boot",
    type="update",
    camera="door",
    track=TrackInfo(id=1, age_ms=1),
    box=EventBox(x=0.1, y=0.2, width=0.3, height=0.4),
    emotion="happy",
    confidence=0.9,
    probs={"happy": 0.9, "sad": 0.1},
    valence=0.6,
    ts="2026-01-02T03:04:05.678Z",
    clock_synced=True,
    latency_ms=Latency(capture=1.0, detect=2.0, crop=0.1, frame=1.0, head=0.1, total=4.5),
    bundle="test@1+0",
)


def opened(folder: Path) -> Spool:
    return Spool(folder, most_bytes=64_000_000, most_age_s=1e6, memory=10_000, window=50)


def child(folder: Path, first: int, pipe: int) -> None:
    outbox = opened(folder)

    def acknowledge() -> None:
        while True:
            for held in outbox.take(3):
                os.write(pipe, f"-{held.event.seq}\n".encode())
                outbox.acknowledge(held.number)
            time.sleep(0.005)

    threading.Thread(target=acknowledge, daemon=True).start()
    seq = first
    while True:
        outbox.append(replace(EVENT, id=f"boot-{seq}", seq=seq))
        # Where the disk is behind, and says so, `append` promises nothing.
        sign = "~" if outbox.unsaved else "+"
        os.write(pipe, f"{sign}{seq}\n".encode())
        seq += 1


def told_until_killed(folder: Path, first: int, after_s: float) -> Iterator[str]:
    """Run a child, kill it some time after it has begun, and return what it told."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        child(folder, first, writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        begun = lines.readline()
        threading.Timer(after_s, os.kill, (process, signal.SIGKILL)).start()
        told = [begun, *lines]
    os.waitpid(process, 0)
    yield from (line.strip() for line in told if line.endswith("\n"))


def left(folder: Path) -> list[int]:
    """Read what is in the spool, and leave nothing there."""
    outbox, found = opened(folder), []
    while outbox.depth:
        for held in outbox.take(1000):
            found.append(held.event.seq)
            outbox.acknowledge(held.number)
    outbox.close()
    return found


def main(folder: Path, rounds: int) -> None:
    spoolsync.SYNC_S = 0.01
    spoolfile._LOG_SHORT, spoolfile._LOG_LONG = 1 << 16, 1 << 17  # noqa: SLF001  # see above
    dice = random.Random(rounds)  # noqa: S311  # no secret
    counts = dict.fromkeys(("rounds", "appended", "lost", "out_of_order", "invented", "late"), 0)
    newest = 0
    for _ in range(rounds):
        told = list(told_until_killed(folder, newest + 1, dice.uniform(0.0, 0.15)))
        appended, arrived, late = (
            {int(line[1:]) for line in told if line[0] == sign} for sign in "+-~"
        )
        found = left(folder)
        # The last one may have been written and not told of yet.
        known = set(range(newest + 1, max([*appended, *arrived, *late, newest]) + 2))
        counts["rounds"] += 1
        counts["appended"] += len(appended)
        counts["lost"] += len(appended - arrived - set(found))
        counts["out_of_order"] += found != sorted(set(found))
        counts["invented"] += len(set(found) - known)
        counts["late"] += len(late)
        newest = max([*appended, *arrived, *found, newest])
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
