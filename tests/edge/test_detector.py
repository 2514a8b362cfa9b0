"""Faces in a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import bundle
from edge.bundle import AnchorLayer, Anchors
from edge.datatypes import Frame
from edge.detector import Detector, anchor_centres, blend
from edge.imaging import letterbox, luma_of, orient, read_image

PORTRAIT = Path(__file__).parents[1] / "data" / "astronaut.webp"
EYES = ((0.388, 0.215), (0.478, 0.213))
"""The portrait's right and left eye, read off the picture by hand."""


@pytest.fixture(scope="module", params=["blazeface-short", "blazeface-full"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return Detector(*bundle.load_detector(request.param))


def frame_of(bgr: np.ndarray) -> Frame:
    return Frame(luma_of(bgr), bgr, 0.0, 0.0)


def portrait() -> np.ndarray:
    picture = read_image(PORTRAIT)
    assert picture is not None
    return picture


def test_a_portrait_has_one_face_with_its_points_in_place(detector: Detector) -> None:
    (face,) = detector(frame_of(portrait()))
    assert face.score > 0.8
    for point, (x, y) in zip(face.keypoints[:2], EYES, strict=True):
        assert abs(point.x - x) < 0.02
        assert abs(point.y - y) < 0.02
    assert face.keypoints.mouth.y > face.keypoints.nose_tip.y > face.keypoints.left_eye.y
    assert face.keypoints.right_ear.x < face.keypoints.left_ear.x
    assert face.box.x < EYES[0][0]
    assert face.box.x + face.box.width > EYES[1][0]


def test_a_wall_has_no_face(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    wall = np.clip(rng.normal(128, 20, (480, 640, 3)), 0, 255).astype(np.uint8)
    assert detector(frame_of(wall)) == []


@pytest.mark.parametrize(("width", "height"), [(640, 360), (360, 640), (1920, 1080)])
def test_a_face_is_found_where_it_is_whatever_the_shape_of_the_frame(
    detector: Detector, width: int, height: int
) -> None:
    canvas = np.full((height, width, 3), 90, np.uint8)
    side = min(width, height)
    ys = np.arange(side) * 512 // side
    left, top = width - side, height - side
    canvas[top:, left:] = portrait()[ys][:, ys]
    (face,) = detector(frame_of(canvas))
    x, y = EYES[0]
    assert abs(face.keypoints.right_eye.x * width - (left + x * side)) < 0.03 * side
    assert abs(face.keypoints.right_eye.y * height - (top + y * side)) < 0.03 * side


def test_a_mirrored_portrait_has_its_points_mirrored(detector: Detector) -> None:
    (face,) = detector(frame_of(orient(portrait(), 0, "horizontal")))
    assert abs(face.keypoints.left_eye.x - (1 - EYES[0][0])) < 0.02


def test_a_higher_score_finds_fewer() -> None:
    strict = Detector(*bundle.load_detector("blazeface-short"), score=0.99)
    assert strict(frame_of(portrait())) == []


def test_two_faces_side_by_side_are_two(detector: Detector) -> None:
    head = portrait()[:300, 60:360]
    faces = detector(frame_of(np.concatenate([head, head], axis=1)))
    left, right = sorted(face.keypoints.nose_tip.x for face in faces)
    assert left == pytest.approx(right - 0.5, abs=0.02)


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf, 1e30, -1e6])
def test_what_a_damaged_network_says_is_no_face_unless_it_is_a_place(
    nonsense: float, detector: Detector
) -> None:
    picture = portrait()
    square, where = detector.prepare(picture)
    boxes, scores = (output[0] for output in detector._model(square))  # noqa: SLF001  # its answer
    (face,) = detector.decode(boxes, scores[:, 0], where)
    for place in range(16):
        damaged = boxes.copy()
        damaged[:, place] = nonsense
        assert detector.decode(damaged, scores[:, 0], where) == []
    damaged = boxes.copy()
    damaged[np.argsort(scores[:, 0])[:-1]] = nonsense
    (found,) = detector.decode(damaged, scores[:, 0], where)
    assert abs(found.box.x - face.box.x) < 0.05


def test_anchors_are_the_centres_of_cells() -> None:
    anchors = Anchors(
        layers=(AnchorLayer(cells=2, per_cell=2), AnchorLayer(cells=1, per_cell=1)), scale=128.0
    )
    quarter, three = 0.25, 0.75
    assert anchor_centres(anchors).tolist() == [
        [quarter, quarter], [quarter, quarter], [three, quarter], [three, quarter],
        [quarter, three], [quarter, three], [three, three], [three, three],
        [0.5, 0.5],
    ]  # fmt: skip


def candidates(places: list[tuple[float, float, float]]) -> np.ndarray:
    """Candidates as [n, 8, 2]: centre, size, and six points at the centre."""
    return np.array([[(x, y), (size, size), *[(x, y)] * 6] for x, y, size in places])


def test_candidates_for_one_face_are_blended_by_their_scores() -> None:
    faces = blend(candidates([(0.5, 0.5, 0.2), (0.53, 0.5, 0.2)]), np.array([0.5, 1.0]), 0.3)
    ((face, score),) = faces
    assert score == 1.0
    assert face[0].tolist() == pytest.approx([0.52, 0.5])


spots = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 0.4), st.floats(0.5, 1)),
    max_size=12,
)


@given(spots, st.floats(0.2, 0.9))
def test_blending_never_invents_and_never_loses_a_face(
    places: list[tuple[float, float, float, float]], overlap: float
) -> None:
    scores = np.array([place[3] for place in places])
    faces = blend(candidates([place[:3] for place in places]).reshape(-1, 8, 2), scores, overlap)
    assert len(faces) <= len(places)
    assert bool(faces) == bool(places)
    found = [score for _, score in faces]
    assert found == sorted(found, reverse=True)
    if places:
        assert found[0] == scores.max()


@given(st.integers(1, 700), st.integers(1, 700))
def test_a_letterboxed_picture_is_found_again(width: int, height: int) -> None:
    square, where = letterbox(np.full((height, width, 3), 200, np.uint8), 64)
    assert square.shape == (64, 64, 3)
    filled = np.argwhere(square[:, :, 0] == 200)
    (top, left), (bottom, right) = filled.min(axis=0), filled.max(axis=0) + 1
    assert left / 64 * where.scale_x - where.offset_x == pytest.approx(0, abs=1e-6)
    assert right / 64 * where.scale_x - where.offset_x == pytest.approx(1, abs=1e-6)
    assert top / 64 * where.scale_y - where.offset_y == pytest.approx(0, abs=1e-6)
    assert bottom / 64 * where.scale_y - where.offset_y == pytest.approx(1, abs=1e-6)
