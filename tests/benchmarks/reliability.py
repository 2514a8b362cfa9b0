"""What recovery, liveness and cadence cost a frame: python tests/benchmarks/reliability.py [PAIRS]

The daemon's loop runs over the sample clip at full speed, in pairs: once as it is, under a notify
socket, and once with these parts switched off (nobody attends to threads, nothing is notified, no
situation, stillness or pace is looked at). Which of a pair comes first alternates. Told is the CPU
time of the whole process, all threads, a frame: the median of the pairs' differences, with
quartiles. The clip is read as a live camera would be, by a thread that renews it.
"""

# ruff: noqa: PT008  # a mock is slower than what it would stand in for
from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

from edge import cameras, loop
from edge.capture import Capture, Captures
from edge.datatypes import Frame
from edge.events import EventFactory
from edge.liveness import Liveness
from edge.mailbox import Mailbox
from edge.notify import Notifier
from edge.pipeline import Models, load_models
from edge.reader import Reader
from edge.settings import Camera, Recovery, Settings
from edge.settings import Camera as CameraSettings

SAMPLE = Path(loop.__file__).parent / "samples" / "portrait.webm"
FRAMES = 1500


class Endless:
    """Decoded frames of the clip, over and over, as a live camera gives them; all are looked at."""

    lossless = True
    frames: tuple[Frame, ...] = ()

    def __init__(self) -> None:
        self.given = 0

    def read(self) -> Frame | None:
        if self.given == FRAMES:
            stop.set()
            threading.Event().wait(0.2)
        self.given += 1
        now_s = time.monotonic()
        frame = self.frames[self.given % len(self.frames)]
        return Frame(frame.luma, frame.colour, now_s, now_s)

    def close(self) -> None:
        """Nothing is held."""


stop = threading.Event()


def open_camera(_: CameraSettings) -> Endless:
    return Endless()


def switched_off() -> list[mock._patch]:  # it has no public name
    """What stands in for the parts that are measured."""
    return [
        mock.patch.object(Capture, "attend", lambda *_: None),
        mock.patch.object(Capture, "changes", lambda _: []),
        mock.patch.object(Mailbox, "note", lambda *_: False),
        mock.patch.object(Reader, "_moves", lambda *_: True),
        mock.patch.object(Reader, "_note_progress", lambda *_: None),
        mock.patch.object(Reader, "_begin", lambda *_: None),
        mock.patch.object(Liveness, "inferred", lambda *_: None),
        mock.patch.object(Liveness, "beat", lambda *_: None),
        mock.patch.object(Liveness, "say", lambda *_: None),
        mock.patch.object(loop.Cadence, "saw", lambda *_, **__: None),
        mock.patch.object(loop.Cadence, "interval_s", lambda *_, **__: 0.0),
        mock.patch.object(loop.Cadence, "pace", lambda *_, **__: "full"),
        mock.patch.object(loop, "words", lambda *_: ""),
        mock.patch("edge.reader.usable", lambda _: True),
    ]


def run(settings: Settings, models: Models, notifier: Notifier) -> float:
    """Return the milliseconds of CPU time a frame of one run."""
    stop.clear()
    factory = EventFactory("bench", models.bundle.ident)
    with Captures(settings.camera, settings.recovery) as captures:
        liveness = Liveness(notifier, captures.all)
        begun_s = time.process_time()
        loop.Loop(settings, models, captures, factory, liveness, sinks=[], telemetry=None).run(stop)
        return (time.process_time() - begun_s) / FRAMES * 1000


def main(pairs: int) -> None:
    clip = cameras.open_uri(f"clip:{SAMPLE}?pace=fast")
    Endless.frames = tuple(iter(clip.read, None))
    cameras.KINDS["endless"] = __name__
    settings = Settings(camera=(Camera(uri="endless:0"),), recovery=Recovery())
    models = load_models(settings)
    with tempfile.TemporaryDirectory() as folder:
        address = os.path.join(folder, "notify")  # noqa: PTH118
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.bind(address)
        threading.Thread(target=drain, args=(ear,), daemon=True).start()
        notifier = Notifier(address, 30.0)
        run(settings, models, notifier)
        differences, with_ms = [], []
        for pair in range(pairs):
            cost = {}
            for on in (pair % 2 == 0, pair % 2 == 1):
                patches = [] if on else switched_off()
                for patch in patches:
                    patch.start()
                cost[on] = run(settings, models, notifier)
                for patch in patches:
                    patch.stop()
            differences.append(cost[True] - cost[False])
            with_ms.append(cost[True])
    low, middle, high = statistics.quantiles(differences, n=4)
    print(f"{pairs} pairs of {FRAMES} frames, CPU time of the whole process")
    print(f"with all of it     {statistics.median(with_ms):.3f} ms a frame")
    print(f"of which it costs  {middle:.4f} ms a frame (quartiles {low:.4f} to {high:.4f})")


def drain(ear: socket.socket) -> None:
    while True:
        ear.recv(4096)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
