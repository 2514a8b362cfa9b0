"""How a face moves in its tile: the head before the camera, and the detector's unsteady hand.

The device cuts the face out anew in each frame. What the head does slowly is left in the tile in
part, for keypoints lean to one side as it turns; what the detector does wrong differs from frame to
frame. A head that moves fast in the picture is smeared, though the crop follows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convert.drift import wander
from edge.datatypes import Float32Array
from edge.imaging import resampled


@dataclass(frozen=True, slots=True)
class Motion:
    """How far faces move. Each stream has between half of this and all of it.

    Standard deviations; lengths are in sides of the tile, angles in degrees.

    Attributes
    ----------
    calm : float
        Seconds over which the head forgets where it was.
    travel : float
        Of the head in the picture, which smears it.
    shift, scale, rotation : float
        What of the head's motion stays in the tile.
    squeeze : float
        Share by which a face that turns or nods gets narrower or shorter.
    jitter, jitter_scale, jitter_rotation : float
        Of the detector's keypoints, from frame to frame.
    slips : float
        Share of frames in which the detector errs by `slip` times as much.
    slip : float
    """

    calm: float = 0.7
    travel: float = 0.15
    shift: float = 0.025
    scale: float = 0.03
    rotation: float = 4.0
    squeeze: float = 0.03
    jitter: float = 0.007
    jitter_scale: float = 0.01
    jitter_rotation: float = 0.8
    slips: float = 0.02
    slip: float = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Where a face lies in each frame.

    Attributes
    ----------
    linear : float32 array, [frames, 2, 2]
        Takes a pixel of the tile, counted from the tile's middle, to one of the still.
    shift : float32 array, [frames, 2]
        By how many pixels the face lies further right and down.
    velocity : float32 array, [frames, 2]
        Of the head in the picture, in pixels of the tile a second.
    """

    linear: Float32Array
    shift: Float32Array
    velocity: Float32Array

    def of(self, chosen: np.ndarray) -> Poses:
        """Return those of some frames, by index."""
        return Poses(self.linear[chosen], self.shift[chosen], self.velocity[chosen])


def poses(frames: int, side: int, how: Motion, fps: float, random: np.random.Generator) -> Poses:
    """Move a face through a stream; side is the tile's, in pixels."""
    x, y, grow, angle, squeeze = wander(5, frames, how.calm, fps, random) * random.uniform(0.5, 1)
    error = random.standard_normal((4, frames)) * random.uniform(0.5, 1)
    error *= np.where(random.random(frames) < how.slips, how.slip, 1)
    shift = side * (how.shift * np.stack([x, y]) + how.jitter * error[:2])
    size = np.exp(-how.scale * grow - how.jitter_scale * error[2])
    turn = -np.radians(how.rotation * angle + how.jitter_rotation * error[3])
    cos, sin = size * np.cos(turn), size * np.sin(turn)
    wider, higher = np.exp(how.squeeze * squeeze), np.exp(-how.squeeze * squeeze)
    linear = np.stack([cos * wider, -sin * higher, sin * wider, cos * higher], axis=1)
    # A frame alone stands still.
    speed = np.gradient(np.stack([x, y]), axis=1) if frames > 1 else np.zeros((2, 1))
    return Poses(
        linear.reshape(-1, 2, 2).astype(np.float32),
        shift.T.astype(np.float32),
        (how.travel * side * fps * speed.T).astype(np.float32),
    )


def shot(stills: Float32Array, poses: Poses, face: Float32Array, exposure: float) -> Float32Array:
    """Return what a camera sees of faces that move, uint8 range, float32 [frames, side, side].

    Both movements are resampled as one, for each resampling blurs. A picture that moves by half a
    pixel or more while the shutter is open is the mean of pictures about a pixel apart.

    Parameters
    ----------
    stills
        What the face looks like in each frame, float32 [frames, side, side].
    poses
        Where it lies.
    face
        How its features moved, [frames, side, side, 2]: see `warps.displacements`.
    exposure
        Seconds that the shutter is open.
    """
    side = stills.shape[1]
    middle = (side - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1) - middle
    out = np.empty_like(stills)
    for index, still in enumerate(stills):
        smear = exposure * poses.velocity[index]
        length = float(np.hypot(*smear))
        many = 1 if length < 0.5 else int(np.ceil(length)) + 1  # noqa: PLR2004  # pixels
        parts = []
        for part in (np.arange(many) + 0.5) / many - 0.5:
            place = grid - (poses.shift[index] + part * smear)
            place = (place @ poses.linear[index].T + middle).astype(np.float32)
            place += resampled(face[index], place)
            parts.append(resampled(still, place))
        out[index] = np.mean(parts, axis=0) if many > 1 else parts[0]
    return out
