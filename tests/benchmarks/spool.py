"""What keeping events on disk costs: python tests/benchmarks/spool.py [FOLDER].

Events are appended as fast as they are taken, one at a time as the pipeline does, each of them
with the kernel when `append` returns, while another thread takes and acknowledges them as the
publisher does. For comparison the same with an outbox in memory. FOLDER says which disk; its
synchronisation is timed first, because that is what differs between disks.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time, sleep

import numpy as np

from edge.datatypes import Event, EventBox, Latency, TrackInfo
from edge.outbox import MemoryOutbox, Outbox
from edge.spool import Spool

EVENTS = 20_000
PACED = 1_000
"""A second; the load of the issue."""

EVENT = Event(
    id="0123456789abcdef-1",
    seq=1,
    boot_id="0123456789abcdef",
    type="update",
    camera="entrance",
    track=TrackInfo(id=17, age_ms=12_345),
    box=EventBox(x=0.4123, y=0.3213, width=0.1534, height=0.2731),
    emotion="happy",
    confidence=0.8123,
    probs=dict.fromkeys(
        ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), 0.1429
    ),
    valence=0.4312,
    ts="2026-01-02T03:04:05.678Z",
    clock_synced=True,
    latency_ms=Latency(capture=8.1, detect=2.3, crop=0.2, frame=1.1, head=0.1, total=12.345),
    bundle="mien-consensus@1.0.0+0123456789ab",
)


def drained(outbox: Outbox, done: threading.Event) -> None:
    """Be a broker that acknowledges everything at once, twenty in flight."""
    while not (done.is_set() and outbox.depth == 0):
        held = outbox.take(20)
        for each in held:
            outbox.acknowledge(each.number)
        if not held:
            sleep(0.002)


def measured(outbox: Outbox, label: str, *, acknowledge: bool, pace: int = 0) -> None:
    done = threading.Event()
    drain = threading.Thread(target=drained, args=(outbox, done))
    events = [replace(EVENT, id=f"{EVENT.boot_id}-{seq}", seq=seq) for seq in range(1, EVENTS + 1)]
    waits = np.zeros(EVENTS)
    if acknowledge:
        drain.start()
    begun, cpu = perf_counter(), process_time()
    for index, event in enumerate(events):
        if pace:
            sleep(max(begun + index / pace - perf_counter(), 0.0))
        before = perf_counter()
        outbox.append(event)
        waits[index] = perf_counter() - before
    took, cpu = perf_counter() - begun, process_time() - cpu
    unsaved = outbox.unsaved
    done.set()
    if acknowledge:
        drain.join()
    p50, p99, most = (np.percentile(waits, share) * 1000 for share in (50, 99, 100))
    print(
        f"{label:34s} {EVENTS / took:8.0f} {cpu / EVENTS * 1e6:10.0f} us"
        f" {p50:8.3f} {p99:8.3f} {most:8.1f}   {unsaved:6d} {outbox.dropped:6d}"
    )
    outbox.close()


def synchronisation_ms(folder: Path) -> float:
    times = []
    with (folder / "probe").open("wb") as probe:
        for _ in range(20):
            probe.write(bytes(4096))
            probe.flush()
            begun = perf_counter()
            os.fdatasync(probe.fileno())
            times.append(perf_counter() - begun)
    return float(np.median(times)) * 1000


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = Path(scratch)
        print(f"{folder}: 4 kB are synchronised in {synchronisation_ms(place):.2f} ms")
        print(f"{'':34s} events/s   CPU/event  wait p50  p99 ms   max ms  unsaved dropped")

        def spool(name: str) -> Spool:
            return Spool(place / name, most_bytes=64_000_000, most_age_s=3600.0, memory=1000)

        measured(MemoryOutbox(EVENTS), "in memory", acknowledge=True)
        measured(spool("a"), "on disk, nobody takes them", acknowledge=False)
        measured(spool("b"), "on disk, taken and acknowledged", acknowledge=True)
        measured(spool("c"), f"on disk, {PACED} a second", acknowledge=True, pace=PACED)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
