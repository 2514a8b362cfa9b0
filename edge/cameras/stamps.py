"""When a live camera's picture was taken, on the clock that latency is counted by.

Drivers stamp their pictures, but not all by the same clock, and some not at all. A stamp is
believed where it is plausible: not in the future, and no older than a picture can be that a
thread of its own has been waiting for.
"""

from __future__ import annotations

import math
import time

OLDEST_S = 1.0
"""A picture waits for a frame or two in the driver's queue; a stamp older than this is of another
clock."""

_STEP_S = 1e-6
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class FrameClock:
    """Gives each picture of one camera its time; times strictly increase."""

    def __init__(self) -> None:
        self._last_s = -math.inf

    def captured_s(self, *stamps_s: float) -> float:
        """Return when a picture was taken, in seconds of `time.monotonic()`.

        Parameters
        ----------
        stamps_s
            What the driver said, in seconds of the monotonic clock, the likeliest reading first.

        Returns
        -------
        float
            The first plausible stamp; now, where there is none.
        """
        now_s = time.monotonic()
        plausible = (stamp for stamp in stamps_s if now_s - OLDEST_S <= stamp <= now_s)
        taken_s = max(next(plausible, now_s), self._last_s + _STEP_S)
        self._last_s = taken_s
        return taken_s


def from_boot_clock(stamp_s: float) -> float:
    """Turn seconds since boot (CLOCK_BOOTTIME) into seconds of `time.monotonic()`.

    The two differ by the time that the machine was suspended, which only the former counts.
    """
    return stamp_s - (time.clock_gettime(_BOOT_CLOCK) - time.monotonic())
