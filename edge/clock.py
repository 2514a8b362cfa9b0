"""The wall clock, kept out of everything but payloads.

Inside, time is monotonic: a clock that is set while the daemon runs must not age a track or
trip a watchdog. A payload says what the wall clock read, and whether it could be trusted.
"""

from __future__ import annotations

import ctypes
import time
from datetime import datetime, timezone

_TIME_ERROR = 5
"""What adjtimex(2) returns while the kernel's clock is not synchronised."""


def utc(time_s: float) -> str:
    """Return a monotonic time as RFC 3339 UTC with milliseconds, by the wall clock as it is now.

    A moment of the future is legal: a clip read at full speed is ahead of the clock.
    """
    moment = datetime.fromtimestamp(time.time() + time_s - time.monotonic(), tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def synchronised() -> bool:
    """Whether the kernel says that the wall clock is synchronised (NTP, PTP or GPS)."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        # struct timex with modes = 0 only reads; 512 bytes hold it on every architecture.
        state: int = libc.adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return False
    return 0 <= state < _TIME_ERROR
