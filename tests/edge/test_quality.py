"""How good a look at a face is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import bundle
from edge.bundle import CropSpec
from edge.crop import crop
from edge.datatypes import Frame, Keypoints, Point
from edge.detector import Detector
from edge.imaging import luma_of, read_image
from edge.quality import Quality, assess

SPEC = CropSpec(centre_line=0.58, face_length=0.534)
DETECTOR = Detector(*bundle.load_detector("blazeface-full"))


def look(bgr: np.ndarray) -> Quality:
    luma = luma_of(bgr)
    (face,) = DETECTOR(Frame(luma, bgr, 0.0, 0.0))
    height, width = luma.shape
    tile = crop(luma, face.keypoints, SPEC, 48)
    return assess(tile, face.keypoints, width=width, height=height, face_length=0.534)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    picture = read_image(Path(__file__).parents[1] / "data" / "astronaut.webp")
    assert picture is not None
    return picture


def test_a_good_portrait_has_nothing_wrong(portrait: np.ndarray) -> None:
    quality = look(portrait)
    assert quality.complaints == ()
    assert abs(quality.yaw_degrees) < 15
    assert abs(quality.roll_degrees) < 10
    assert 100 < quality.side_pixels < 160


def test_a_blurred_face_is_blurred(portrait: np.ndarray) -> None:
    assert look(cv2.GaussianBlur(portrait, (0, 0), 5)).complaints == ("blurred",)


def test_a_dark_face_is_too_dark(portrait: np.ndarray) -> None:
    assert "too dark" in look((portrait * 0.25).astype(np.uint8)).complaints


def test_a_bright_face_is_too_bright(portrait: np.ndarray) -> None:
    bright = (portrait * 0.35 + 165).astype(np.uint8)
    assert "too bright" in look(bright).complaints


def test_a_far_face_is_too_small(portrait: np.ndarray) -> None:
    wall = np.full((200, 200, 3), 100, np.uint8)
    wall[60:170, 60:170] = cv2.resize(portrait, (110, 110), interpolation=cv2.INTER_AREA)
    assert "too small" in look(wall).complaints


def points(nose_x: float, tilt: float = 0.0) -> Keypoints:
    return Keypoints(
        Point(0.4, 0.4 - tilt), Point(0.6, 0.4 + tilt), Point(nose_x, 0.5),
        Point(0.5, 0.6), Point(0.3, 0.4), Point(0.7, 0.4),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("nose_x", "least", "most"), [(0.5, -1, 1), (0.6, 30, 60), (0.4, -60, -30)]
)
def test_the_nose_says_where_a_head_is_turned(nose_x: float, least: float, most: float) -> None:
    tile = np.full((48, 48), 128, np.uint8)
    quality = assess(tile, points(nose_x), width=100, height=100, face_length=0.534)
    assert least <= quality.yaw_degrees <= most


def test_the_eyes_say_how_a_head_is_tilted() -> None:
    tile = np.full((48, 48), 128, np.uint8)
    quality = assess(tile, points(0.5, 0.1), width=100, height=100, face_length=0.534)
    assert quality.roll_degrees == pytest.approx(45)
    assert "look here" not in quality.complaints
