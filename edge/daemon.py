"""The main loop: cameras in turn, one frame each, until they end or a signal says stop."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from types import FrameType

from edge import selftest, spool
from edge.cadence import Cadence, Heat
from edge.capture import Capture, Captures
from edge.datatypes import Event
from edge.errors import ConfigError, MienError, ModelError
from edge.events import EventFactory
from edge.health import Sensors
from edge.liveness import Liveness, words
from edge.mailbox import Situation
from edge.mqtt import Publisher
from edge.notify import Notifier
from edge.payloads import SelfTest
from edge.pipeline import Models, Pipeline, load_models, unobserved
from edge.selftest import broker
from edge.settings import Settings
from edge.sinks import JsonLines, Sink
from edge.telemetry import Telemetry

_log = logging.getLogger(__name__)

_TURN_S = 0.5
"""How often the loop looks at its clocks, whether cameras have frames or not."""

_FEEL_S = 5.0
"""How often the board's temperature is read."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(settings: Settings, *, events: str | None = None, publish: bool = True) -> int:
    """Run until every camera has ended or a signal asks to stop. Live cameras never end.

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
    HungError
        Something only a new process mends.
    """
    if not settings.camera:
        raise ConfigError(
            "no camera: give --camera URI, or a [[camera]] table in the configuration"
        )
    notifier = Notifier.from_environment()
    notifier.status("loading the models")
    boot_id = secrets.token_hex(8)
    models, tested = _checked_models(settings, boot_id, notifier, publish=publish)
    with ExitStack() as stack:
        stack.callback(notifier.close)
        sinks: list[Sink] = []
        if events is not None:
            sinks.append(JsonLines(events))
            stack.callback(sinks[-1].close)
        telemetry = publisher = None
        if publish:
            names = [camera.name for camera in settings.camera]
            publisher = Publisher(
                settings.mqtt, settings.device_id, names, outbox=spool.outbox(settings)
            )
            telemetry = Telemetry(publisher, settings, models.bundle, boot_id)
            telemetry.selftest(tested)
            publisher.start()
            sinks.append(publisher)
            stack.callback(publisher.close)
        captures = stack.enter_context(Captures(settings.camera, settings.recovery))
        stopping = stack.enter_context(_signals(captures))
        liveness = Liveness(notifier, captures.all, publisher)
        pipelines = _pipelines(settings, models, telemetry, boot_id)
        _Loop(settings, captures, pipelines, liveness, sinks=sinks, telemetry=telemetry).run(
            stopping
        )
    return 0


def _checked_models(
    settings: Settings, boot_id: str, notifier: Notifier, *, publish: bool
) -> tuple[Models, SelfTest]:
    """Load the models and test the device; go no further where the models answer wrongly.

    All else that the self-test finds is published, and the daemon does what it can.

    Raises
    ------
    ModelError
        The golden vectors failed: no event is better than a wrong one.
    """
    models = load_models(settings)
    _log.info("expression bundle %s", models.bundle.ident)
    notifier.status("testing itself")
    tested = selftest.at_boot(settings, models, boot_id)
    _log.info("self-test: %s in %.2f s", tested.verdict, tested.took_s)
    failed = [check for check in tested.checks if check.verdict == "failed"]
    for check in failed:
        _log.warning("self-test: %s: %s", check.name, check.text)
    wrong = next((check for check in failed if check.name.startswith("golden")), None)
    if wrong is None:
        return models, tested
    if publish:
        # A broker that is away as well must not hide what is wrong here.
        with suppress(MienError):
            broker.publish(settings, tested)
    raise ModelError(f"self-test: {wrong.name}: {wrong.text}")


def _pipelines(
    settings: Settings, models: Models, telemetry: Telemetry | None, boot_id: str
) -> dict[str, Pipeline]:
    factory = EventFactory(boot_id, models.bundle.ident)
    observe = telemetry.monitor.observe if telemetry else unobserved
    return {
        camera.name: Pipeline(camera.name, settings, models, factory, observe=observe)
        for camera in settings.camera
    }


class _Loop:
    """The cameras of a device and what is done with their frames."""

    def __init__(
        self,
        settings: Settings,
        captures: Captures,
        pipelines: dict[str, Pipeline],
        liveness: Liveness,
        *,
        sinks: Sequence[Sink],
        telemetry: Telemetry | None,
    ) -> None:
        self._captures = captures
        self._pipelines = pipelines
        self._liveness = liveness
        self._sinks = sinks
        self._telemetry = telemetry
        self._rules = settings.cadence
        self._cadences = {name: Cadence(settings.cadence) for name in pipelines}
        self._heat = Heat(settings.cadence.hot_celsius)
        self._sensors = Sensors()
        self._attend_s = self._feel_s = monotonic()

    def run(self, stopping: threading.Event) -> None:
        """Take the cameras in turn until they have ended or it is time to stop."""
        self._liveness.ready()
        try:
            while self._captures.active and not stopping.is_set():
                self._captures.wait(_TURN_S)
                for capture in self._captures.active:
                    if stopping.is_set():
                        break
                    self._turn(capture)
                self._attend()
        finally:
            self._liveness.stopping()
            for name, pipeline in self._pipelines.items():
                self._tell(name, pipeline.finish())
        for capture in self._captures.all:
            _log.info(
                "camera %s: %d frames, %d dropped", capture.name, capture.frames, capture.dropped
            )

    def _turn(self, capture: Capture) -> None:
        """Look at one camera's newest frame, if there is one, and hear how it stands with it."""
        for situation in capture.changes():
            self._changed(capture.name, situation)
        frame = capture.take()
        if frame is not None:
            name, pipeline = capture.name, self._pipelines[capture.name]
            cadence = self._cadences[name]
            idle = cadence.pace(hot=self._heat.hot) == "idle"
            self._tell(name, pipeline(frame, look=idle))
            self._liveness.inferred(name, monotonic())
            cadence.saw(candidates=pipeline.candidates, tracks=pipeline.tracks, time_s=frame.time_s)
            capture.interval_s = cadence.interval_s(hot=self._heat.hot)
            if self._telemetry is not None:
                self._telemetry.monitor.frame(name)
        elif capture.ended:
            ended = Situation("stalled", "the recording has ended", monotonic())
            self._changed(capture.name, ended)

    def _changed(self, camera: str, situation: Situation) -> None:
        """Take in how it stands with a camera; without pictures, nobody is in its view."""
        if situation.condition != "ok":
            self._tell(camera, self._pipelines[camera].finish())
        if self._telemetry is not None:
            self._telemetry.situation(camera, situation)
            if situation.condition != "ok":
                self._telemetry.present(camera, ())

    def _tell(self, camera: str, events: Sequence[Event]) -> None:
        """Hand events to every sink, and say who is in view now that they were told."""
        for event in events:
            for sink in self._sinks:
                sink.send(event)
        if events and self._telemetry is not None:
            self._telemetry.present(camera, self._pipelines[camera].present)

    def _attend(self) -> None:
        """Look after threads, clocks and the board, and say that there is progress."""
        now_s = monotonic()
        if now_s < self._attend_s:
            return
        self._attend_s = now_s + _TURN_S
        for capture in self._captures.active:
            capture.attend(now_s)
        self._feel(now_s)
        self._liveness.beat(now_s)
        link = self._telemetry.link() if self._telemetry is not None else None
        self._liveness.say(words(self._captures.all, link))
        if self._telemetry is not None:
            for name, cadence in self._cadences.items():
                self._telemetry.monitor.pace(name, cadence.pace(hot=self._heat.hot))
            self._telemetry.tick(self._captures.all)

    def _feel(self, now_s: float) -> None:
        """Read the board's temperature when it is due, and slow down where it is too high."""
        if now_s < self._feel_s:
            return
        self._feel_s = now_s + _FEEL_S
        celsius, before = self._sensors.celsius(), self._heat.hot
        if self._heat.feel(celsius) != before:
            _log.warning(
                "the board is %s (%s degrees)", "hot" if self._heat.hot else "cool again", celsius
            )
        if self._telemetry is not None:
            self._telemetry.hot(celsius if self._heat.hot else None, self._rules.hot_fps)


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
