"""The values that travel through the pipeline, in the order they come to be.

`Frame` -> `Detection` -> `Track` -> `Estimate` -> `Event`. All are frozen. Times named `*_s`
are seconds on a monotonic clock; the wall clock appears only in `Event.ts`. Coordinates are
fractions of the frame, (0, 0) at the top left, so that none depends on a resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

UNSURE = "unsure"
"""The answer when no label's probability reaches the bundle's abstain threshold, or all looks at
the face for a while were too poor to be judged."""

Flaw = Literal["small", "blurred", "dark", "bright", "flat", "turned"]
"""What can be wrong with a look at a face; see `edge.quality`."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from one camera.

    Attributes
    ----------
    luma : uint8 array, [height, width]
        What the expression network sees. Free where a camera delivers YUV.
    colour : uint8 array, [height', width', 3]
        What the face detector sees, in BGR order; may be smaller than `luma`.
    time_s : float
        The frame's place in its stream. For a clip it follows the clip's own timestamps, so
        that answers do not depend on how fast the clip is read.
    captured_s : float
        `time.monotonic()` when the picture was taken (or asked for, where the source cannot
        say). Latency counts from here.
    """

    luma: UInt8Array
    colour: UInt8Array
    time_s: float
    captured_s: float


class Point(NamedTuple):
    """A place in the frame, as fractions of its width and height."""

    x: float
    y: float


class Box(NamedTuple):
    """An upright rectangle, as fractions of the frame's width and height."""

    x: float
    y: float
    width: float
    height: float


class Keypoints(NamedTuple):
    """The six points BlazeFace reports. Left and right are the subject's own."""

    right_eye: Point
    left_eye: Point
    nose_tip: Point
    mouth: Point
    right_ear: Point
    left_ear: Point


@dataclass(frozen=True, slots=True)
class Detection:
    """A face the detector found in one frame; `score` is its confidence, 0 to 1."""

    box: Box
    keypoints: Keypoints
    score: float


@dataclass(frozen=True, slots=True)
class Track:
    """One face followed over time.

    `number` is unique within a process and never reused. `first_seen_s` and `last_detected_s`
    are frame times; between detections `face` is a prediction.
    """

    number: int
    face: Detection
    first_seen_s: float
    last_detected_s: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the networks say of one face at one tick.

    `probabilities` are calibrated, in the order of `labels`, and sum to 1. `emotion` is the
    most probable label, or `UNSURE` where that is below the bundle's abstain threshold, or where
    no look was good enough to be judged: then every label is as probable as the others.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    emotion: str
    confidence: float


Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Valence = Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackInfo:
    """Which face an event is about; `id` lives as long as the face is in view."""

    id: Annotated[int, msgspec.Meta(ge=1)]
    age_ms: Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBox:
    """Where the face is, as fractions of the frame; clipped to it."""

    x: Fraction
    y: Fraction
    width: Fraction
    height: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Where the time went, in milliseconds, from the picture being taken to the event.

    `capture` is exposure, transfer, decoding and waiting for the pipeline; `detect` is zero on
    frames the detector did not look at; `crop`, `quality`, `frame` and `head` are this face's own
    and zero where the face was not in view, the last two also where the look was too poor to be
    judged. `total` is everything since capture, other faces included.
    """

    capture: Milliseconds
    detect: Milliseconds
    crop: Milliseconds
    frame: Milliseconds
    head: Milliseconds
    total: Milliseconds
    quality: Milliseconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a subscriber receives: one face appeared, changed, is still there, or left.

    Delivery is at least once: deduplicate on `id`. Within a `boot_id`, `seq` rises by one from
    event to event. `replayed` is true where the event is older than the connection it was sent
    over: the broker or the device was away when it was made, so it is no news, and it may have
    arrived before. Consumers ignore keys they do not know; schema /1 only ever gains some.

    `poor` is what is wrong with the newest look at the face, mostly nothing. Such a look is not
    judged: the answer before it stands for as long as the bundle remembers a face; then it is
    `unsure`, and `probs` are equal for all labels. Where `emotion` is `unsure` and `poor` is empty,
    the networks themselves could not tell.
    """

    schema: Literal["mien-event/1"] = "mien-event/1"
    id: str
    seq: Annotated[int, msgspec.Meta(ge=1)]
    boot_id: str
    type: Literal["start", "update", "end"]
    camera: str
    track: TrackInfo
    box: EventBox
    emotion: str
    confidence: Fraction
    probs: dict[str, Fraction]
    valence: Valence
    ts: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
            description="UTC, RFC 3339; trust it only where clock_synced is true",
        ),
    ]
    clock_synced: bool
    latency_ms: Latency
    bundle: str
    replayed: bool = False
    poor: tuple[Flaw, ...] = ()
