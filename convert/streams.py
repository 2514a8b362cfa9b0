"""Composed streams: what the temporal head learns from, since there is no labelled video.

A stream is one still after another, each of another label than the one before. A still is
moved, relit and made noisy as a face before a camera is, and fades over into the next. Every
figure measured on such streams must say that it comes from composed ones: the faces in them
change person as they change expression, and no muscle moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.data import LABELS, Tiles, relight, similarity
from edge.datatypes import Float32Array, UInt8Array
from edge.imaging import warp_square

STEP_HZ = 10.0
"""How often the head steps; the device steps at the same pace whatever its frame rate."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How streams are composed. Times are in seconds, motion as in `data.Augmentation`.

    `noise` is the largest standard deviation of the sensor's noise, in pixel values.
    `calm` is how long motion takes to forget where it was.
    """

    seconds: float = 8.0
    shortest_hold: float = 1.5
    longest_hold: float = 5.0
    shortest_fade: float = 0.3
    longest_fade: float = 0.8
    calm: float = 0.7
    shift: float = 0.025
    scale: float = 0.04
    rotation: float = 4.0
    contrast: float = 0.12
    brightness: float = 0.05
    noise: float = 6.0

    @property
    def steps(self) -> int:
        """How many steps of the head a stream lasts."""
        return round(self.seconds * STEP_HZ)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """One composed stream.

    Attributes
    ----------
    pixels : uint8 array, [steps, size, size]
    targets : float32 array, [steps, labels]
        How much of each label is in the picture; sums to 1.
    stretch : int64 array, [steps]
        Number of the still that is shown alone, or -1 while one fades into the next.
    """

    pixels: UInt8Array
    targets: Float32Array
    stretch: npt.NDArray[np.int64]


def compose(
    tiles: Tiles, settings: StreamSettings, random: np.random.Generator, labels: int = len(LABELS)
) -> Stream:
    """Compose one stream from tiles of `labels` labels; the same generator state gives the same."""
    steps = settings.steps
    weight, first = _schedule(settings, random)
    stills = _stills(tiles, int(first.max()) + 2, random)
    motion = [
        wander(steps, settings.calm, random) * reach
        for reach in (
            settings.shift,
            settings.shift,
            settings.scale,
            np.radians(settings.rotation),
            settings.contrast,
            255 * settings.brightness,
        )
    ]
    noise = random.uniform(0, settings.noise)
    pixels = np.empty((steps, *tiles.pixels.shape[1:]), np.uint8)
    for step, (x, y, scale, angle, gain, lift) in enumerate(zip(*motion, strict=True)):
        shown, coming = tiles.pixels[stills[first[step] : first[step] + 2]].astype(np.float32)
        mixed = np.rint(shown + weight[step] * (coming - shown)).astype(np.uint8)
        side = mixed.shape[0]
        moved = warp_square(mixed, similarity(x, y, 1 + scale, angle, side), side)
        grain = random.normal(0, noise, mixed.shape)
        lit = relight(moved, 1 + gain, lift) + grain
        pixels[step] = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    one_hot = np.eye(labels, dtype=np.float32)[tiles.labels[stills]]
    share = weight[:, None]
    targets = (1 - share) * one_hot[first] + share * one_hot[first + 1]
    return Stream(pixels, targets, np.where(weight > 0, -1, first))


def wander(steps: int, calm: float, random: np.random.Generator) -> Float32Array:
    """Return a smooth random path, float32 [steps], of mean 0 and standard deviation about 1.

    An Ornstein-Uhlenbeck process that forgets over `calm` seconds, smoothed over three steps.
    """
    keep = np.exp(-1 / (calm * STEP_HZ))
    kicks = random.normal(0, np.sqrt(1 - keep**2), steps + 2)
    path = np.empty(steps + 2)
    path[0] = random.normal()
    for step in range(1, steps + 2):
        path[step] = keep * path[step - 1] + kicks[step]
    return np.convolve(path, np.full(3, 1 / 3), mode="valid").astype(np.float32)


def _schedule(
    settings: StreamSettings, random: np.random.Generator
) -> tuple[Float32Array, npt.NDArray[np.int64]]:
    """Return, for each step, how much of the next still is mixed in, and which still is shown."""
    weight = np.zeros(settings.steps, np.float32)
    first = np.zeros(settings.steps, np.int64)
    start, number = 0, 0
    while start < settings.steps:
        hold = random.uniform(settings.shortest_hold, settings.longest_hold)
        fade = random.uniform(settings.shortest_fade, settings.longest_fade)
        held, faded = round(hold * STEP_HZ), round(fade * STEP_HZ)
        end = start + held + faded
        first[start:end] = number
        ramp = (np.arange(1, faded + 1) / (faded + 1)).astype(np.float32)
        room = weight[start + held : end]
        room[:] = ramp[: len(room)]
        start, number = end, number + 1
    return weight, first


def _stills(tiles: Tiles, count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw tiles, by index, so that no label follows itself (where there are two labels)."""
    chosen = [int(random.integers(len(tiles)))]
    several = bool((tiles.labels != tiles.labels[0]).any())
    while len(chosen) < count:
        index = int(random.integers(len(tiles)))
        if not several or tiles.labels[index] != tiles.labels[chosen[-1]]:
            chosen.append(index)
    return np.array(chosen)
