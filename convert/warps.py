"""Small movements of a face's own: mouth corners, lips, brows and lids, and blinks.

A tile is warped around points of the face by moving least squares: Schaefer, McPhail and Warren,
"Image deformation using moving least squares", 2006, section 2.1, affine deformations. The points
lie where the device's crop brings them, not where each face has its own; movements are of a pixel
or two of 48, which is less than what tells one expression from another.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.drift import spans, wander
from convert.framing import CROP
from edge.datatypes import Float32Array

_FALL = 3.0
"""Weights fall with this power of the distance to a point: twice alpha of the paper."""

_EYES_APART = 1 / 2.75
"""Of FER2013's faces, in sides of the tile; see `convert.framing`."""
_DOWN = math.sqrt(CROP.face_length**2 - _EYES_APART**2)
_EYES = CROP.centre_line - _DOWN / 2
_MOUTH = CROP.centre_line + _DOWN / 2
_EYE = _EYES_APART / 2
"""How far an eye lies from the middle."""

_MOVED = {
    "right lid": (0.5 - _EYE, _EYES - 0.02),
    "left lid": (0.5 + _EYE, _EYES - 0.02),
    "right outer brow": (0.5 - 0.30, _EYES - 0.08),
    "right inner brow": (0.5 - 0.09, _EYES - 0.08),
    "left inner brow": (0.5 + 0.09, _EYES - 0.08),
    "left outer brow": (0.5 + 0.30, _EYES - 0.08),
    "right corner": (0.5 - 0.14, _MOUTH),
    "left corner": (0.5 + 0.14, _MOUTH),
    "upper lip": (0.5, _MOUTH - 0.03),
    "lower lip": (0.5, _MOUTH + 0.05),
}
"""Points that move, as fractions of the tile: right and left are the person's own."""

_HELD = (
    *((0.5 + side * (_EYE + way * 0.10), _EYES) for side in (-1, 1) for way in (-1, 1)),
    *((0.5 + side * _EYE, _EYES + 0.06) for side in (-1, 1)),
    (0.5, _EYES),
    (0.5, 0.58),
    *((0.5 + side * 0.09, 0.63) for side in (-1, 1)),
    *((0.5 + side * 0.38, 0.45) for side in (-1, 1)),
    *((0.5 + side * 0.32, 0.72) for side in (-1, 1)),
    *((x, 0.15) for x in (0.25, 0.5, 0.75)),
    *((x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0) if (x, y) != (0.5, 0.5)),
)
"""Points that stay: corners of the eyes and below them, nose, temples, cheeks, forehead, border."""

_WAYS: tuple[dict[str, tuple[float, float]], ...] = (
    {"right corner": (-0.4, -1), "left corner": (0.4, -1)},
    {"right corner": (-0.8, 0), "left corner": (0.8, 0)},
    {"right corner": (0, -0.6), "left corner": (0, 0.4)},
    {"lower lip": (0, 1), "right corner": (0, 0.2), "left corner": (0, 0.2)},
    {"upper lip": (0, -0.6)},
    {name: (0, -1) for name in _MOVED if "brow" in name},
    {"right inner brow": (0.5, 0.7), "left inner brow": (-0.5, 0.7)},
    {"right outer brow": (0, -0.7), "left outer brow": (0, 0.3)},
    {"right lid": (0, 0.6), "left lid": (0, 0.6)},
)
"""How muscles move points together, right and down, of a movement of one."""


@dataclass(frozen=True, slots=True)
class Features:
    """How far a face's features move; lengths are in sides of the tile.

    Attributes
    ----------
    reach : float
        Standard deviation of each way in which they move together.
    most : float
        Beyond which no point goes.
    calm : float
        Seconds over which a movement is forgotten.
    blinks : float
        A minute.
    shortest_blink, longest_blink : float
        Seconds from open to open.
    """

    reach: float = 0.012
    most: float = 0.04
    calm: float = 0.5
    blinks: float = 15.0
    shortest_blink: float = 0.15
    longest_blink: float = 0.35


def moved(
    times: npt.NDArray[np.float64], how: Features, fps: float, random: np.random.Generator
) -> Float32Array:
    """Return where the moving points of a face go, in sides of the tile.

    Parameters
    ----------
    times
        Seconds, [frames], `1 / fps` apart.
    how
        How far.
    fps
        Frames a second.
    random
        Decides it.

    Returns
    -------
    float32 array, [frames, points, 2]
        Offsets to the right and down.
    """
    paths = how.reach * wander(len(_WAYS), len(times), how.calm, fps, random)
    offsets = np.tensordot(paths.T, _ways(), axes=1)
    seconds = len(times) / fps
    for blink in spans(seconds, how.blinks, how.shortest_blink, how.longest_blink, random):
        share = np.clip((times - blink.start) / (blink.end - blink.start), 0, 1)
        offsets[:, : len(_LIDS), 1] += (how.most * np.sin(np.pi * share) ** 2)[:, None]
    return np.asarray(how.most * np.tanh(offsets / how.most), dtype=np.float32)


def displacements(offsets: Float32Array, side: int) -> Float32Array:
    """Return from how far each pixel of a warped tile comes, in pixels.

    The points' new places are the paper's p and their old ones its q, so that the deformation is
    the map back, which resampling wants. It is linear in q: one matrix serves all frames.

    Parameters
    ----------
    offsets
        Of the moving points, [frames, points, 2], as `moved` returns them. They are small, so that
        the weights may be those of points that did not move.
    side
        Of the tile, in pixels.

    Returns
    -------
    float32 array, [frames, side, side, 2]
        To the right and down; zero where nothing moves.
    """
    weights = _weights(side)[: len(_MOVED)]
    back = -side * np.tensordot(offsets, weights, axes=(1, 0))
    return np.asarray(np.moveaxis(back, 1, -1), dtype=np.float32)


_LIDS = [name for name in _MOVED if "lid" in name]


def _ways() -> Float32Array:
    """Return the ways to move as an array, [ways, points, 2]."""
    ways = np.zeros((len(_WAYS), len(_MOVED), 2), np.float32)
    names = list(_MOVED)
    for index, way in enumerate(_WAYS):
        for name, offset in way.items():
            ways[index, names.index(name)] = offset
    return ways


@functools.lru_cache(maxsize=4)
def _weights(side: int) -> Float32Array:
    """Return how much of each point's place is in each pixel's, [points, side, side].

    A pixel v goes to the sum of these times q, for equation 5 of the paper, with the q* in it
    written out, is `sum_j (A_j + w_j / sum w) q_j`: the A_j sum to zero.
    """
    points = np.array([*_MOVED.values(), *_HELD])
    centres = (np.arange(side) + 0.5) / side
    v = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 1, 2)
    apart = ((points - v) ** 2).sum(axis=2)
    w = (apart + 1e-6) ** (-_FALL / 2)
    share = w / w.sum(axis=1, keepdims=True)
    middle = share @ points
    around = points - middle[:, None]
    spread = np.einsum("vj,vja,vjb->vab", share, around, around)
    along = np.linalg.solve(spread, (v[:, 0] - middle)[:, :, None])[:, :, 0]
    weights = share * (1 + np.einsum("va,vja->vj", along, around))
    return np.asarray(weights.T.reshape(-1, side, side), dtype=np.float32)
