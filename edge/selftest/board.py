"""The board: its clock, its temperature and power, and the disk that events wait on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from edge import clock, spool
from edge.health import THROTTLED
from edge.payloads import SelfTestCheck
from edge.selftest.subject import Subject, at_least, at_most, said

SYNC_MS = 1000.0
"""How long the disk may take to synchronise a little: the spool asks for it once a second."""

_PROBE_BYTES = 4096


def wall_clock(_subject: Subject) -> Iterator[SelfTestCheck]:
    """Say whether event times can be trusted; nothing else depends on the wall clock."""
    if clock.synchronised():
        yield said("clock", "passed", "synchronised")
    else:
        yield said("clock", "warned", "not synchronised, so event times are not right; set NTP up")


def warmth(subject: Subject) -> Iterator[SelfTestCheck]:
    """Hold the hottest sensor against the temperature at which the daemon slows down."""
    celsius = subject.sensors.celsius()
    if celsius is None:
        yield said("temperature", "skipped", "the board has no sensor")
        return
    hot = subject.settings.cadence.hot_celsius
    yield at_most("temperature", celsius, hot, "degrees", cure="too hot: cool the board")


def throttling(subject: Subject) -> Iterator[SelfTestCheck]:
    """Say whether the board runs slower than it could, for heat or lack of power."""
    bits = subject.sensors.throttling()
    if bits is None:
        yield said("throttling", "skipped", "only a Raspberry Pi says")
        return
    found = [text for bit, (_, text) in THROTTLED.items() if bits & bit]
    yield said("throttling", "failed" if found else "passed", "; ".join(found) or "none")


def disk(subject: Subject) -> Iterator[SelfTestCheck]:
    """Write and synchronise a little where the spool is, and see whether it has room to grow."""
    folder = spool.folder_of(subject.settings)
    if folder is None:
        yield said("spool-writable", "skipped", "no spool: events that wait are in memory")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        took_ms = 1000 * _write(folder)
        free = shutil.disk_usage(folder).free
        used = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    except OSError as exc:
        yield said("spool-writable", "failed", f"{folder}: {exc.strerror}; events wait in memory")
        return
    slow = f"{folder}: a slow disk; use another card, or a tmpfs"
    yield at_most("spool-writable", took_ms, SYNC_MS, "ms", cure=slow)
    most_mb = subject.settings.spool.most_mb
    needed_mb = max(most_mb - used / 1e6, 0.0)
    full = f"{folder}: not enough for spool.most_mb = {most_mb}; free some, or lower it"
    yield at_least("spool-room", free / 1e6, needed_mb, "MB", cure=full)


def _write(folder: Path) -> float:
    """Return how many seconds it took to have a few bytes on the disk; nothing is left of them."""
    begun = perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(os.urandom(_PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return perf_counter() - begun
