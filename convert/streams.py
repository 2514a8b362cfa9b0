"""Composed streams: what the temporal head learns from, since there is no labelled video.

A stream is a face before a webcam: one still after another, each of another label than the one
before, between which the picture fades. The face moves, its features stir and it blinks
(`convert.motion`, `convert.warps`); the light drifts, hands pass, the camera smears, adds grain and
compresses (`convert.webcam`); the detector errs and misses, and frames are lost. All of that runs
through a change of still, which is chosen to look like the one before (`convert.stills`).

Every figure measured on such streams must say that it comes from composed ones: the faces in them
change person as they change expression, and no muscle makes the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert import motion, stills, warps, webcam
from convert.data import LABELS, Tiles
from convert.drift import spans
from convert.errors import DataError
from convert.motion import Motion
from convert.warps import Features
from convert.webcam import Webcam
from edge.datatypes import Float32Array, UInt8Array

STEP_HZ = 10.0
"""How often the head steps; the device steps at the same pace whatever its frame rate."""

SLOWEST, FASTEST = 5.0, 30.0
"""Frames a second for which streams are made: what small computers manage, and webcams give."""

_ROUNDING = 1e-6
"""Seconds by which a frame may miss a tick that it was meant to meet, as on the device."""

_HIDDEN = 0.15
"""Share of a tile from which on something before the face confuses the detector."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How streams are composed. Times are in seconds.

    Attributes
    ----------
    seconds : float
        How long a stream lasts.
    shortest_hold, longest_hold : float
        How long a still is shown alone.
    shortest_fade, longest_fade : float
        How long it takes to change into the next; a face takes about as long.
    candidates : int
        Of so many stills of the next label, the one most like the still before follows.
    misses : float
        How often the detector loses the face, a minute.
    longest_miss : float
        How long at most; one frame at least.
    missed_covers : float
        How probably it misses a frame in which something covers the face.
    dropped : float
        Largest share of frames that are lost.
    motion, features, webcam
        What moves and spoils the face.
    """

    seconds: float = 8.0
    shortest_hold: float = 1.5
    longest_hold: float = 5.0
    shortest_fade: float = 0.3
    longest_fade: float = 0.8
    candidates: int = 32
    misses: float = 6.0
    longest_miss: float = 0.4
    missed_covers: float = 0.4
    dropped: float = 0.3
    motion: Motion = Motion()  # noqa: RUF009  # frozen
    features: Features = Features()  # noqa: RUF009  # frozen
    webcam: Webcam = Webcam()  # noqa: RUF009  # frozen

    @property
    def steps(self) -> int:
        """How many steps of the head a stream lasts."""
        return round(self.seconds * STEP_HZ)


LEARNING = StreamSettings()
"""What the head learns from, and what chooses its epoch and temperature."""

SCORING = StreamSettings(
    shortest_hold=1.2,
    longest_hold=4.0,
    shortest_fade=0.2,
    longest_fade=1.0,
    candidates=48,
    misses=9.0,
    longest_miss=0.6,
    missed_covers=0.6,
    dropped=0.08,
    motion=Motion(
        calm=0.5, travel=0.2, shift=0.03, scale=0.04, rotation=5.0, squeeze=0.04,
        jitter=0.010, jitter_scale=0.015, jitter_rotation=1.2, slips=0.03, slip=3.0,
    ),
    features=Features(
        reach=0.014, calm=0.4, blinks=20.0, shortest_blink=0.12, longest_blink=0.40
    ),
    webcam=Webcam(
        calm=1.0, contrast=0.14, brightness=0.06, slope=0.25, exposure=0.06, noise=8.0,
        covers=5.0, longest_cover=0.45, coded=0.75, lowest_quality=25.0, highest_quality=80.0,
        key_frames=1.0,
    ),
)  # fmt: skip
"""What a head is measured on: other ranges than it ever learned from, most of them harder."""

SETTINGS = {"learning": LEARNING, "scoring": SCORING}


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """One composed stream, as the frames that reached the device.

    Attributes
    ----------
    times : float64 array, [frames]
        Seconds from 0, whole numbers of `1 / fps`; frames that were lost are absent.
    pixels : uint8 array, [frames, size, size]
    present : bool array, [frames]
        False where the detector missed the face: there is a picture, but nobody may look. The face
        is found in the first frame.
    targets : float32 array, [frames, labels]
        How much of each label is in the picture; sums to 1.
    stretch : int64 array, [frames]
        Number of the still that is shown alone, or -1 while one fades into the next.
    fps : float
        Frames a second.
    """

    times: npt.NDArray[np.float64]
    pixels: UInt8Array
    present: npt.NDArray[np.bool_]
    targets: Float32Array
    stretch: npt.NDArray[np.int64]
    fps: float


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """Which frames of a stream belong to each step of the head, int64 [steps] each.

    `seen` is the frame whose embedding the head is given; `shown` the newest one there is when it
    steps, in which the face may have been missed, and which says what is true.
    """

    seen: npt.NDArray[np.int64]
    shown: npt.NDArray[np.int64]


def check_labels(labels: npt.NDArray[np.integer[Any]]) -> None:
    """Refuse stills of one label, for streams need two.

    Raises
    ------
    DataError
        They are.
    """
    if len(np.unique(labels)) == 1:
        raise DataError("all pictures of val have one label, and streams need two; add others")


def compose(
    tiles: Tiles,
    settings: StreamSettings,
    random: np.random.Generator,
    labels: int = len(LABELS),
    *,
    fps: float = STEP_HZ,
) -> Stream:
    """Compose one stream from tiles of `labels` labels.

    The same generator state gives the same. At another frame rate it gives the same stills, which
    change at the same times, and other motion.
    """
    fades = _fades(settings, random)
    follow = stills.chosen(tiles, len(fades) + 1, settings.candidates, random)
    times = np.arange(max(1, round(settings.seconds * fps))) / fps
    kept = _kept(len(times), settings.dropped, random)
    side = tiles.pixels.shape[1]
    poses = motion.poses(len(times), side, settings.motion, fps, random).of(kept)
    stir = warps.moved(times, settings.features, fps, random)[kept]
    light = webcam.light(len(times), settings.webcam, fps, random).of(kept)
    times = times[kept]
    first, weight = _mixture(fades, times)
    mixed = _mixed(stills.in_one_light(tiles.pixels[follow]), first, weight[:, None, None])
    exposure = random.uniform(0, settings.webcam.exposure)
    seen = motion.shot(mixed, poses, warps.displacements(stir, side), exposure)
    seen, hidden = webcam.covered(webcam.lit(seen, light), times, settings.webcam, random)
    seen = webcam.grained(seen, settings.webcam, random)
    one_hot = np.eye(labels, dtype=np.float32)[tiles.labels[follow]]
    return Stream(
        times=times,
        pixels=webcam.coded(seen, settings.webcam, fps, random).astype(np.uint8),
        present=_present(times, hidden, settings, random),
        targets=_mixed(one_hot, first, weight[:, None]),
        stretch=np.where(weight == 0, first, np.where(weight == 1, first + 1, -1)),
        fps=fps,
    )


def ticks(stream: Stream, steps: int, step_hz: float = STEP_HZ) -> Ticks:
    """Return what the head looks at in each of so many steps, as `edge.emotion` has it.

    A tick is due at the first frame with a face at or after its time, and sees that frame; where
    several are due at once, all but the last see the frame before. Gaps long enough for the device
    to forget the face are hardly ever composed, and not accounted for.
    """
    present = np.flatnonzero(stream.present)
    reached = np.floor((stream.times[present] + _ROUNDING) * step_hz).astype(np.int64)
    step = np.arange(steps)
    place = np.searchsorted(reached, step)
    late = place == len(present)
    place = np.minimum(place, len(present) - 1)
    early = ~late & (reached[place] > step)
    seen = present[place - early]
    newest = np.searchsorted(stream.times, step / step_hz + _ROUNDING, side="right") - 1
    return Ticks(seen, np.maximum(seen, newest))


def frame_rate(random: np.random.Generator) -> float:
    """Draw how many frames a second a stream has: from 5 to 30, doublings alike."""
    low, high = np.log([SLOWEST, FASTEST])
    return float(np.round(np.exp(random.uniform(low, high))))


def looks(
    tiles: Tiles, settings: StreamSettings, random: np.random.Generator, labels: int
) -> UInt8Array:
    """Compose one stream; return what the head's steps look at, uint8 [steps, size, size]."""
    stream = compose(tiles, settings, random, labels)
    return stream.pixels[ticks(stream, settings.steps).seen]


def _fades(settings: StreamSettings, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return when each still begins to fade and when it is gone, in seconds, [stills, 2].

    The last of them is gone when the stream has ended, and not before.
    """
    fades, now = list[tuple[float, float]](), 0.0
    while now < settings.seconds:
        start = now + random.uniform(settings.shortest_hold, settings.longest_hold)
        now = start + random.uniform(settings.shortest_fade, settings.longest_fade)
        fades.append((start, now))
    return np.array(fades)


def _mixture(
    fades: npt.NDArray[np.float64], times: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], Float32Array]:
    """Return which still is shown at each time, and how much of the next is mixed in.

    The share rises along half a cosine, as movements begin and end, in steps of a ten-thousandth.
    """
    first = np.searchsorted(fades[:, 1], times, side="right")
    start, end = fades[first].T
    share = np.clip((times - start) / (end - start), 0, 1)
    return first, (0.5 - 0.5 * np.cos(np.pi * share)).round(4).astype(np.float32)


def _mixed(each: Float32Array, first: npt.NDArray[np.int64], weight: Float32Array) -> Float32Array:
    return np.asarray((1 - weight) * each[first] + weight * each[first + 1], dtype=np.float32)


def _kept(frames: int, dropped: float, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return which frames reach the device; the first does."""
    share = random.uniform(0, dropped)
    kept = random.random(frames) >= share
    kept[0] = True
    return np.flatnonzero(kept)


def _present(
    times: npt.NDArray[np.float64],
    hidden: Float32Array,
    settings: StreamSettings,
    random: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Return in which frames the detector finds the face: always in the first."""
    found = (hidden < _HIDDEN) | (random.random(len(times)) >= settings.missed_covers)
    for miss in spans(settings.seconds, settings.misses, 0, settings.longest_miss, random):
        begun = int(np.searchsorted(times, miss.start))
        found[begun : max(begun + 1, int(np.searchsorted(times, miss.end)))] = False
    found[0] = True
    return found
