"""What a frame costs on this machine: each stage, inside `invoke()` and outside it, and memory.

The pipeline is the daemon's own, run in one thread on a clip at full speed. Decoding is a stage
of its own, and counted neither inside nor outside. More faces than the clip has are made by
repeating what the detector found at other places of the frame, so that each costs its own crop,
frame model, head and story, and nothing else changes.

`decode` is what a camera's own thread does in the daemon: reading and decoding a frame, taking
its luma and thinning out its colour.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import msgspec
import numpy as np

from edge import config
from edge.cameras import open_uri
from edge.datatypes import Detection, Frame
from edge.errors import MienError
from edge.events import EventFactory
from edge.pipeline import FaceFinder, Models, Pipeline, load_models
from edge.reader import prepared
from edge.settings import Camera, Settings
from edge.tracker import moved

SAMPLE = Path(__file__).parent / "samples" / "portrait.webm"
_WARM_UP = 10
_STARTS = 5
_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long a stage took, in milliseconds a run."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was measured.

    `fps` counts decoding too; `rss_mb` is the peak of this process in units of 10^6 bytes.
    `import_s` is `import edge.daemon` alone; `first_event_s` is from the start of a `mien run`
    process to its first line. Both are medians of five, in seconds.
    """

    schema: Literal["mien-bench/1"] = "mien-bench/1"
    machine: str
    runtime: str
    clip: str
    frames: int
    faces: int
    stages: dict[str, Percentiles]
    inside_invoke_ms: float
    outside_invoke_ms: float
    fps: float
    rss_mb: float
    import_s: float
    first_event_s: float


class Crowd:
    """A detector whose first face is found in `faces` places.

    `made_s` is what repeating it has cost so far, in seconds: no part of what is measured.
    """

    def __init__(self, detector: FaceFinder, faces: int) -> None:
        self._detector = detector
        self._faces = faces
        self.made_s = 0.0

    @property
    def invoked_s(self) -> float:
        """Seconds the detector spent inside `invoke()` so far."""
        return self._detector.invoked_s

    def __call__(self, frame: Frame) -> list[Detection]:
        """Return the found face, and the same one a face's width apart in a grid."""
        found = self._detector(frame)[:1]
        if not found:
            return []
        begun = perf_counter()
        width, height = 1.5 * found[0].box.width, 1.5 * found[0].box.height
        crowd = [
            moved(found[0], width * (index % _COLUMNS), height * (index // _COLUMNS))
            for index in range(self._faces)
        ]
        self.made_s += perf_counter() - begun
        return crowd


def measure(settings: Settings, clip: Path, *, faces: int, frames: int) -> Report:
    """Run the benchmark.

    Parameters
    ----------
    settings
        The detector, bundle and runtime to measure.
    clip
        A video with one face or more; it is read again until there are enough frames.
    faces
        How many faces to have in every frame that has one.
    frames
        How many frames to measure.

    Raises
    ------
    MienError
        No face was found in the clip, or a bundle or the clip cannot be used.
    """
    models = load_models(settings)
    meter = _Meter(settings, models, faces)
    source = _Frames(clip)
    for _ in range(_WARM_UP):
        meter.frame(source)
    meter.reset()
    begun = perf_counter()
    for _ in range(frames):
        meter.frame(source)
    elapsed = perf_counter() - begun
    if not meter.inside_ms:
        raise MienError(f"{clip}: no face was found in it; name a clip with a face, as --clip")
    return Report(
        machine=_machine(),
        runtime=settings.runtime.library,
        clip=clip.name,
        frames=frames,
        faces=faces,
        stages={stage: _percentiles(values) for stage, values in meter.stages_ms.items()},
        inside_invoke_ms=round(statistics.median(meter.inside_ms), 3),
        outside_invoke_ms=round(statistics.median(meter.outside_ms), 3),
        fps=round(frames / elapsed, 1),
        rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        import_s=_median_of_starts(_import_s),
        first_event_s=_median_of_starts(lambda: _first_event_s(settings, clip)),
    )


class _Meter:
    """Runs frames through a pipeline and keeps what each cost."""

    def __init__(self, settings: Settings, models: Models, faces: int) -> None:
        self._models = models
        self._crowd = Crowd(models.detector, faces)
        self._camera = Camera(uri="clip:")
        self._pipeline = Pipeline(
            "bench",
            settings,
            replace(models, detector=self._crowd),
            EventFactory("bench", models.bundle.ident),
            observe=self._observe,
        )
        self.reset()

    def reset(self) -> None:
        """Forget what was measured so far."""
        self.stages_ms: dict[str, list[float]] = {"decode": []}
        self.inside_ms: list[float] = []
        self.outside_ms: list[float] = []

    def frame(self, source: _Frames) -> None:
        """Read and look at one frame."""
        asked = perf_counter()
        frame = prepared(source.next(), self._camera)
        decoded = perf_counter()
        self._observe("decode", decoded - asked)
        faces_before = len(self.stages_ms.get("crop", ()))
        invoked_s, made_s = self._models.invoked_s, self._crowd.made_s
        self._pipeline(frame)
        total_s = perf_counter() - decoded - (self._crowd.made_s - made_s)
        invoked_s = self._models.invoked_s - invoked_s
        # A frame without a face says nothing of what a face costs.
        if len(self.stages_ms.get("crop", ())) > faces_before:
            self.inside_ms.append(invoked_s * 1000)
            self.outside_ms.append((total_s - invoked_s) * 1000)

    def _observe(self, stage: str, seconds: float) -> None:
        # From the frame's time to now is a clip's pace, not the machine's.
        if stage not in {"capture", "total"}:
            self.stages_ms.setdefault(stage, []).append(seconds * 1000)


def table(report: Report) -> str:
    """Lay a report out for a person."""
    of_clip = f"{report.frames} frames, {report.faces} face{'s' if report.faces > 1 else ''}"
    rows = [f"{report.machine}, {report.runtime}, {report.clip}: {of_clip}"]
    rows.append(f"{'stage':<8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for stage, each in report.stages.items():
        rows.append(f"{stage:<8}{each.p50_ms:>9.3f}{each.p95_ms:>9.3f}{each.p99_ms:>9.3f}")
    inside, outside = report.inside_invoke_ms, report.outside_invoke_ms
    rows.append(
        f"inside invoke {inside:.3f} ms, outside {outside:.3f} ms ({outside / inside:.0%}), "
        f"{report.fps:.0f} frames/s, peak {report.rss_mb:.0f} MB"
    )
    rows.append(
        f"import edge.daemon {report.import_s:.2f} s, "
        f"start to first event {report.first_event_s:.2f} s"
    )
    return "\n".join(rows)


def to_json(report: Report) -> str:
    """Write a report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


class _Frames:
    """The frames of a clip, over and over."""

    def __init__(self, clip: Path) -> None:
        self._uri = f"clip:{clip}?pace=fast"
        self._camera = open_uri(self._uri)

    def next(self) -> Frame:
        frame = self._camera.read()
        while frame is None:
            self._camera.close()
            self._camera = open_uri(self._uri)
            frame = self._camera.read()
        return frame


def _percentiles(values: list[float]) -> Percentiles:
    p50, p95, p99 = (round(float(each), 3) for each in np.percentile(values, [50, 95, 99]))
    return Percentiles(p50, p95, p99)


def _machine() -> str:
    """Return the processor's name as the kernel tells it, its architecture and core count."""
    name = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'unnamed processor'} ({name}, {os.cpu_count()} cores)"


def _median_of_starts(start: Callable[[], float]) -> float:
    return round(statistics.median(start() for _ in range(_STARTS)), 3)


def _import_s() -> float:
    code = "from time import perf_counter as t; b = t(); import edge.daemon; print(t() - b)"
    done = subprocess.run(  # noqa: S603  # our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _first_event_s(settings: Settings, clip: Path) -> float:
    """Start the daemon with these settings, whatever the environment says; time its first line."""
    alone = msgspec.structs.replace(settings, camera=())
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(config.ENVIRONMENT_PREFIX)
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mien.toml"
        file.write_text(config.to_toml(alone), encoding="utf-8")
        command = [sys.executable, "-m", "edge", "run", "--no-mqtt", "--events", "-"]
        begun = perf_counter()
        with subprocess.Popen(  # noqa: S603  # our own interpreter
            [*command, "--config", str(file), "--camera", f"clip:{clip}?pace=fast"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
        ) as process:
            assert process.stdout is not None  # noqa: S101  # it is a pipe
            process.stdout.readline()
            elapsed = perf_counter() - begun
            process.terminate()
    return elapsed
