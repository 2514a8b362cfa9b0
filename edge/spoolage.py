"""How old an event on disk is, whatever the wall clock did meanwhile.

A board without a clock of its own starts in the past and leaps when the network tells it the
time, and somebody may set it wrong. So an event of this boot of the kernel is as old as the
monotonic clock says. One of an earlier boot is as old as the wall clock says only where that was
synchronised both then and now; otherwise it counts from the boot, because an event is rather kept
for too long than dropped too soon.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

from edge import clock
from edge.datatypes import Event
from edge.spoolfile import Row

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot(file: Path = _BOOT_ID) -> bytes:
    """Return what tells this boot of the kernel from every other, 16 bytes."""
    try:
        return bytes.fromhex(file.read_text(encoding="ascii").strip().replace("-", ""))
    except (OSError, ValueError):
        # Unknown: no other process shares it, so that all else is of earlier boots.
        return os.urandom(16)


def age_s(row: Row, event: Event, boot_now: bytes) -> float:
    """Return how long ago an event was appended, in seconds; rather too little than too much."""
    now_s = time.monotonic()
    if row.boot == boot_now:
        return now_s - row.appended_s
    if not (event.clock_synced and clock.synchronised()):
        return now_s
    then = datetime.fromisoformat(event.ts.replace("Z", "+00:00"))
    return max(time.time() - then.timestamp(), now_s)
