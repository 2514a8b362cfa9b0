"""Frame -> list[Event]: wires the stages of one camera together and times each.

    frame -> detector -> tracker -> for each face: crop -> quality -> frame model -> head -> story

A look that is too poor (`edge.quality`) is not shown to the networks: to the head it is as if the
detector had missed the face, which it knows from training, while an embedding of a blur would stay
in its state. The last answer stands for as long as the head remembers the face, so that a moment of
blur is no event; then the story hears `unsure`.

The models are shared by all cameras, which take turns; what is remembered (tracks, recurrent
state, what subscribers were told) is each camera's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import Protocol

from edge import clock, trial
from edge.bundle import Bundle, StreamManifest, load_detector, load_stream
from edge.crop import crop
from edge.datatypes import Detection, Estimate, Event, Flaw, Frame, Latency, Track, UInt8Array
from edge.detector import Detector
from edge.emotion import EmotionModel, Look, Memory
from edge.events import EventFactory, Kind, Story, advance, clipped, confidence_in, valence
from edge.networks import StreamNetworks
from edge.payloads import FaceNow
from edge.quality import assess, flaws, unjudged
from edge.settings import Settings
from edge.signature import trusted_key
from edge.tracker import Tracker, Tracking

StageObserver = Callable[[str, float], None]
"""Called with a stage's name and the seconds it took, for every time it ran."""


def unobserved(stage: str, seconds: float) -> None:
    """Take no notice of a stage's time."""


class FaceFinder(Protocol):
    """What finds faces: `edge.detector.Detector`, or what a benchmark puts around it."""

    @property
    def invoked_s(self) -> float:
        """Seconds spent inside `invoke()` so far."""
        ...

    def __call__(self, frame: Frame) -> list[Detection]:
        """Return the faces in a frame, surest first."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The loaded models, and the bundle whose answers they give."""

    bundle: Bundle
    manifest: StreamManifest
    detector: FaceFinder
    networks: StreamNetworks
    emotion: EmotionModel
    sha256: tuple[str, ...] = ()
    """Of the manifests of both bundles."""

    @property
    def invoked_s(self) -> float:
        """Seconds spent inside `invoke()` so far, by all models."""
        return self.detector.invoked_s + self.networks.invoked_s


def load_models(settings: Settings) -> Models:
    """Load the bundles the settings name.

    Raises
    ------
    BundleError, ModelError
        A bundle cannot be trusted, or its models cannot run.
    ConfigError
        `bundle_key` is not a key.
    """
    key = trusted_key(settings.bundle_key)
    found, detector = load_detector(settings.detector.bundle, key=key)
    bundle, manifest = load_stream(settings.emotion.bundle, key=key)
    library, threads = settings.runtime.library, settings.runtime.threads
    trial.require((found, bundle), library)
    networks = StreamNetworks(bundle, manifest, threads=threads, library=library)
    return Models(
        bundle=bundle,
        manifest=manifest,
        detector=Detector(
            found, detector, score=settings.detector.score, threads=threads, library=library
        ),
        networks=networks,
        emotion=EmotionModel(networks, manifest),
        sha256=(found.sha256, bundle.sha256),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """What is remembered of one track; `memory` is that of its last look that was good enough."""

    track: Track
    memory: Memory | None
    story: Story
    estimate: Estimate
    poor: tuple[Flaw, ...]


@dataclass(slots=True)
class _Clocked:
    """The seconds one frame has cost so far."""

    captured_s: float
    taken_s: float
    detect: float = 0.0

    def latency(
        self, crop_s: float = 0.0, quality_s: float = 0.0, look: Look | None = None
    ) -> Latency:
        """Return the latency of an event that is sent now."""
        return Latency(
            capture=_ms(self.taken_s - self.captured_s),
            detect=_ms(self.detect),
            crop=_ms(crop_s),
            quality=_ms(quality_s),
            frame=_ms(look.frame_s if look else 0.0),
            head=_ms(look.head_s if look else 0.0),
            total=_ms(monotonic() - self.captured_s),
        )


class Pipeline:
    """Turns the frames of one camera into events."""

    def __init__(
        self,
        camera: str,
        settings: Settings,
        models: Models,
        factory: EventFactory,
        *,
        observe: StageObserver = unobserved,
    ) -> None:
        self._camera = camera
        self._every = settings.detector.every
        self._rules = settings.events.rules
        self._allowed = settings.quality
        self._models = models
        self._framing = models.manifest.input
        self._reset_after_s = models.manifest.reset_after_s
        self._factory = factory
        self._observe = observe
        self._tracker = Tracker(
            confirm=settings.tracker.confirm,
            bridge_s=settings.tracker.bridge_s,
            most=settings.detector.most_faces,
            numbers=factory.tracks(camera),
        )
        self._faces: dict[int, _Face] = {}
        self._frames = 0
        self._time_s = 0.0

    def __call__(self, frame: Frame, *, look: bool = False) -> list[Event]:
        """Take in the camera's next frame and return what there is to tell.

        With `look`, the detector looks at it whatever `detector.every` says.
        """
        clocked = _Clocked(frame.captured_s, monotonic())
        self._observe("capture", clocked.taken_s - clocked.captured_s)
        self._time_s = frame.time_s
        tracking = self._follow(frame, clocked, look=look)
        events = [self._end(track, clocked) for track in self._told(tracking.ended)]
        for track in tracking.present:
            event = self._face(frame, track, clocked)
            if event is not None:
                events.append(event)
        self._observe("total", monotonic() - clocked.captured_s)
        return events

    @property
    def present(self) -> list[FaceNow]:
        """The faces that subscribers know to be in view, as they were last told."""
        return [
            FaceNow(
                track=number,
                emotion=face.story.told,
                confidence=round(confidence_in(face.story.told, face.estimate), 4),
                box=clipped(face.track.face.box),
                valence=round(valence(face.estimate), 4),
                poor=face.poor,
            )
            for number, face in sorted(self._faces.items())
            if face.story.told is not None
        ]

    @property
    def candidates(self) -> int:
        """How many faces are followed, those not believed yet included."""
        return self._tracker.candidates

    @property
    def tracks(self) -> int:
        """How many faces are followed and believed."""
        return self._tracker.tracks

    def finish(self) -> list[Event]:
        """End every track, as when the camera stops."""
        now = monotonic()
        clocked = _Clocked(now, now)
        return [self._end(track, clocked) for track in self._told(self._tracker.finish())]

    def _follow(self, frame: Frame, clocked: _Clocked, *, look: bool) -> Tracking:
        looks = look or self._frames % self._every == 0
        self._frames += 1
        if not looks:
            return self._tracker.predicted(frame.time_s)
        begun = perf_counter()
        tracking = self._tracker.detected(self._models.detector(frame), frame.time_s)
        clocked.detect = perf_counter() - begun
        self._observe("detect", clocked.detect)
        return tracking

    def _face(self, frame: Frame, track: Track, clocked: _Clocked) -> Event | None:
        begun = perf_counter()
        tile = crop(frame.luma, track.face.keypoints, self._framing.crop, self._framing.size)
        cropped = perf_counter()
        poor = self._flaws(frame, track, tile)
        crop_s, quality_s = cropped - begun, perf_counter() - cropped
        self._observe("crop", crop_s)
        self._observe("quality", quality_s)
        known, look = self._faces.get(track.number), None
        memory = known.memory if known else None
        if poor:
            estimate = self._standing(known, frame.time_s)
        else:
            look = self._models.emotion.look(tile, memory, frame.time_s)
            self._observe("frame", look.frame_s)
            self._observe("head", look.head_s)
            memory, estimate = look.memory, look.estimate
        story, kind = advance(known.story if known else None, estimate, frame.time_s, self._rules)
        face = _Face(track, memory, story, estimate, poor)
        self._faces[track.number] = face
        if kind is None:
            return None
        return self._event(kind, face, clocked.latency(crop_s, quality_s, look))

    def _flaws(self, frame: Frame, track: Track, tile: UInt8Array) -> tuple[Flaw, ...]:
        height, width = frame.luma.shape
        quality = assess(
            tile,
            track.face.keypoints,
            width=width,
            height=height,
            face_length=self._framing.crop.face_length,
        )
        return flaws(quality, self._allowed)

    def _standing(self, known: _Face | None, time_s: float) -> Estimate:
        """Return what is known of a face from before; nothing, once the head would forget it."""
        memory = known.memory if known else None
        if known and memory and time_s - memory.seen_s <= self._reset_after_s:
            return known.estimate
        return unjudged(self._models.manifest.labels)

    def _told(self, ended: tuple[Track, ...]) -> list[Track]:
        """Return the tracks that subscribers know of, and forget the rest."""
        told = []
        for track in ended:
            face = self._faces.get(track.number)
            if face is not None and face.story.told is not None:
                told.append(track)
            else:
                self._faces.pop(track.number, None)
        return told

    def _end(self, track: Track, clocked: _Clocked) -> Event:
        face = replace(self._faces.pop(track.number), track=track)
        return self._event("end", face, clocked.latency())

    def _event(self, kind: Kind, face: _Face, latency: Latency) -> Event:
        story = face.story
        assert story.told is not None  # noqa: S101  # only told stories make events
        return self._factory.make(
            kind,
            camera=self._camera,
            track=face.track,
            emotion=story.told,
            estimate=face.estimate,
            latency=latency,
            time_s=self._time_s,
            ts=clock.utc(self._time_s),
            clock_synced=clock.synchronised(),
            poor=face.poor,
        )


def _ms(seconds: float) -> float:
    return round(max(seconds, 0.0) * 1000, 3)
