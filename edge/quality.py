"""How good a look at a face is: size, sharpness, light and pose. Pure.

There are two sets of limits. `Settings.quality` is the gate: beyond it answers are so often wrong
that none is given. `ADVISED` is for whoever mounts the camera: where pictures leave the training
data's own range, below the 1st or above the 99th percentile of 4,000 FER2013 training tiles. What
both were measured on is in docs/measurements.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.crop import geometry
from edge.datatypes import UNSURE, Estimate, Flaw, Keypoints, UInt8Array
from edge.imaging import mean_and_deviation, sharpness
from edge.settings import Limits

ADVISED = Limits(
    least_side_pixels=32.0,  # a smaller face is enlarged by half or more to fill the tile
    least_sharpness=0.21,
    least_light=52.0,
    most_light=202.0,
    least_contrast=25.0,
    most_yaw_degrees=35.0,  # beyond it one side of the mouth is hidden; from geometry, not the data
)

_NOSE_LENGTH = 0.55
"""How far the tip of a nose stands out from the plane of the eyes, in eye distances."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of one look at one face.

    Attributes
    ----------
    side_pixels
        The side of the square that is cut out, in pixels of the camera.
    sharpness
        Energy of the tile's second derivative over that of the tile; see `imaging.sharpness`.
    light, contrast
        Mean and standard deviation of the tile's luma, 0 to 255.
    yaw_degrees, roll_degrees
        Turned to the subject's own left (positive), and tilted clockwise on screen (positive).
        Estimated from the keypoints; good to about ten degrees.
    """

    side_pixels: float
    sharpness: float
    light: float
    contrast: float
    yaw_degrees: float
    roll_degrees: float


def flaws(quality: Quality, allowed: Limits) -> tuple[Flaw, ...]:
    """Return which limits a look is beyond; none where it is good enough.

    Examples
    --------
    >>> from dataclasses import replace
    >>> good = Quality(120.0, 0.6, 128.0, 50.0, -5.0, 3.0)
    >>> flaws(good, ADVISED)
    ()
    >>> flaws(replace(good, light=20.0, yaw_degrees=-60.0), ADVISED)
    ('dark', 'turned')
    """
    beyond: tuple[tuple[Flaw, bool], ...] = (
        ("small", quality.side_pixels < allowed.least_side_pixels),
        ("dark", quality.light < allowed.least_light),
        ("bright", quality.light > allowed.most_light),
        ("flat", quality.contrast < allowed.least_contrast),
        ("blurred", quality.sharpness < allowed.least_sharpness),
        ("turned", abs(quality.yaw_degrees) > allowed.most_yaw_degrees),
    )
    return tuple(flaw for flaw, is_beyond in beyond if is_beyond)


def unjudged(labels: tuple[str, ...]) -> Estimate:
    """Return the estimate of a face of which only poor looks are known: any label may be it."""
    share = 1.0 / len(labels)
    return Estimate(labels, (share,) * len(labels), UNSURE, share)


def assess(
    tile: UInt8Array, keypoints: Keypoints, *, width: int, height: int, face_length: float
) -> Quality:
    """Measure one look at one face.

    Parameters
    ----------
    tile
        uint8, [size, size], from `edge.crop`.
    keypoints
        The face, as fractions of the frame.
    width, height
        The frame's size in pixels.
    face_length
        The bundle's `input.crop.face_length`.
    """
    face = geometry(keypoints, width, height)
    light, contrast = mean_and_deviation(tile)
    return Quality(
        side_pixels=face.length / face_length,
        sharpness=sharpness(tile),
        light=light,
        contrast=contrast,
        yaw_degrees=_yaw(keypoints, width, height, face.angle),
        roll_degrees=math.degrees(face.angle),
    )


def _yaw(keypoints: Keypoints, width: int, height: int, angle: float) -> float:
    """Estimate how far the head is turned from how far the nose is off the eyes' middle.

    A turn by t moves the nose's tip sideways by its length times sin t, while the eyes' distance
    shrinks by cos t; their quotient is the length times tan t.
    """
    right, left, nose = keypoints.right_eye, keypoints.left_eye, keypoints.nose_tip
    eyes = math.hypot((left.x - right.x) * width, (left.y - right.y) * height)
    across = (nose.x - (left.x + right.x) / 2) * width
    down = (nose.y - (left.y + right.y) / 2) * height
    aside = across * math.cos(angle) + down * math.sin(angle)
    return math.degrees(math.atan2(aside, max(eyes, 1e-6) * _NOSE_LENGTH))
