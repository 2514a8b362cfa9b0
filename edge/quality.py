"""How good a look at a face is: size, sharpness, light and pose. Pure.

Limits are where pictures leave the training data's own range: below the 1st or above the 99th
percentile of 4,000 FER2013 training tiles (docs/measurements.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.crop import geometry
from edge.datatypes import Keypoints, UInt8Array
from edge.imaging import sharpness

LEAST_SIDE_PIXELS = 32.0
"""A smaller face is enlarged by half or more to fill the tile: it has no detail to see."""
LEAST_SHARPNESS = 0.21
LEAST_LIGHT = 52.0
MOST_LIGHT = 202.0
LEAST_CONTRAST = 25.0
MOST_YAW_DEGREES = 35.0
"""Beyond it one side of the mouth is hidden; from geometry, not from the data."""

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

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong, in words for whoever mounts the camera; empty where nothing is."""
        wrong = (
            ("too small", self.side_pixels < LEAST_SIDE_PIXELS),
            ("too dark", self.light < LEAST_LIGHT),
            ("too bright", self.light > MOST_LIGHT),
            ("no contrast", self.contrast < LEAST_CONTRAST),
            ("blurred", self.sharpness < LEAST_SHARPNESS),
            ("look here", abs(self.yaw_degrees) > MOST_YAW_DEGREES),
        )
        return tuple(words for words, is_wrong in wrong if is_wrong)


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
    return Quality(
        side_pixels=face.length / face_length,
        sharpness=sharpness(tile),
        light=float(tile.mean()),
        contrast=float(tile.std()),
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
