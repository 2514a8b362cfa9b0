"""The main loop: cameras in turn, one frame each, until they end or a signal says stop."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from edge.capture import Capture, Captures
from edge.config import Settings
from edge.datatypes import Event
from edge.errors import ConfigError
from edge.events import EventFactory
from edge.pipeline import Pipeline, load_models
from edge.sinks import JsonLines, Sink

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(settings: Settings, *, events: str | None = None) -> int:
    """Run until every camera has ended or a signal asks to stop.

    Parameters
    ----------
    settings
        At least one camera.
    events
        Where each event is written as a line of JSON: a path, or `-` for standard output.

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
    factory = EventFactory(secrets.token_hex(8), models.bundle.ident)
    pipelines = {
        camera.name: Pipeline(camera.name, settings, models, factory) for camera in settings.camera
    }
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if events is not None:
            sinks.append(JsonLines(events))
            stack.callback(sinks[-1].close)
        captures = stack.enter_context(Captures(settings.camera))
        stopping = stack.enter_context(_signals(captures))
        try:
            _loop(captures, pipelines, sinks, stopping)
        finally:
            for pipeline in pipelines.values():
                _send(pipeline.finish(), sinks)
        for capture in captures.all:
            _log.info(
                "camera %s: %d frames, %d dropped", capture.name, capture.frames, capture.dropped
            )
    return 0


def _loop(
    captures: Captures,
    pipelines: dict[str, Pipeline],
    sinks: Sequence[Sink],
    stopping: threading.Event,
) -> None:
    while captures.active and not stopping.is_set():
        captures.wait()
        for capture in captures.active:
            if stopping.is_set():
                return
            _turn(capture, pipelines[capture.name], sinks)


def _turn(capture: Capture, pipeline: Pipeline, sinks: Sequence[Sink]) -> None:
    """Look at one camera's newest frame, if there is one; end its tracks when it has ended."""
    frame = capture.take()
    if frame is not None:
        _send(pipeline(frame), sinks)
    elif capture.ended:
        _send(pipeline.finish(), sinks)


def _send(events: Sequence[Event], sinks: Sequence[Sink]) -> None:
    for event in events:
        for sink in sinks:
            sink.send(event)


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
