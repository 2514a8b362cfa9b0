"""How long frames take, while nothing else runs and while all cores are busy, and what they leave.

A picture with a face, out of the sample clip, is shown to the device's own pipeline again and
again. Frame times go on by a tenth of a second, so that the head steps at each, and the detector
looks at each whatever `detector.every` says: every run is a whole path at its longest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import final

import msgspec
import numpy as np

from edge.boards import SHARES
from edge.cameras import open_uri
from edge.datatypes import Frame
from edge.errors import MienError
from edge.events import EventFactory
from edge.payloads import Percentiles, SelfTestCheck
from edge.pipeline import Models, Pipeline
from edge.reader import prepared
from edge.selftest.subject import Subject, at_most
from edge.settings import Camera, Limits, Settings, Tracker

SAMPLE = Path(__file__).parents[1] / "samples" / "portrait.webm"
_WITH_A_FACE = 30
"""The number of a frame of the sample in which the face is there and near."""

BOOT_RUNS, FULL_RUNS = 20, 200
BOOT_S, FULL_S = 1.0, 2.0
"""How many runs at most, and for how long at most, in seconds."""

LEAK_KB = 2.0
"""How much memory may grow with a frame, in kB. The smallest thing a frame could leave behind is
a tile of 2.3 kB."""

_WARM_UP = 5
_MEMORY_ROUNDS = 8
_ROUND_RUNS = 50
_STEP_S = 0.1
_SLOW = "slower than this board should be; see what else runs, its cooling and its power supply"


@final
class Runs:
    """Runs of the whole path: `count` of them so far, and `seconds` that each stage took lately.

    What the owner asks of faces (`quality`, `tracker`) may shut the sample's out, and costs the
    same either way: here, the defaults hold.

    Raises
    ------
    MienError
        The detector finds no face in the sample.
    """

    def __init__(self, settings: Settings, models: Models) -> None:
        self._frame = _sample()
        self.count = 0
        self.seconds: dict[str, list[float]] = {}
        self._pipeline = Pipeline(
            "selftest",
            msgspec.structs.replace(settings, quality=Limits(), tracker=Tracker()),
            models,
            EventFactory("selftest", models.bundle.ident),
            observe=lambda stage, seconds: self.seconds.setdefault(stage, []).append(seconds),
        )
        for _ in range(_WARM_UP):
            self.once()
        if "head" not in self.seconds:
            raise MienError(
                "the detector finds no face in the sample clip; leave detector.score out, or "
                "lower it"
            )

    def once(self) -> None:
        """Take one frame the whole path."""
        self.count += 1
        frame = replace(self._frame, time_s=self.count * _STEP_S, captured_s=monotonic())
        self._pipeline(frame, look=True)

    def measure(self, runs: int, longest_s: float) -> Mapping[str, Percentiles]:
        """Run until there are enough runs or it has taken long enough; return each stage's time."""
        self.seconds.clear()
        until_s = monotonic() + longest_s
        for _ in range(runs):
            self.once()
            if monotonic() > until_s:
                break
        return {stage: percentiles(self.seconds[stage]) for stage in SHARES}


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Return p50, p95 and p99 of durations, in milliseconds."""
    p50, p95, p99 = (round(float(each) * 1000, 3) for each in np.percentile(seconds, [50, 95, 99]))
    return Percentiles(p50=p50, p95=p95, p99=p99)


def idle(subject: Subject) -> Iterator[SelfTestCheck]:
    """Hold each stage, and the whole path, against the board's budget.

    A board that is just starting is anything but idle, and so is one whose daemon runs: then the
    budget is the busy one.
    """
    if subject.models is None:
        return
    runs = Runs(subject.settings, subject.models)
    if subject.quick:
        yield from judged("boot", runs.measure(BOOT_RUNS, BOOT_S), subject.board.busy_ms)
    elif subject.beside:
        yield from judged("beside", runs.measure(BOOT_RUNS, BOOT_S), subject.board.busy_ms)
    else:
        yield from judged("idle", runs.measure(FULL_RUNS, FULL_S), subject.board.idle_ms)


def busy(subject: Subject) -> Iterator[SelfTestCheck]:
    """Do the same while as many processes as there are cores do nothing but count."""
    if subject.models is None:
        return
    runs = Runs(subject.settings, subject.models)
    with all_cores_busy(FULL_S + 1.0):
        found = runs.measure(FULL_RUNS, FULL_S)
    yield from judged("busy", found, subject.board.busy_ms)


def judged(
    load: str, found: Mapping[str, Percentiles], budgets_ms: Mapping[str, float]
) -> Iterator[SelfTestCheck]:
    """Hold the 95th percentile of each stage against its budget."""
    for stage, each in found.items():
        name, budget = f"latency-{load}-{stage}", budgets_ms[stage]
        yield at_most(name, each.p95, budget, "ms", cure=_SLOW, percentiles=each)


@contextmanager
def all_cores_busy(longest_s: float) -> Iterator[None]:
    """Keep every core busy; each process ends by itself after `longest_s`, whatever becomes of us.

    Returns once they run.
    """
    spin = (
        "import time\nprint(flush=True)\n"
        f"until = time.monotonic() + {longest_s}\n"
        "while time.monotonic() < until: pass"
    )
    processes = [
        subprocess.Popen(  # noqa: S603  # our own interpreter
            [sys.executable, "-I", "-S", "-c", spin], stdout=subprocess.PIPE
        )
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        for process in processes:
            assert process.stdout is not None  # noqa: S101  # it is a pipe
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def memory(subject: Subject) -> Iterator[SelfTestCheck]:
    """See whether resident memory grows over repeated runs."""
    if subject.models is None:
        return
    runs = Runs(subject.settings, subject.models)
    frames, rss_mb = [], []
    for _ in range(_MEMORY_ROUNDS):
        runs.measure(_ROUND_RUNS, 1.0)
        frames.append(runs.count)
        rss_mb.append(subject.sensors.rss_mb())
    # The first round fills caches and pools.
    yield at_most(
        "memory-slope",
        max(slope_kb(frames[1:], rss_mb[1:]), 0.0),
        LEAK_KB,
        "kB/frame",
        cure="memory grows with every frame: report it, with the output of mien bench",
    )


def slope_kb(frames: Sequence[int], rss_mb: Sequence[float]) -> float:
    """Return the slope of memory in kB a frame: the median of those between neighbouring moments.

    A leak grows in every round; what an allocator takes once, in the midst, is none.

    Parameters
    ----------
    frames
        How many there had been at each of two moments or more; it rises.
    rss_mb
        The memory at those.
    """
    return float(np.median(1000 * np.diff(rss_mb) / np.diff(frames)))


def _sample() -> Frame:
    """Return the picture with a face, prepared as a camera's would be."""
    clip = open_uri(f"clip:{SAMPLE}?pace=fast")
    try:
        frame = None
        for _ in range(_WITH_A_FACE):
            frame = clip.read()
    finally:
        clip.close()
    assert frame is not None  # noqa: S101  # the sample ships, and is longer
    return prepared(frame, Camera(uri="clip:"))
