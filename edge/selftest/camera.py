"""Whether each camera gives pictures, as often as asked, that differ and show something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

from edge.cameras import is_live
from edge.capture import Capture, Captures
from edge.datatypes import Frame, UInt8Array
from edge.errors import MienError
from edge.imaging import mean_and_deviation
from edge.payloads import SelfTestCheck, Verdict
from edge.selftest.subject import Subject, at_least, at_most, said
from edge.settings import Argus, Camera, Limits, Picamera2, V4l2
from edge.stillness import Stillness

FIRST_S = 10.0
"""How long a camera may take to its first picture."""

WATCH_S = 2.0
"""How long its pictures are then watched."""

STREAM_FPS = 5.0
"""What is expected of a camera that has no setting for its rate."""

_SHARE = 0.5
"""Of the configured rate: in a dim room many cameras halve it, to expose for longer."""

_STILL = 0.5
"""The share of that time for which a camera may give one and the same picture."""

_DEFAULTS: dict[str, Picamera2 | V4l2 | Argus] = {
    "picamera2": Picamera2(),
    "v4l2": V4l2(),
    "argus": Argus(),
}


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What a camera showed: its rate, the longest it stood still, and its last luma."""

    first_s: float
    fps: float
    still_s: float
    luma: UInt8Array


def check(subject: Subject) -> Iterator[SelfTestCheck]:
    """Look at every camera of the configuration, one after the other."""
    if not subject.settings.camera:
        yield said("camera", "skipped", "none is configured")
    for camera in subject.settings.camera:
        name = f"camera-{camera.name}"
        try:
            found = watch(camera, subject)
        except MienError as exc:
            yield said(f"{name}-opens", "failed", str(exc))
            continue
        yield at_most(f"{name}-opens", found.first_s, FIRST_S, "s", cure="slow to open")
        if is_live(camera):
            slow = "too few pictures: more light, a smaller picture, another cable or network"
            yield at_least(f"{name}-rate", found.fps, expected_fps(camera), "frames/s", cure=slow)
            yield stillness(name, camera, found.still_s)
        yield exposure(name, found.luma, subject.settings.quality)


def expected_fps(camera: Camera) -> float:
    """Return the rate below which a camera fails."""
    if camera.scheme not in _DEFAULTS:
        return STREAM_FPS
    table: Picamera2 | V4l2 | Argus = getattr(camera, camera.scheme) or _DEFAULTS[camera.scheme]
    return float(table.fps) * _SHARE


def stillness(name: str, camera: Camera, still_s: float) -> SelfTestCheck:
    """Judge a camera that gave the very same picture again and again."""
    verdict: Verdict = "passed"
    if camera.frozen_s and still_s >= WATCH_S * _STILL:
        # A sensor is never silent; an encoder may repeat a picture in which nothing moves.
        verdict = "failed" if camera.scheme in _DEFAULTS else "warned"
    froze = "one and the same picture: it froze, or (a test picture) set its frozen_s = 0"
    return SelfTestCheck(
        name=f"{name}-still",
        verdict=verdict,
        measured=round(still_s, 3),
        budget=WATCH_S * _STILL if camera.frozen_s else None,
        unit="s",
        text="" if verdict == "passed" else froze,
    )


def exposure(name: str, luma: UInt8Array, limits: Limits) -> SelfTestCheck:
    """Hold a whole picture against what a face must be to be judged; a night is no failure."""
    mean, deviation = mean_and_deviation(luma)
    text = ""
    if mean < limits.least_light:
        text = "dark: the lens is covered, or there is no light"
    elif mean > limits.most_light:
        text = "bright: the camera looks into a lamp or the sun"
    elif deviation < limits.least_contrast:
        text = "flat: the lens is covered, or out of focus by far"
    return SelfTestCheck(
        name=f"{name}-exposure",
        verdict="warned" if text else "passed",
        measured=round(mean, 1),
        unit="luma",
        text=text,
    )


def watch(camera: Camera, subject: Subject) -> Watched:
    """Watch a camera for a while, as the daemon would.

    Raises
    ------
    MienError
        It gives no picture, for the reason that the text says.
    """
    begun_s = monotonic()
    recovery = subject.settings.recovery if is_live(camera) else None
    with Captures((camera,), recovery) as captures:
        capture = captures.all[0]
        frame = _first(capture)
        first_s, begun_frames = monotonic(), capture.frames
        still, longest_s = Stillness(), 0.0
        luma = frame.luma
        still.seconds(luma, first_s)
        while (now_s := monotonic()) < first_s + WATCH_S and not capture.ended:
            later = capture.take(0.1)
            if later is not None:
                luma = later.luma
                longest_s = max(longest_s, still.seconds(luma, now_s))
        took_s = max(monotonic() - first_s, 1e-9)
        return Watched(first_s - begun_s, (capture.frames - begun_frames) / took_s, longest_s, luma)


def _first(capture: Capture) -> Frame:
    frame = capture.take(FIRST_S)
    if frame is None:
        reason = capture.situation.reason or "no picture"
        raise MienError(f"nothing to see within {FIRST_S:g} s: {reason}")
    return frame
