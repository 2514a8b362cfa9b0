"""What reliability costs a frame: python tests/benchmarks/reliability.py [PAIRS]

The daemon's loop looks at the sample clip over and over, 30 frames a second for half a minute, and
publishes to a real mosquitto, in pairs: once as it is, and once without what keeps it well:

    spool                  events wait in memory instead
    recovery, liveness     nobody attends to threads, notifies anybody, or looks for frozen pictures
    cadence                every frame is looked at
    health                 nothing is counted, no budget watched, no report made

Pipeline, publisher and `state` are the same in both. Which of a pair comes first alternates. Told
is the CPU time of the whole process, all threads, a frame: the median of the pairs' differences,
with quartiles. It runs at a camera's pace because much of the cost is by the second, not by the
frame: half a minute has one health report, as every half minute of a device has.
"""

# ruff: noqa: PT008  # a mock is slower than what it would stand in for
from __future__ import annotations

import logging
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from edge import cameras, loop, spool
from edge.capture import Capture, Captures
from edge.datatypes import Frame
from edge.events import EventFactory
from edge.health import Monitor
from edge.liveness import Liveness
from edge.mailbox import Mailbox
from edge.mqtt import Publisher
from edge.notify import Notifier
from edge.outbox import MemoryOutbox
from edge.pipeline import Models, load_models
from edge.reader import Reader
from edge.settings import Camera, Mqtt, Settings, Spool
from edge.telemetry import Telemetry

sys.path.append(str(Path(__file__).parents[1] / "edge"))

from realbroker import Mosquitto, program

SAMPLE = Path(loop.__file__).parent / "samples" / "portrait.webm"
FPS = 30
FRAMES = 30 * FPS
WATCHDOG_S = 30.0
"""As in the unit."""


class Endless:
    """Decoded frames of the clip, over and over, as a live camera gives them; all are looked at."""

    lossless = True
    frames: tuple[Frame, ...] = ()

    def __init__(self) -> None:
        self.given = 0
        self.begun_s = time.monotonic()

    def read(self) -> Frame | None:
        if self.given == FRAMES:
            stop.set()
            threading.Event().wait(0.2)
        self.given += 1
        time.sleep(max(self.begun_s + self.given / FPS - time.monotonic(), 0.0))
        now_s = time.monotonic()
        frame = self.frames[self.given % len(self.frames)]
        return Frame(frame.luma, frame.colour, now_s, now_s)

    def close(self) -> None:
        """Nothing is held."""


stop = threading.Event()


def open_camera(_: Camera) -> Endless:
    return Endless()


def switched_off() -> list[mock._patch]:  # it has no public name
    """What stands in for the parts that are measured."""

    def nothing(owner: object, name: str) -> mock._patch:
        return mock.patch.object(owner, name, lambda *_, **__: None)

    def instead(owner: object, name: str, stand_in: Callable[..., object]) -> mock._patch:
        return mock.patch.object(owner, name, stand_in)

    return [
        instead(spool, "outbox", lambda settings: MemoryOutbox(settings.mqtt.queue)),
        # Threads, heat, signs of life, words for systemd, problems, health reports.
        nothing(loop.Loop, "_attend"),
        instead(Capture, "changes", lambda _: []),
        instead(Mailbox, "note", lambda *_: False),
        instead(Reader, "_moves", lambda *_: True),
        nothing(Reader, "_note_progress"),
        nothing(Reader, "_begin"),
        instead(sys.modules[Reader.__module__], "usable", lambda _: True),
        nothing(Liveness, "inferred"),
        nothing(loop.Cadence, "saw"),
        instead(loop.Cadence, "interval_s", lambda *_, **__: 0.0),
        instead(loop.Cadence, "pace", lambda *_, **__: "full"),
        nothing(Monitor, "observe"),
        nothing(Monitor, "frame"),
    ]


def run(settings: Settings, models: Models, notifier: Notifier) -> tuple[float, int]:
    """Return the milliseconds of CPU time a frame of one run, and how many events it had."""
    stop.clear()
    outbox = spool.outbox(settings)
    publisher = Publisher(settings.mqtt, settings.device_id, ["camera"], outbox=outbox)
    telemetry = Telemetry(publisher, settings, models.bundle, "bench")
    publisher.start()
    with Captures(settings.camera, settings.recovery) as captures:
        liveness = Liveness(notifier, captures.all, publisher)
        looped = loop.Loop(
            settings,
            models,
            captures,
            EventFactory("bench", models.bundle.ident),
            liveness,
            sinks=[publisher],
            telemetry=telemetry,
        )
        begun_s = time.process_time()
        looped.run(stop)
        took_s = time.process_time() - begun_s
    publisher.close()
    return took_s / FRAMES * 1000, outbox.last


def measured(pairs: int, settings: Settings, models: Models, notifier: Notifier) -> None:
    run(settings, models, notifier)
    differences, with_ms, events = [], [], []
    for pair in range(pairs):
        cost = {}
        for on in (pair % 2 == 0, pair % 2 == 1):
            patches = [] if on else switched_off()
            for patch in patches:
                patch.start()
            cost[on], told = run(settings, models, notifier)
            events.append(told)
            for patch in patches:
                patch.stop()
        differences.append(cost[True] - cost[False])
        with_ms.append(cost[True])
        print(f"pair {pair + 1}: {cost[True]:.3f} - {cost[False]:.3f} ms", flush=True)
    low, middle, high = statistics.quantiles(differences, n=4)
    print(f"{pairs} pairs of {FRAMES} frames at {FPS} a second, CPU time of the whole process")
    print(f"events in a run    {statistics.median(events):.0f} ({min(events)} to {max(events)})")
    print(f"with all of it     {statistics.median(with_ms):.3f} ms a frame")
    print(f"of which it costs  {middle:.4f} ms a frame (quartiles {low:.4f} to {high:.4f})")


def main(pairs: int) -> None:
    logging.disable()
    clip = cameras.open_uri(f"clip:{SAMPLE}?pace=fast")
    Endless.frames = tuple(iter(clip.read, None))
    cameras.KINDS["endless"] = __name__
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(program("mosquitto", "mosquitto"), Path(folder))
        broker.start()
        address = os.path.join(folder, "notify")  # noqa: PTH118
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.bind(address)
        threading.Thread(target=drain, args=(ear,), daemon=True).start()
        settings = Settings(
            camera=(Camera(uri="endless:0"),),
            mqtt=Mqtt(url=broker.url),
            spool=Spool(path=f"{folder}/spool"),
        )
        measured(pairs, settings, load_models(settings), Notifier(address, WATCHDOG_S))
        broker.kill()


def drain(ear: socket.socket) -> None:
    while True:
        ear.recv(4096)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
