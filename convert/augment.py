"""Strong augmentation: what a camera, a room and a crowd do to a face, before it is learned from.

Each tile is moved as `data.augment` moves it; then each of the other changes is made to a share of
the tiles, drawn anew each time. The house's own resampling does the moving, all else is arithmetic
over many tiles at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.data import resample, similarity
from edge.datatypes import Float32Array, UInt8Array
from edge.imaging import warp_square

_AT_ONCE = 512
"""Tiles; their floats then stay in a processor's cache."""

Change = Callable[[Float32Array, np.random.Generator], Float32Array]
"""Takes and gives pixels, float32 [n, size, size] of about 0 to 255."""


@dataclass(frozen=True, slots=True)
class Strong:
    """How strongly tiles are changed; ranges are uniform within plus or minus.

    Attributes
    ----------
    shift, scale, rotation
        As in `data.Augmentation`.
    coarse, blur, light, slope, noise, jpeg, cover
        Which share of tiles is resampled through fewer pixels, blurred, relit (contrast,
        brightness, gamma), lit from one side, given noise, JPEG's artefacts, or covered in part.
    """

    shift: float = 0.08
    scale: float = 0.15
    rotation: float = 15.0
    coarse: float = 0.2
    blur: float = 0.15
    light: float = 0.8
    slope: float = 0.2
    noise: float = 0.25
    jpeg: float = 0.15
    cover: float = 0.4


def augment(pixels: UInt8Array, how: Strong, random: np.random.Generator) -> UInt8Array:
    """Return each tile mirrored by chance, moved, relit, spoilt and covered by chance.

    Parameters
    ----------
    pixels
        uint8 [n, size, size].
    how
        How strongly.
    random
        Decides all of it.

    Returns
    -------
    uint8 array, [n, size, size]
    """
    out = np.empty_like(pixels)
    for start in range(0, len(pixels), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        values = _moved(pixels[part], how, random).astype(np.float32)
        for share, change in (
            (how.light, relit),
            (how.slope, lit_from_a_side),
            (how.blur, blurred),
            (how.noise, noisy),
            (how.jpeg, compressed),
            (how.cover, covered),
        ):
            chosen = np.flatnonzero(random.random(len(values)) < share)
            if chosen.size:
                values[chosen] = change(values[chosen], random)
        out[part] = np.clip(np.rint(values), 0, 255)
    return out


def _moved(pixels: UInt8Array, how: Strong, random: np.random.Generator) -> UInt8Array:
    """Mirror, shift, turn, resize; resample some through a half to all of their pixels."""
    count, size = len(pixels), pixels.shape[1]
    mirrored = random.integers(2, size=count)
    x, y = random.uniform(-how.shift, how.shift, (2, count))
    scale = np.exp(random.uniform(-how.scale, how.scale, count))
    angle = np.radians(random.uniform(-how.rotation, how.rotation, count))
    coarse = random.random(count) < how.coarse
    side = random.integers(size // 2, size, count)
    out = np.empty_like(pixels)
    for index, tile in enumerate(pixels):
        seen = np.ascontiguousarray(tile[:, ::-1]) if mirrored[index] else tile
        place = similarity(x[index], y[index], scale[index], angle[index], size)
        seen = warp_square(seen, place, size)
        out[index] = resample(seen, int(side[index])) if coarse[index] else seen
    return out


def relit(values: Float32Array, random: np.random.Generator) -> Float32Array:
    """Change contrast about the mean, brightness, and gamma (0.6 to 1.7)."""
    gain = 1 + _each(values, random, -0.4, 0.4)
    lift = _each(values, random, -40, 40)
    power = np.exp(_each(values, random, -0.5, 0.5))
    mean = values.mean(axis=(1, 2), keepdims=True)
    shares = np.clip((values - mean) * gain + mean + lift, 0, 255) / 255
    return np.asarray(255 * shares**power, dtype=np.float32)


def lit_from_a_side(values: Float32Array, random: np.random.Generator) -> Float32Array:
    """Multiply by a plane that rises by up to 1.2 from one edge to the other, from anywhere."""
    height, width = values.shape[1:]
    angle = _each(values, random, 0, 2 * np.pi)
    along = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, None, :] * np.cos(angle)
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[None, :, None] * np.sin(angle)
    rise = _each(values, random, 0.3, 1.2)
    return np.asarray(np.clip(values * (1 + rise * (along + down)), 0, 255), dtype=np.float32)


def blurred(values: Float32Array, random: np.random.Generator) -> Float32Array:
    """Convolve with a Gaussian of 0.4 to 1.4 pixels."""
    sigma = _each(values, random, 0.4, 1.4)[:, 0, 0]
    taps = np.arange(-3, 4, dtype=np.float32)
    kernel = np.exp(-0.5 * (taps[None] / sigma[:, None]) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    for axis in (1, 2):
        around = [(0, 0), (0, 0), (0, 0)]
        around[axis] = (3, 3)
        padded = np.pad(values, around, mode="edge")
        length = values.shape[axis]
        shifted = (padded.take(range(n, n + length), axis) for n in range(7))
        values = np.asarray(
            sum(kernel[:, n, None, None] * each for n, each in enumerate(shifted)), np.float32
        )
    return values


def noisy(values: Float32Array, random: np.random.Generator) -> Float32Array:
    """Add Gaussian noise of a standard deviation of up to 14."""
    amount = _each(values, random, 2, 14)
    grain = random.standard_normal(values.shape, dtype=np.float32)
    return np.asarray(values + amount * grain, dtype=np.float32)


def compressed(values: Float32Array, random: np.random.Generator) -> Float32Array:
    """Quantise as a JPEG of quality 10 to 60 does.

    A tile's last rows and columns that fill no block of 8 are left as they are.
    """
    steps = jpeg_steps(_each(values, random, 10, 60))[:, None, None]
    out = np.array(values, dtype=np.float32)
    fit = values.shape[1] // 8 * 8
    whole = through_cosines(values[:, :fit, :fit] - 128, steps)
    out[:, :fit, :fit] = np.clip(whole + 128, 0, 255)
    return out


def jpeg_steps(quality: float | Float32Array) -> Float32Array:
    """Return the steps to which a JPEG of quality 1 to 100 rounds a block, [..., 8, 8].

    ITU-T T.81, 1992, the table for luma of annex K.1, scaled as the library of the Independent JPEG
    Group scales it. Of several qualities, [n, 1, 1], there are steps for each.
    """
    scale = np.where(quality < 50, 50 / quality, 2 - quality / 50)  # noqa: PLR2004  # percent
    return np.maximum(1, _LUMA * scale).astype(np.float32)


def through_cosines(values: Float32Array, steps: Float32Array, dead: float = 0.0) -> Float32Array:
    """Transform blocks of 8, round frequencies to whole numbers of their steps, transform back.

    ITU-T T.81, 1992, annex A.3.3.

    Parameters
    ----------
    values
        float32 [n, height, width] about zero; both sides are multiples of 8.
    steps
        Broadcast to [n, height / 8, width / 8, 8, 8].
    dead
        Steps, below a half, by which each frequency is brought nearer to zero before it is rounded.

    Returns
    -------
    float32 array, [n, height, width]
        Not clipped.
    """
    count, height, width = values.shape
    tiled = values.reshape(count, height // 8, 8, width // 8, 8).swapaxes(2, 3)
    found = _COSINES @ tiled @ _COSINES.T / steps
    stored = np.rint(found - np.copysign(np.float32(dead), found)) * steps
    back = (_COSINES.T @ stored @ _COSINES).swapaxes(2, 3)
    return np.asarray(back.reshape(values.shape), dtype=np.float32)


def covered(values: Float32Array, random: np.random.Generator) -> Float32Array:
    """Cover a rectangle of an eighth to a half of each side, in one grey or in noise.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
    2017, section 3, with the fillings of Zhong et al., "Random Erasing Data Augmentation", 2020.
    """
    size = values.shape[1]
    middle = random.uniform(0, size, (2, len(values), 1))
    half = random.uniform(size / 16, size / 4, (2, len(values), 1))
    inside = np.abs(np.arange(size) + 0.5 - middle) < half
    cover = inside[0][:, :, None] & inside[1][:, None, :]
    grey = np.broadcast_to(_each(values, random, 0, 255), values.shape)
    grain = random.uniform(0, 255, values.shape).astype(np.float32)
    grained = random.random((len(values), 1, 1)) < 0.3  # noqa: PLR2004  # most covers are smooth
    return np.asarray(np.where(cover, np.where(grained, grain, grey), values), np.float32)


def _each(
    values: Float32Array, random: np.random.Generator, low: float, high: float
) -> Float32Array:
    """Return a number for each tile, [n, 1, 1]."""
    return random.uniform(low, high, (len(values), 1, 1)).astype(np.float32)


_COSINES: npt.NDArray[np.float32] = np.array(
    [
        [np.sqrt((1 if k == 0 else 2) / 8) * np.cos((2 * n + 1) * k * np.pi / 16) for n in range(8)]
        for k in range(8)
    ],
    dtype=np.float32,
)
"""The orthonormal cosine transform of eight samples: rows are frequencies."""

_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float32,
)
"""ITU-T T.81, table K.1."""
