"""A face becomes the network's tile. This is the only copy: `convert` imports it.

The tile is framed as FER2013 frames its faces, so that training and serving see the same
picture. What fixes it is two points that every face detector gives, the middle of the eyes and
the mouth:

- the line through the eyes is made level;
- the point midway between eyes and mouth goes to the middle of the tile's width, `centre_line`
  of the way down;
- the tile's side is the face's length over `face_length`, where a face's length is the
  hypotenuse of the distance between the eyes and the distance from eyes to mouth. A face that
  turns shortens the first, one that nods the second; their hypotenuse changes least, and
  unlike the detectors' boxes it is the same for both detectors.

`mien-convert framing` measures both numbers on a folder of training faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.bundle import CropSpec
from edge.datatypes import Float32Array, Keypoints, UInt8Array
from edge.imaging import warp_square


@dataclass(frozen=True, slots=True)
class FaceGeometry:
    """A face's place in a picture, in that picture's units.

    `angle` is the slope of the line through the eyes in radians, positive clockwise on screen.
    """

    centre_x: float
    centre_y: float
    length: float
    angle: float


def geometry(keypoints: Keypoints, width: float, height: float) -> FaceGeometry:
    """Measure a face from its keypoints (fractions of a `width` x `height` picture)."""
    right_eye, left_eye, mouth = keypoints.right_eye, keypoints.left_eye, keypoints.mouth
    across_x, across_y = (left_eye.x - right_eye.x) * width, (left_eye.y - right_eye.y) * height
    eyes_x, eyes_y = (left_eye.x + right_eye.x) / 2 * width, (left_eye.y + right_eye.y) / 2 * height
    mouth_x, mouth_y = mouth.x * width, mouth.y * height
    return FaceGeometry(
        centre_x=(eyes_x + mouth_x) / 2,
        centre_y=(eyes_y + mouth_y) / 2,
        length=math.hypot(across_x, across_y, mouth_x - eyes_x, mouth_y - eyes_y),
        angle=math.atan2(across_y, across_x),
    )


def into_tile(face: FaceGeometry, spec: CropSpec, size: int) -> Float32Array:
    """Return the similarity transform from pixels of the picture to pixels of the tile, [2, 3]."""
    # A face of no length (all keypoints in one place) gives a picture of one pixel, not a crash.
    scale = size * spec.face_length / max(face.length, 1e-3)
    cos, sin = scale * math.cos(face.angle), scale * math.sin(face.angle)
    # Fractions count from a pixel's edge, OpenCV's coordinates from its centre.
    x, y = face.centre_x - 0.5, face.centre_y - 0.5
    to_x, to_y = size * 0.5 - 0.5, size * spec.centre_line - 0.5
    return np.array(
        [[cos, sin, to_x - cos * x - sin * y], [-sin, cos, to_y + sin * x - cos * y]],
        dtype=np.float32,
    )


def crop(luma: UInt8Array, keypoints: Keypoints, spec: CropSpec, size: int) -> UInt8Array:
    """Cut a face out of a picture.

    Parameters
    ----------
    luma
        uint8, [height, width].
    keypoints
        The face, as fractions of the picture.
    spec
        The framing, from the bundle's manifest.
    size
        The tile's side in pixels.

    Returns
    -------
    uint8 array, [size, size]
        The face upright; outside the picture its border is repeated.
    """
    height, width = luma.shape
    return warp_square(luma, into_tile(geometry(keypoints, width, height), spec, size), size)
