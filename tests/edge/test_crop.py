"""A face becomes the network's tile."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import CropSpec
from edge.crop import crop, geometry, into_tile
from edge.datatypes import Keypoints, Point

SPEC = CropSpec(centre_line=0.58, face_length=0.534)
SIZE = 48


def face_at(x: float, y: float, size: float, angle: float, picture: tuple[int, int]) -> Keypoints:
    """A face whose eyes are `size` apart and whose mouth is as far below, in pixels."""
    width, height = picture

    def place(across: float, down: float) -> Point:
        cos, sin = math.cos(angle), math.sin(angle)
        u = x + size * (across * cos - down * sin)
        v = y + size * (across * sin + down * cos)
        return Point(u / width, v / height)

    eye, mouth = 0.5, 0.5
    return Keypoints(
        right_eye=place(-eye, -0.5),
        left_eye=place(eye, -0.5),
        nose_tip=place(0, 0),
        mouth=place(0, mouth),
        right_ear=place(-1, -0.4),
        left_ear=place(1, -0.4),
    )


places = st.floats(50, 400)
sizes = st.floats(5, 200)
angles = st.floats(-math.pi, math.pi)


@given(places, places, sizes, angles)
def test_wherever_a_face_is_it_lands_in_the_same_place(
    x: float, y: float, size: float, angle: float
) -> None:
    points = face_at(x, y, size, angle, (640, 480))
    matrix = into_tile(geometry(points, 640, 480), SPEC, SIZE)

    def landed(point: Point) -> np.ndarray:
        return matrix @ np.array([point.x * 640 - 0.5, point.y * 480 - 0.5, 1]) + 0.5

    right, left, mouth = (
        landed(each) for each in (points.right_eye, points.left_eye, points.mouth)
    )
    assert left[1] == pytest.approx(right[1], abs=0.02)
    assert left[0] > right[0]
    assert (left[0] + right[0]) / 2 == pytest.approx(SIZE / 2, abs=0.02)
    assert ((left[1] + right[1]) / 2 + mouth[1]) / 2 == pytest.approx(SIZE * 0.58, abs=0.02)
    length = math.hypot(left[0] - right[0], mouth[1] - (left[1] + right[1]) / 2)
    assert length == pytest.approx(SIZE * 0.534, abs=0.02)


def drawn(points: Keypoints, size: float) -> np.ndarray:
    """A gray picture with a bright dot at each eye and at the mouth."""
    picture = np.full((480, 640), 60, np.uint8)
    for point in (points.right_eye, points.left_eye, points.mouth):
        centre = round(point.x * 640 - 0.5), round(point.y * 480 - 0.5)
        cv2.circle(picture, centre, max(2, round(size / 8)), 255, -1)
    return picture


@pytest.mark.parametrize("size", [20, 60, 150])
@pytest.mark.parametrize("angle", [-0.6, 0.0, 0.9])
def test_the_tile_shows_the_eyes_level_and_the_mouth_below(size: float, angle: float) -> None:
    points = face_at(320, 240, size, angle, (640, 480))
    tile = crop(drawn(points, size), points, SPEC, SIZE)
    assert tile.shape == (SIZE, SIZE)
    assert tile.dtype == np.uint8
    length = SIZE * 0.534
    half = length / math.sqrt(2) / 2
    for x, y in (
        (SIZE / 2 - half, SIZE * 0.58 - half),
        (SIZE / 2 + half, SIZE * 0.58 - half),
        (SIZE / 2, SIZE * 0.58 + half),
    ):
        assert tile[round(y - 0.5), round(x - 0.5)] > 200


def test_a_large_face_is_averaged_not_sampled() -> None:
    checks = (np.indices((480, 640)).sum(axis=0) % 2 * 255).astype(np.uint8)
    tile = crop(checks, face_at(320, 240, 120, 0.0, (640, 480)), SPEC, SIZE)
    assert np.abs(tile.astype(int) - 127).max() < 40


def test_beyond_the_picture_its_border_goes_on() -> None:
    picture = np.full((480, 640), 90, np.uint8)
    tile = crop(picture, face_at(0, 0, 100, 0.3, (640, 480)), SPEC, SIZE)
    assert (tile == 90).all()


def test_keypoints_that_fall_together_give_a_tile_all_the_same() -> None:
    picture = np.full((480, 640), 90, np.uint8)
    tile = crop(picture, Keypoints(*[Point(0.5, 0.5)] * 6), SPEC, SIZE)
    assert (tile == 90).all()
