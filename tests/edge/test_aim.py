"""A live view without a pixel."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from edge import aim, bundle
from edge.datatypes import Frame
from edge.detector import Detector
from edge.imaging import luma_of, read_image
from edge.settings import Camera, Limits, Settings

DATA = Path(__file__).parents[1] / "data"
_, MANIFEST = bundle.load_stream("mien-fer2013")


def view_of(bgr: np.ndarray, allowed: Limits = Limits()) -> list[str]:  # noqa: B008  # frozen
    frame = Frame(luma_of(bgr), bgr, 0.0, 0.0)
    detector = Detector(*bundle.load_detector("blazeface-short"))
    return aim.draw("door", frame, aim.look(frame, detector, MANIFEST.input, allowed)).splitlines()


def portrait() -> np.ndarray:
    picture = read_image(DATA / "astronaut.webp")
    assert picture is not None
    return picture


def test_a_face_is_drawn_where_it_is_and_said_to_be_good() -> None:
    lines = view_of(portrait())
    assert lines[0].startswith("door  512x512  light ")
    assert lines[-1].startswith("A  face ")
    assert lines[-1].endswith("good")
    (row,) = [index for index, line in enumerate(lines[2:-2]) if "A" in line]
    column = lines[2 + row].index("A") - 1
    assert 0.05 < row / aim.ROWS < 0.3
    assert 0.25 < column / aim.COLUMNS < 0.45


def test_what_is_wrong_is_said() -> None:
    assert "too dark" in view_of((portrait() * 0.25).astype(np.uint8))[-1]
    assert "blurred" in view_of(cv2.GaussianBlur(portrait(), (0, 0), 5))[-1]


def test_what_the_device_would_not_judge_is_said_so() -> None:
    said = view_of(portrait(), Limits(least_light=254.0))[-1]
    assert said.endswith("not judged: too dark")
    assert "not judged" not in view_of((portrait() * 0.5).astype(np.uint8))[-1]


def test_an_empty_room_says_what_to_do() -> None:
    assert view_of(np.full((240, 320, 3), 90, np.uint8))[-1].startswith("no face: come nearer")


def test_a_clip_is_shown_to_its_end() -> None:
    out = io.StringIO()
    uri = f"clip:{Path(aim.__file__).parent / 'samples' / 'portrait.webm'}?pace=fast"
    assert aim.run(Settings(camera=(Camera(uri=uri),)), out) == 0
    views = out.getvalue().split("camera  640x480")
    assert len(views) == 11, "one view a second of a clip of ten seconds"
    assert any("good" in view for view in views)
    assert any("no face" in view for view in views)
    assert "\x1b" not in out.getvalue()
