"""The main loop: cameras in turn, one frame each, until they end or a signal says stop."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from edge import spool
from edge.capture import Capture, Captures
from edge.datatypes import Event
from edge.errors import ConfigError
from edge.events import EventFactory
from edge.mqtt import Publisher
from edge.pipeline import Models, Pipeline, load_models, unobserved
from edge.settings import Settings
from edge.sinks import JsonLines, Sink
from edge.telemetry import Telemetry

_log = logging.getLogger(__name__)

_TURN_S = 1.0
"""How often the loop looks at its clocks while no camera has a frame."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(settings: Settings, *, events: str | None = None, publish: bool = True) -> int:
    """Run until every camera has ended or a signal asks to stop.

    Parameters
    ----------
    settings
        At least one camera.
    events
        Where each event is written as a line of JSON: a path, or `-` for standard output.
    publish
        Whether to publish over MQTT, as `settings.mqtt` says.

    Returns
    -------
    int
        The exit code, 0; every track that was told has been ended by then.

    Raises
    ------
    MienError
        Something the user must mend: no camera, a bad bundle, a clip that cannot be read.
    """
    if not settings.camera:
        raise ConfigError(
            "no camera: give --camera URI, or a [[camera]] table in the configuration"
        )
    models = load_models(settings)
    _log.info("expression bundle %s", models.bundle.ident)
    boot_id = secrets.token_hex(8)
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if events is not None:
            sinks.append(JsonLines(events))
            stack.callback(sinks[-1].close)
        telemetry = None
        if publish:
            names = [camera.name for camera in settings.camera]
            publisher = Publisher(
                settings.mqtt, settings.device_id, names, outbox=spool.outbox(settings)
            )
            telemetry = Telemetry(publisher, settings, models.bundle, boot_id)
            publisher.start()
            sinks.append(publisher)
            stack.callback(publisher.close)
        captures = stack.enter_context(Captures(settings.camera))
        stopping = stack.enter_context(_signals(captures))
        loop = _Loop(settings, models, captures, sinks=sinks, telemetry=telemetry, boot_id=boot_id)
        loop.run(stopping)
    return 0


class _Loop:
    """The cameras of a device and what is done with their frames."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        captures: Captures,
        *,
        sinks: Sequence[Sink],
        telemetry: Telemetry | None,
        boot_id: str,
    ) -> None:
        self._captures = captures
        self._sinks = sinks
        self._telemetry = telemetry
        factory = EventFactory(boot_id, models.bundle.ident)
        observe = telemetry.monitor.observe if telemetry else unobserved
        self._pipelines = {
            camera.name: Pipeline(camera.name, settings, models, factory, observe=observe)
            for camera in settings.camera
        }

    def run(self, stopping: threading.Event) -> None:
        """Take the cameras in turn until they have ended or it is time to stop."""
        try:
            while self._captures.active and not stopping.is_set():
                self._captures.wait(_TURN_S)
                for capture in self._captures.active:
                    if stopping.is_set():
                        break
                    self._turn(capture)
                if self._telemetry is not None:
                    self._telemetry.tick(self._captures.all)
        finally:
            for name, pipeline in self._pipelines.items():
                self._tell(name, pipeline.finish())
        for capture in self._captures.all:
            _log.info(
                "camera %s: %d frames, %d dropped", capture.name, capture.frames, capture.dropped
            )

    def _turn(self, capture: Capture) -> None:
        """Look at one camera's newest frame, if there is one; end its tracks when it has ended."""
        pipeline = self._pipelines[capture.name]
        frame = capture.take()
        if frame is not None:
            if self._telemetry is not None:
                self._telemetry.frame(capture.name)
            self._tell(capture.name, pipeline(frame))
        elif capture.ended:
            self._tell(capture.name, pipeline.finish())
            if self._telemetry is not None:
                self._telemetry.ended(capture.name, "the recording has ended")

    def _tell(self, camera: str, events: Sequence[Event]) -> None:
        """Hand events to every sink, and say who is in view now that they were told."""
        for event in events:
            for sink in self._sinks:
                sink.send(event)
        if events and self._telemetry is not None:
            self._telemetry.present(camera, self._pipelines[camera].present)


@contextmanager
def _signals(captures: Captures) -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event that is set, and wake the loop."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        stopping.set()
        captures.wake()

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
