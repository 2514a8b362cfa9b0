"""The loop of the daemon: cameras in turn, one frame each, and what is looked after in between."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from time import monotonic
from typing import final

from edge import reload
from edge.accelerator import EdgeTpu
from edge.cadence import Cadence, Heat
from edge.capture import Capture, Captures
from edge.datatypes import Event
from edge.errands import Errands
from edge.errors import MienError
from edge.events import EventFactory
from edge.health import Sensors
from edge.liveness import Liveness, words
from edge.mailbox import Situation
from edge.notes import Notes
from edge.payloads import SelfTest
from edge.pipeline import Models, Pipeline, unobserved
from edge.reload import Outcome, Prepared, Reread
from edge.settings import Settings
from edge.sinks import Sink
from edge.telemetry import Telemetry

_log = logging.getLogger(__name__)

_TURN_S = 0.5
"""How often the loop looks at its clocks, whether cameras have frames or not."""

_FEEL_S = 5.0
"""How often the board's temperature is read."""


@final
class Loop:
    """The cameras of a device and what is done with their frames. Used by the main thread only.

    Parameters
    ----------
    settings, models
        In force until `reload` replaces them.
    captures
        The cameras, started.
    factory
        Makes the events of this process.
    liveness
        Hears of progress.
    sinks
        Take every event.
    telemetry
        What is published besides; None where nothing is.
    reread
        Reads the settings again for `reload`; without it they stay as they are.
    errands
        What others ask of the daemon; None where nobody can.
    """

    def __init__(
        self,
        settings: Settings,
        models: Models,
        captures: Captures,
        factory: EventFactory,
        liveness: Liveness,
        *,
        sinks: Sequence[Sink],
        telemetry: Telemetry | None,
        reread: Reread | None = None,
        errands: Errands | None = None,
    ) -> None:
        self._settings = settings
        self._models = models
        self._captures = captures
        self._factory = factory
        self._liveness = liveness
        self._sinks = sinks
        self._telemetry = telemetry
        self._reread = reread
        self._errands = errands
        self._paused: frozenset[str] = frozenset()
        self._pipelines: dict[str, Pipeline] = {}
        self._cadences: dict[str, Cadence] = {}
        self._begin([camera.name for camera in settings.camera])
        self._heat = Heat(settings.cadence.hot_celsius)
        self._sensors = Sensors()
        self._notes = Notes.from_environment()
        self._edgetpu = self._accelerated()
        self._attend_s = self._feel_s = monotonic()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def run(
        self,
        stopping: threading.Event,
        reloading: threading.Event | None = None,
        examining: threading.Event | None = None,
    ) -> None:
        """Take the cameras in turn until they have ended or it is time to stop.

        Parameters
        ----------
        stopping
            Set when it is time to stop.
        reloading
            Set when `reload` is asked for.
        examining
            Set when a self-test is asked for.
        """
        self._liveness.ready()
        try:
            while self._captures.active and not stopping.is_set():
                self._captures.wait(_TURN_S)
                for capture in self._captures.active:
                    if stopping.is_set():
                        break
                    self._turn(capture)
                self._attend()
                if reloading is not None and reloading.is_set():
                    reloading.clear()
                    self.reload()
                if examining is not None and examining.is_set():
                    examining.clear()
                    self._examine()
                if self._errands is not None and self._errands.attend(self):
                    self._captures.wake()
        finally:
            self._liveness.stopping()
            if self._errands is not None:
                self._errands.close()
            for name, pipeline in self._pipelines.items():
                self._tell(name, pipeline.finish())
            self._edgetpu.close()
        for capture in self._captures.all:
            _log.info(
                "camera %s: %d frames, %d dropped", capture.name, capture.frames, capture.dropped
            )

    def reload(self) -> Outcome:
        """Read the configuration again and put it in force, or refuse it and change nothing."""
        if self._reread is None:
            return Outcome(accepted=False, text="this process has no configuration to read again")
        self._liveness.reloading()
        try:
            prepared = reload.prepare(self._reread, self._settings, self._models)
        except MienError as exc:
            outcome = reload.refusal(exc)
            _log.error("reload: refused, the configuration before stays in force: %s", outcome.text)
        else:
            outcome = self._swap(prepared)
            _log.info("reload: %s", outcome.text)
        if self._telemetry is not None:
            self._telemetry.reload(None if outcome.accepted else outcome.text)
        self._liveness.ready()
        return outcome

    def pause(self, camera: str | None) -> Outcome:
        """Look through a camera no longer, or through any: its tracks end, and it is closed."""
        return self._let(camera, look=False)

    def resume(self, camera: str | None) -> Outcome:
        """Look through a camera again, or through all of them."""
        return self._let(camera, look=True)

    def tested(self, report: SelfTest) -> None:
        """Publish what a self-test found."""
        if self._telemetry is not None:
            self._telemetry.selftest(report)

    def _let(self, camera: str | None, *, look: bool) -> Outcome:
        known = {capture.name: capture for capture in self._captures.all}
        if camera is not None and camera not in known:
            return Outcome(
                accepted=False, text=f"no camera {camera!r}; there are {', '.join(known)}"
            )
        names = known.keys() if camera is None else {camera}
        self._paused = self._paused - names if look else self._paused | names
        for name in names:
            if look:
                known[name].resume()
            else:
                known[name].pause()
                self._tell(name, self._pipelines[name].finish())
        listed = ", ".join(name for name in known if name in names)
        return Outcome(accepted=True, text=f"{'resumed' if look else 'paused'}: {listed}")

    def _examine(self) -> None:
        trouble = None if self._errands is None else self._errands.examine(self)
        if trouble is not None:
            _log.warning("self-test: %s", trouble)

    def _swap(self, new: Prepared) -> Outcome:
        """Put a configuration in force; what it does not change goes on undisturbed."""
        before, self._settings = self._settings, new.settings
        same = [] if new.faces else [each for each in new.settings.camera if each in before.camera]
        kept = {camera.name for camera in same if new.settings.recovery == before.recovery}
        for name in self._pipelines.keys() - kept:
            self._tell(name, self._pipelines[name].finish())
            del self._pipelines[name]
        if new.models is not self._models:
            self._edgetpu.close()
            self._models = new.models
            self._factory = self._factory.successor(new.models.bundle.ident)
            self._edgetpu = self._accelerated()
        # Who let a camera look away is not to find it looking because of another change.
        self._paused &= {camera.name for camera in new.settings.camera}
        begun = self._captures.configure(
            new.settings.camera, new.settings.recovery, paused=self._paused
        )
        self._liveness.watch(self._captures.all)
        if self._telemetry is not None:
            self._telemetry.configured(new.settings, new.models.bundle, begun)
        if new.settings.cadence != before.cadence:
            self._cadences.clear()
            self._heat, self._feel_s = Heat(new.settings.cadence.hot_celsius), monotonic()
        self._begin([camera.name for camera in new.settings.camera if camera.name not in kept])
        return Outcome(accepted=True, text=f"in force, {new.models.bundle.ident}{_anew(begun)}")

    def _begin(self, cameras: Sequence[str]) -> None:
        """Make pipelines for these cameras, and a cadence for each that has none."""
        observe = self._telemetry.monitor.observe if self._telemetry else unobserved
        for name in cameras:
            self._pipelines[name] = Pipeline(
                name, self._settings, self._models, self._factory, observe=observe
            )
            self._cadences.pop(name, None)
        self._cadences = {
            name: self._cadences.get(name) or Cadence(self._settings.cadence)
            for name in self._pipelines
        }

    def _accelerated(self) -> EdgeTpu:
        return EdgeTpu(
            self._settings.runtime,
            self._models.bundle,
            self._models.manifest,
            self._models.networks,
            signed=self._settings.bundle_key is not None,
            notes=self._notes,
        )

    def _turn(self, capture: Capture) -> None:
        """Look at one camera's newest frame, if there is one, and hear how it stands with it."""
        for situation in capture.changes():
            self._changed(capture.name, situation)
        frame = capture.take()
        if frame is not None and capture.name not in self._paused:
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
        self._edgetpu.attend(now_s)
        self._liveness.beat(now_s)
        link = self._telemetry.link() if self._telemetry is not None else None
        self._liveness.say(words(self._captures.all, link))
        if self._telemetry is not None:
            for name, cadence in self._cadences.items():
                self._telemetry.monitor.pace(name, cadence.pace(hot=self._heat.hot))
            self._telemetry.accelerator(
                self._edgetpu.trouble, in_service=self._edgetpu.state == "in service"
            )
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
            self._telemetry.hot(celsius if self._heat.hot else None, self._settings.cadence.hot_fps)


def _anew(cameras: Collection[str]) -> str:
    return f"; begun anew: {', '.join(sorted(cameras))}" if cameras else ""
