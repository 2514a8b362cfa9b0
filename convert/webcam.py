"""What a cheap camera and its room add to a stream of faces: light, hands, grain, compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.augment import jpeg_steps, through_cosines
from convert.drift import Span, spans, wander
from edge.datatypes import Float32Array

_BLOCK = 8
_DEAD = 1 / 3
"""Steps by which encoders of video widen what they round to nothing, which keeps the picture calm:
Sullivan, "Efficient scalar quantization of exponential and Laplacian random variables", 1996; the
rounding offset of 1/6 is that of the reference encoder of ITU-T H.264."""


@dataclass(frozen=True, slots=True)
class Webcam:
    """How strongly streams are relit, covered and spoilt.

    Attributes
    ----------
    calm : float
        Seconds over which the light forgets how it was.
    contrast, brightness : float
        Standard deviations of the light's drift, as `data.Augmentation` counts them.
    slope : float
        Standard deviation of how much brighter one edge of the face is than the other, of 1.
    exposure : float
        Longest time that the shutter is open, in seconds.
    noise : float
        Largest standard deviation of the sensor's noise in a mid grey, in pixel values.
    covers : float
        How often something passes before the face, a minute.
    shortest_cover, longest_cover : float
        Seconds that it takes.
    coded : float
        Share of streams that are compressed: half of them picture by picture, half as video.
    lowest_quality, highest_quality : float
        Of the compression, as a JPEG's: 1 to 100.
    key_frames : float
        Seconds between pictures of a video that are coded by themselves.
    """

    calm: float = 1.5
    contrast: float = 0.10
    brightness: float = 0.04
    slope: float = 0.15
    exposure: float = 0.05
    noise: float = 6.0
    covers: float = 3.0
    shortest_cover: float = 0.1
    longest_cover: float = 0.5
    coded: float = 0.6
    lowest_quality: float = 35.0
    highest_quality: float = 90.0
    key_frames: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The light in each frame, float32 [frames] each.

    `gain` is about the mean, `lift` in pixel values, `right` and `down` how much brighter the
    tile's right and lower edges are than their opposites, of 1.
    """

    gain: Float32Array
    lift: Float32Array
    right: Float32Array
    down: Float32Array

    def of(self, chosen: npt.NDArray[np.int64]) -> Light:
        """Return that of some frames, by index."""
        return Light(*(each[chosen] for each in (self.gain, self.lift, self.right, self.down)))


def light(frames: int, how: Webcam, fps: float, random: np.random.Generator) -> Light:
    """Let the light of a stream drift."""
    gain, lift, right, down = wander(4, frames, how.calm, fps, random)
    return Light(
        1 + how.contrast * gain, 255 * how.brightness * lift, how.slope * right, how.slope * down
    )


def lit(values: Float32Array, light: Light) -> Float32Array:
    """Return tiles, float32 [frames, side, side], in another light; nothing is clipped."""
    side = values.shape[1]
    plane = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    slope = 1 + light.right[:, None, None] * plane + light.down[:, None, None] * plane[:, None]
    mean = values.mean(axis=(1, 2), keepdims=True)
    gain, lift = light.gain[:, None, None], light.lift[:, None, None]
    return np.asarray(((values - mean) * gain + mean + lift) * slope, dtype=np.float32)


def covered(
    values: Float32Array, times: npt.NDArray[np.float64], how: Webcam, random: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Let hands and arms pass before a face now and then.

    Parameters
    ----------
    values
        float32 [frames, side, side].
    times
        Of the frames, in seconds.
    how
        How often.
    random
        Decides it.

    Returns
    -------
    float32 array, [frames, side, side]
    float32 array, [frames]
        The share of each tile that is covered.
    """
    out, share = np.array(values), np.zeros(len(values), np.float32)
    seconds = float(times[-1])
    for span in spans(seconds, how.covers, how.shortest_cover, how.longest_cover, random):
        inside = np.flatnonzero((times >= span.start) & (times <= span.end))
        if not inside.size:
            continue
        tone, cover = _passing(span, times[inside], values.shape[1], random)
        grey = np.median(values[inside], axis=(1, 2))[:, None, None] * tone
        out[inside] += cover * (grey - out[inside])
        share[inside] = np.maximum(share[inside], cover.mean(axis=(1, 2)))
    return out, share


def _passing(
    span: Span, times: npt.NDArray[np.float64], side: int, random: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Return how bright something is that passes, of the face's grey, and what it hides.

    It is a thick line with round ends: a short one is a fist or a palm, a long one an arm. It
    crosses the tile from edge to edge while the span lasts. Both are [frames, side, side].
    """
    heading = random.uniform(0, 2 * np.pi)
    lean = heading + np.pi / 2 + random.uniform(-0.5, 0.5)
    arm = random.random() < 0.5  # noqa: PLR2004  # a coin
    thick = random.uniform(0.09, 0.16) if arm else random.uniform(0.14, 0.24)
    long = 1.5 if arm else random.uniform(0.05, 0.15)
    aside, tone = random.uniform(-0.25, 0.25), random.uniform(0.45, 0.95)
    along = (times - span.start) / (span.end - span.start) * 2 - 1
    far = 0.6 + thick
    ahead = np.array([np.cos(heading), np.sin(heading)])
    place = 0.5 + (far * along)[:, None] * ahead + aside * np.array([-ahead[1], ahead[0]])
    centres = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(centres, centres), axis=-1)
    away = grid - place[:, None, None]
    axis = np.array([np.cos(lean), np.sin(lean)])
    # An arm ends where the hand does: it reaches one way only.
    reach = np.clip(away @ axis, 0 if arm else -long, long)
    distance = np.linalg.norm(away - reach[..., None] * axis, axis=-1) / thick
    soft = max(0.1, 1.5 / (side * thick))
    cover = np.clip((1 - distance) / soft + 0.5, 0, 1)
    round_ = tone * (1.05 - 0.35 * np.minimum(distance, 1) ** 2)
    return round_.astype(np.float32), cover.astype(np.float32)


def grained(values: Float32Array, how: Webcam, random: np.random.Generator) -> Float32Array:
    """Add a sensor's noise: half its variance in a mid grey comes from reading, half from light.

    The light's part grows with the light (Janesick, "Photon Transfer", 2007, chapter 3).
    """
    amount = random.uniform(0, how.noise)
    spread = amount * np.sqrt(0.5 + np.clip(values, 0, 255) / 255)
    grain = random.standard_normal(values.shape, dtype=np.float32)
    return np.asarray(values + spread * grain, dtype=np.float32)


def coded(
    values: Float32Array, how: Webcam, fps: float, random: np.random.Generator
) -> Float32Array:
    """Compress some of the streams, as a webcam or a network camera does: see `as_video`.

    The grid of blocks lies anywhere.

    Returns
    -------
    float32 array, [frames, side, side]
        Whole numbers of 0 to 255, compressed or not.
    """
    values = np.clip(np.rint(values), 0, 255)
    chosen, video = random.random(2) < (how.coded, 0.5)
    steps = jpeg_steps(random.uniform(how.lowest_quality, how.highest_quality))
    left, top = random.integers(_BLOCK, size=2)
    if not chosen:
        return values
    side = values.shape[1]
    right, bottom = -(side + left) % _BLOCK, -(side + top) % _BLOCK
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)), mode="edge")
    between = max(1, round(how.key_frames * fps)) if video else 1
    decoded = as_video(padded, steps, between)[:, top : top + side, left : left + side]
    return np.asarray(np.rint(decoded), dtype=np.float32)


def as_video(values: Float32Array, steps: Float32Array, between: int) -> Float32Array:
    """Compress as video in its simplest form.

    What differs from the picture before, as that was decoded, is transformed and quantised (ITU-T
    H.261, 1993, section 3.2, the device's crop standing in for motion compensation). One picture
    in `between` is coded by itself, as a JPEG is; where each is, it is motion JPEG.

    Parameters
    ----------
    values
        float32 [frames, height, width] of 0 to 255, both sides multiples of 8.
    steps
        See `augment.jpeg_steps`.
    between
        Frames from one picture coded by itself to the next.

    Returns
    -------
    float32 array, [frames, height, width]
        Of 0 to 255.
    """
    decoded = np.empty_like(values)
    for start in range(0, len(values), between):
        before = np.full_like(values[:1], 128)
        for index in range(start, min(start + between, len(values))):
            dead = 0.0 if index == start else _DEAD
            before = before + through_cosines(values[index : index + 1] - before, steps, dead)
            before = np.clip(before, 0, 255)
            decoded[index] = before[0]
    return decoded
