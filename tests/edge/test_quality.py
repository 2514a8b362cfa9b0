"""How good a look at a face is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import bundle
from edge.bundle import CropSpec
from edge.crop import crop
from edge.datatypes import UNSURE, Frame, Keypoints, Point
from edge.detector import Detector
from edge.imaging import luma_of, read_image
from edge.quality import ADVISED, Quality, assess, flaws, unjudged
from edge.settings import Limits

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
    assert flaws(quality, ADVISED) == ()
    assert abs(quality.yaw_degrees) < 15
    assert abs(quality.roll_degrees) < 10
    assert 100 < quality.side_pixels < 160


def test_a_blurred_face_is_blurred(portrait: np.ndarray) -> None:
    assert flaws(look(cv2.GaussianBlur(portrait, (0, 0), 5)), ADVISED) == ("blurred",)


def test_a_dark_face_is_too_dark(portrait: np.ndarray) -> None:
    assert "dark" in flaws(look((portrait * 0.25).astype(np.uint8)), ADVISED)


def test_a_bright_face_is_too_bright(portrait: np.ndarray) -> None:
    bright = (portrait * 0.35 + 165).astype(np.uint8)
    assert "bright" in flaws(look(bright), ADVISED)


def test_a_far_face_is_too_small(portrait: np.ndarray) -> None:
    wall = np.full((200, 200, 3), 100, np.uint8)
    wall[60:170, 60:170] = cv2.resize(portrait, (110, 110), interpolation=cv2.INTER_AREA)
    assert "small" in flaws(look(wall), ADVISED)


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
    assert "turned" not in flaws(quality, ADVISED)


GOOD = Quality(120.0, 0.6, 128.0, 50.0, -5.0, 3.0)


@pytest.mark.parametrize(
    ("measure", "value", "flaw"),
    [
        ("side_pixels", 1.0, "small"),
        ("sharpness", 0.0, "blurred"),
        ("light", 1.0, "dark"),
        ("light", 254.0, "bright"),
        ("contrast", 0.5, "flat"),
        ("yaw_degrees", -85.0, "turned"),
    ],
)
def test_each_measure_has_its_flaw(measure: str, value: float, flaw: str) -> None:
    assert flaws(GOOD, Limits()) == ()
    poor = dataclasses.replace(GOOD, **{measure: value})
    assert flaws(poor, Limits()) == flaws(poor, ADVISED) == (flaw,)


def test_the_gate_never_refuses_what_is_advised() -> None:
    gate, advised = msgspec.to_builtins(Limits()), msgspec.to_builtins(ADVISED)
    for name, limit in gate.items():
        assert limit <= advised[name] if name.startswith("least") else limit >= advised[name]


measures = st.tuples(
    st.floats(0, 2000), st.floats(0, 20), st.floats(0, 255), st.floats(0, 128),
    st.floats(-90, 90), st.floats(-180, 180),
)  # fmt: skip


@given(measures)
def test_limits_at_their_ends_refuse_nothing(values: tuple[float, ...]) -> None:
    open_gate = Limits(
        least_side_pixels=0, least_sharpness=0, least_light=0, most_light=255, least_contrast=0,
        most_yaw_degrees=90,
    )  # fmt: skip
    assert flaws(Quality(*values), open_gate) == ()


def test_of_a_face_that_was_never_seen_well_nothing_is_known() -> None:
    nothing = unjudged(("angry", "happy"))
    assert (nothing.emotion, nothing.probabilities, nothing.confidence) == (UNSURE, (0.5, 0.5), 0.5)
