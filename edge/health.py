"""How the device is doing: latency, frame rates, memory, board sensors, open problems.

Latencies go into histograms with buckets of equal ratio, not into a ring of samples: every
sample of the interval counts however many there are, memory is fixed (at most 6 kB a stage), and a
percentile is never off by more than `ERROR`. A report covers the time since the one before.

Durations are put into their buckets many at a time: one at a time, in the midst of a pipeline that
has the processor's caches to itself, costs several times as much.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import final

import numpy as np
import numpy.typing as npt

from edge import __version__, clock
from edge.overrun import Overruns
from edge.payloads import Drops, Health, Pace, Percentiles, Problem

IntArray = npt.NDArray[np.int64]

_STEPS_PER_OCTAVE = 8
_SHORTEST_S = 1e-6
_BUCKETS = 26 * _STEPS_PER_OCTAVE + 1
"""From 1 us to 67 s; what is shorter or longer counts as that."""

_BATCH = 128
"""Durations that wait to be counted, at most, of each stage."""

ERROR = 2.0 ** (0.5 / _STEPS_PER_OCTAVE) - 1.0
"""The largest relative error of a percentile: half a bucket, 4.4 %."""


@final
class Histogram:
    """Durations, counted in buckets of equal ratio."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._total = 0
        self._least_s = math.inf
        self._most_s = 0.0

    def add(self, seconds: Sequence[float]) -> None:
        """Count durations; a negative one counts as zero."""
        if not seconds:
            return
        self._counts += np.bincount(_buckets(seconds), minlength=_BUCKETS)
        self._total += len(seconds)
        self._least_s = min(self._least_s, max(min(seconds), 0.0))
        self._most_s = max(self._most_s, *seconds)

    def quantile(self, share: float) -> float:
        """Return the duration, in seconds, that `share` (0 to 1) of those counted do not exceed.

        The nearest-rank definition, to within `ERROR` for durations of 1 us to 67 s.

        Raises
        ------
        ValueError
            Nothing was counted.
        """
        if not self._total:
            raise ValueError("an empty histogram has no quantiles")
        rank = max(1, math.ceil(share * self._total))
        index = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle_s: float = _SHORTEST_S * 2.0 ** (index / _STEPS_PER_OCTAVE)
        return min(max(middle_s, self._least_s), self._most_s)

    def percentiles(self) -> Percentiles:
        """Return p50, p95 and p99 in milliseconds."""
        p50, p95, p99 = (round(self.quantile(share) * 1000, 3) for share in (0.5, 0.95, 0.99))
        return Percentiles(p50=p50, p95=p95, p99=p99)


def _buckets(seconds: Sequence[float]) -> IntArray:
    """Return the bucket of each duration."""
    octaves = np.log2(np.maximum(seconds, _SHORTEST_S) / _SHORTEST_S)
    nearest: IntArray = np.rint(octaves * _STEPS_PER_OCTAVE).astype(np.int64)
    return np.minimum(nearest, _BUCKETS - 1)


THROTTLED = {
    0x1: (
        "under-voltage",
        "the power supply sags below 4.63 V: use a stronger one or a better cable",
    ),
    0x2: ("frequency-capped", "the processor's frequency is capped"),
    0x4: ("throttled", "the processor is throttled: cool the board"),
    0x8: ("hot", "the soft temperature limit is reached: cool the board"),
}
"""What the low bits of a Raspberry Pi's get_throttled say of this moment.
https://www.raspberrypi.com/documentation/computers/os.html, vcgencmd get_throttled"""

_PLAUSIBLE_CELSIUS = (-40.0, 150.0)


@final
class Sensors:
    """What the kernel says of the board and of this process.

    Parameters
    ----------
    sys, proc
        Where sysfs and procfs are mounted.
    """

    def __init__(self, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._zones = sorted(sys.glob("class/thermal/thermal_zone*/temp"))
        # /sys/devices/platform/soc/soc:firmware/ on a Pi 4; the soc's name varies with the model.
        self._throttled = next(
            iter(sorted(sys.glob("devices/platform/soc*/*firmware*/get_throttled"))), None
        )
        self._names = (proc / "device-tree/model", sys / "class/dmi/id/product_name")
        self._statm = proc / "self/statm"

    def board(self) -> str:
        """Return the name the board gives itself, or `unknown`."""
        return next(filter(None, map(_line, self._names)), "unknown")

    def celsius(self) -> float | None:
        """Return the temperature of the hottest zone, or None where none can be read."""
        low, high = _PLAUSIBLE_CELSIUS
        readings = [text for text in map(_line, self._zones) if text.lstrip("-").isdigit()]
        # A zone that is switched off answers with nonsense on some boards.
        plausible = [celsius for text in readings if low < (celsius := int(text) / 1000) < high]
        return max(plausible, default=None)

    def throttling(self) -> int | None:
        """Return the Raspberry Pi firmware's bits, or None on any other board."""
        text = _line(self._throttled) if self._throttled else ""
        try:
            return int(text, 16) if text else None
        except ValueError:
            return None

    def rss_mb(self) -> float:
        """Return this process's resident memory in units of 10^6 bytes; 0 where unknown."""
        fields = _line(self._statm).split()
        return round(int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1) if fields else 0.0


def _line(file: Path) -> str:
    """Return a kernel file's first line, or nothing where it is absent or busy."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").rstrip("\0").strip()
    except OSError:
        return ""


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of mien, python and those of `libraries` that are installed."""
    installed = {name: _version(name) for name in libraries}
    return {
        "mien": __version__,
        "python": platform.python_version(),
        **{name: version for name, version in installed.items() if version is not None},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class _Open:
    """A problem that lasts since `since_s` on the monotonic clock."""

    text: str
    since_s: float


@final
class Monitor:
    """Collects what happens and makes health reports of it. Safe between threads.

    Parameters
    ----------
    boot_id
        As in events.
    cameras
        Their names; each has a frame rate in every report.
    sensors
        The board.
    now
        The monotonic clock.
    budgets_ms
        What the 95th percentile of a stage may be; longer, for a minute, is a problem.
    """

    def __init__(
        self,
        boot_id: str,
        cameras: Iterable[str],
        *,
        sensors: Sensors | None = None,
        now: Callable[[], float] = monotonic,
        budgets_ms: Mapping[str, float] | None = None,
    ) -> None:
        self._boot_id = boot_id
        self._sensors = sensors or Sensors()
        self._now = now
        self._begun_s = now()
        self._reported_s = self._begun_s
        self._lock = threading.Lock()
        self._stages: dict[str, Histogram] = {}
        self._seconds: dict[str, list[float]] = {}
        self._frames = dict.fromkeys(cameras, 0)
        self._paces: dict[str, Pace] = dict.fromkeys(self._frames, "full")
        self._problems: dict[str, _Open] = {}
        self._overruns = Overruns(budgets_ms or {})

    def observe(self, stage: str, seconds: float) -> None:
        """Count one run of a stage; a `pipeline.StageObserver`."""
        with self._lock:
            uncounted = self._seconds.setdefault(stage, [])
            uncounted.append(seconds)
            if len(uncounted) >= _BATCH:
                self._count(stage)

    def _count(self, stage: str) -> None:
        self._stages.setdefault(stage, Histogram()).add(self._seconds.pop(stage))

    def frame(self, camera: str) -> None:
        """Count a frame that was looked at."""
        with self._lock:
            self._frames[camera] += 1

    def cameras(self, names: Iterable[str]) -> None:
        """Have these cameras from now on; those that were known keep their counts."""
        with self._lock:
            self._frames = {name: self._frames.get(name, 0) for name in names}
            self._paces = {name: self._paces.get(name, "full") for name in self._frames}

    def pace(self, camera: str, pace: Pace) -> None:
        """Take in why a camera is looked at as often as it is."""
        with self._lock:
            self._paces[camera] = pace

    def problem(self, code: str, text: str) -> None:
        """Open a problem; for one that is open already, only the text is renewed."""
        with self._lock:
            known = self._problems.get(code)
            self._problems[code] = _Open(text, known.since_s if known else self._now())

    def solved(self, code: str) -> None:
        """Close a problem, if it is open."""
        with self._lock:
            self._problems.pop(code, None)

    def report(
        self, *, frames_dropped: Mapping[str, int], events_dropped: int, spool_depth: int
    ) -> Health:
        """Return the report of the time since the last one, and begin a new interval.

        Parameters
        ----------
        frames_dropped
            Per camera, since the process began.
        events_dropped
            Since the process began.
        spool_depth
            How many events wait for the broker.
        """
        bits = self._sensors.throttling()
        self._renew_throttling(bits or 0)
        with self._lock:
            now = self._now()
            elapsed_s = max(now - self._reported_s, 1e-9)
            fps = {camera: round(count / elapsed_s, 2) for camera, count in self._frames.items()}
            for stage in list(self._seconds):
                self._count(stage)
            stages, paces = self._stages, dict(self._paces)
            self._stages, self._frames = {}, dict.fromkeys(self._frames, 0)
            begun_s, self._reported_s = self._reported_s, now
        latency_ms = {stage: each.percentiles() for stage, each in sorted(stages.items())}
        self._renew_overrun(self._overruns.heard(latency_ms, begun_s, now))
        with self._lock:
            problems = dict(self._problems)
        return Health(
            boot_id=self._boot_id,
            ts=clock.utc(now),
            clock_synced=clock.synchronised(),
            uptime_s=round(now - self._begun_s, 1),
            fps=fps,
            pace=paces,
            latency_ms=latency_ms,
            rss_mb=self._sensors.rss_mb(),
            celsius=self._sensors.celsius(),
            throttled=None if bits is None else any(bits & bit for bit in THROTTLED),
            drops=Drops(frames=dict(frames_dropped), events=events_dropped),
            spool_depth=spool_depth,
            problems=tuple(
                Problem(code=code, text=each.text, since=clock.utc(each.since_s))
                for code, each in problems.items()
            ),
        )

    def _renew_overrun(self, text: str | None) -> None:
        if text is None:
            self.solved("over-budget")
        else:
            self.problem("over-budget", text)

    def _renew_throttling(self, bits: int) -> None:
        for bit, (code, text) in THROTTLED.items():
            if bits & bit:
                self.problem(code, text)
            else:
                self.solved(code)
