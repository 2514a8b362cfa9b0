"""Pictures of the one face the repository carries: many of it, and large ones."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from edge.cameras import open_uri
from edge.datatypes import UInt8Array

SAMPLE = Path(__file__).parents[2] / "edge" / "samples" / "portrait.webm"
COLUMNS, ROWS = 8, 7
WIDTH, HEIGHT = 1280, 1120
PEOPLE = 50


@functools.cache
def sample() -> tuple[UInt8Array, ...]:
    """Every frame of the sample clip, 640x480, 30 a second."""
    clip = open_uri(f"clip:{SAMPLE}?pace=fast")
    frames = tuple(frame.colour for frame in iter(clip.read, None))
    clip.close()
    return frames


@functools.cache
def _faces() -> tuple[UInt8Array, ...]:
    """The face of the second in which it stands still, each in a square of its own."""
    side = WIDTH // COLUMNS
    return tuple(
        np.asarray(cv2.resize(frame[142:316, 204:378], (side, side)), np.uint8)
        for frame in sample()[45:75]
    )


def crowd(number: int, people: int = PEOPLE) -> UInt8Array:
    """Return a picture of `people` faces, each at another moment, with a camera's noise."""
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    side = WIDTH // COLUMNS
    for index in range(people):
        row, column = divmod(index, COLUMNS)
        face = _faces()[(number + 7 * index) % len(_faces())]
        picture[row * side : (row + 1) * side, column * side : (column + 1) * side] = face
    noise = np.random.default_rng(number).integers(-4, 5, picture.shape, dtype=np.int16)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def write(path: Path, pictures: Iterable[UInt8Array], fps: float) -> Path:
    """Write a clip of pictures as Motion JPEG."""
    writer = None
    for picture in pictures:
        if writer is None:
            size = (picture.shape[1], picture.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
            assert writer.isOpened()
        writer.write(picture)
    assert writer is not None
    writer.release()
    return path
