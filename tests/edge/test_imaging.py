"""Work on pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.datatypes import Frame, UInt8Array
from edge.imaging import (
    Flip,
    Rotation,
    arrange,
    bgr_of_chroma,
    blurred,
    cut,
    letterbox,
    luma_of,
    orient,
    read_image,
    read_luma,
    resampled,
    through_jpeg,
    warp_square,
    yuv420_planes,
)

EVERYTHING = (0.0, 0.0, 1.0, 1.0)

rotations: st.SearchStrategy[Rotation] = st.sampled_from([0, 90, 180, 270])
flips: st.SearchStrategy[Flip] = st.sampled_from(["none", "horizontal", "vertical", "both"])
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def regions(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x, y = draw(st.floats(0, 0.99)), draw(st.floats(0, 0.99))
    width, height = draw(st.floats(0.001, 1)), draw(st.floats(0.001, 1))
    assume(x + width <= 1)
    assume(y + height <= 1)
    return x, y, width, height


def picture_of(height: int, width: int) -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def quarters() -> UInt8Array:
    """Return a picture whose quarters are 1 2 over 3 4."""
    return np.kron(np.array([[1, 2], [3, 4]]), np.ones((2, 3))).astype(np.uint8)


# Luma


def test_luma_weighs_the_colours_as_bt_601() -> None:
    blue, green, red, white = (luma_of(np.full((1, 1, 3), each, np.uint8))[0, 0] for each in PURE)
    assert (blue, green, red, white) == (29, 150, 76, 255)


PURE = ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255])


# Turning and mirroring


@pytest.mark.parametrize(
    ("rotate", "flip", "corners"),
    [
        (0, "none", [[1, 2], [3, 4]]),
        (90, "none", [[3, 1], [4, 2]]),
        (180, "none", [[4, 3], [2, 1]]),
        (270, "none", [[2, 4], [1, 3]]),
        (0, "horizontal", [[2, 1], [4, 3]]),
        (0, "vertical", [[3, 4], [1, 2]]),
        (0, "both", [[4, 3], [2, 1]]),
        (90, "horizontal", [[1, 3], [2, 4]]),
    ],
)
def test_a_picture_is_turned_clockwise_then_mirrored(
    rotate: Rotation, flip: Flip, corners: list[list[int]]
) -> None:
    turned = orient(quarters(), rotate, flip)
    assert turned.shape == ((2 * 3, 2 * 2) if rotate in (90, 270) else (2 * 2, 2 * 3))
    assert turned[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(2, 2).tolist() == corners


@given(sizes, rotations, flips)
def test_turning_and_mirroring_lose_no_pixel(
    size: tuple[int, int], rotate: Rotation, flip: Flip
) -> None:
    picture = picture_of(*size)
    turned = orient(picture, rotate, flip)
    assert sorted(turned.ravel()) == sorted(picture.ravel())


# The region of interest


def test_a_region_is_cut_by_fractions() -> None:
    assert cut(quarters(), (0.5, 0.0, 0.5, 0.5)).tolist() == [[2, 2, 2], [2, 2, 2]]


def test_the_whole_region_is_the_whole_picture() -> None:
    picture = picture_of(7, 5)
    assert (cut(picture, EVERYTHING) == picture).all()


@given(sizes, regions())
def test_a_region_always_holds_a_pixel(
    size: tuple[int, int], region: tuple[float, float, float, float]
) -> None:
    assert cut(picture_of(*size), region).size > 0


# A frame as its camera's settings ask


def frame_of(height: int, width: int) -> Frame:
    """Return a frame whose luma has twice the resolution of its colour."""
    colour = picture_of(height, width)
    luma = cv2.resize(luma_of(colour), (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST)
    return Frame(np.asarray(luma, np.uint8), colour, 12.5, 12.25)


def test_a_frame_of_which_nothing_is_asked_is_left_alone() -> None:
    frame = frame_of(4, 6)
    assert arrange(frame, 0, "none", EVERYTHING) is frame


def test_a_frame_is_turned_and_mirrored_before_it_is_cut() -> None:
    frame = Frame(quarters(), np.dstack([quarters()] * 3), 0.0, 0.0)
    arranged = arrange(frame, 90, "horizontal", (0.0, 0.0, 1.0, 0.5))
    assert arranged.luma.tolist() == [[1, 1, 3, 3]] * 3
    assert (arranged.colour == arranged.luma[..., None]).all()


@given(
    sizes, rotations, flips, st.sampled_from([EVERYTHING, (0.5, 0.0, 0.5, 1.0), (0, 0, 0.5, 0.5)])
)
def test_luma_and_colour_stay_the_same_picture(
    size: tuple[int, int],
    rotate: Rotation,
    flip: Flip,
    region: tuple[float, float, float, float],
) -> None:
    height, width = 2 * size[0], 2 * size[1]
    arranged = arrange(frame_of(height, width), rotate, flip, region)
    assert (arranged.luma[::2, ::2] == luma_of(arranged.colour)).all()


@given(rotations, flips, regions())
def test_a_frame_keeps_its_times(
    rotate: Rotation, flip: Flip, region: tuple[float, float, float, float]
) -> None:
    arranged = arrange(frame_of(8, 6), rotate, flip, region)
    assert (arranged.time_s, arranged.captured_s) == (12.5, 12.25)


# Fitting into a square


def test_a_picture_is_centred_on_black_and_becomes_rgb() -> None:
    blue = np.zeros((10, 20, 3), np.uint8)
    blue[..., 0] = 255
    square, _ = letterbox(blue, 40)
    assert square.shape == (40, 40, 3)
    assert (square[:10] == 0).all()
    assert (square[10:30] == [0, 0, 255]).all()
    assert (square[30:] == 0).all()


@given(sizes, st.integers(8, 64))
def test_the_way_back_from_the_square_leads_to_the_pictures_corners(
    size: tuple[int, int], side: int
) -> None:
    white = np.full((*size, 3), 255, np.uint8)
    square, where = letterbox(white, side)
    rows, columns = np.nonzero(square[..., 0])
    left, right = columns.min() / side, (columns.max() + 1) / side
    top, bottom = rows.min() / side, (rows.max() + 1) / side
    np.testing.assert_allclose(left * where.scale_x - where.offset_x, 0, atol=1e-9)
    np.testing.assert_allclose(right * where.scale_x - where.offset_x, 1, atol=1e-9)
    np.testing.assert_allclose(top * where.scale_y - where.offset_y, 0, atol=1e-9)
    np.testing.assert_allclose(bottom * where.scale_y - where.offset_y, 1, atol=1e-9)


# Resampling a part onto a square


def into_square(scale: float, x: float, y: float) -> np.ndarray:
    return np.array([[scale, 0, x], [0, scale, y]], np.float32)


def test_a_transform_that_moves_nothing_gives_the_picture() -> None:
    picture = picture_of(16, 16)[..., 0]
    assert (warp_square(picture, into_square(1, 0, 0), 16) == picture).all()


def test_fine_detail_averages_instead_of_aliasing() -> None:
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    # Pixel centres lie at half-integers: shrinking by four about the corner.
    square = warp_square(checks, into_square(1 / 4, -3 / 8, -3 / 8), 16)
    assert np.abs(square.astype(int) - 127).max() <= 1


def test_outside_the_picture_its_border_is_repeated() -> None:
    picture = np.full((8, 8), 90, np.uint8)
    assert (warp_square(picture, into_square(1, 100, -40), 8) == 90).all()


# Spoiling


@pytest.mark.parametrize("sigma", [0.8, 2.0])
def test_blurring_spreads_a_point_as_a_gaussian_and_keeps_its_light(sigma: float) -> None:
    point = np.zeros((33, 33), np.uint8)
    point[16, 16] = 255
    soft = blurred(point, sigma).astype(float)
    if sigma < 1:  # else rounding takes the tails
        assert soft.sum() == pytest.approx(255, rel=0.05)
    assert soft[16, 16] / soft[16, 17] == pytest.approx(np.exp(0.5 / sigma**2), rel=0.15)
    assert (blurred(np.full((9, 9), 77, np.uint8), sigma) == 77).all()


def test_a_jpeg_loses_more_the_lower_its_quality() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (48, 48), dtype=np.uint8)
    lost = [
        np.abs(through_jpeg(picture, quality).astype(float) - picture).mean()
        for quality in (100, 50, 5)
    ]
    assert lost[0] < 1 < lost[1] < lost[2]
    assert through_jpeg(picture[:7, :13], 50).shape == (7, 13)


# Picture files


def test_a_picture_file_is_read_as_bgr(tmp_path: Path) -> None:
    picture = picture_of(5, 7)
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), picture)
    colour = read_image(path)
    assert colour is not None
    assert (colour == picture).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_the_luma_of_a_file_is_that_of_its_colours(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), picture_of(50, 70))
    colour, luma = read_image(path), read_luma(path)
    assert colour is not None
    assert luma is not None
    assert (luma == luma_of(colour)).all()


def test_the_luma_of_a_gray_file_is_the_file(tmp_path: Path) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = tmp_path / "gray.png"
    cv2.imwrite(str(path), gray)
    luma = read_luma(path)
    assert luma is not None
    assert (luma == gray).all()


def test_what_is_no_picture_is_none(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("no picture")
    assert read_image(path) is None
    assert read_luma(path) is None


# YUV


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 8))
def test_the_planes_of_yuv420_are_found_whatever_the_padding(
    half_width: int, half_height: int, half_padding: int
) -> None:
    width, height, stride = 2 * half_width, 2 * half_height, 2 * (half_width + half_padding)
    y = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    u, v = y[:half_height, :half_width] + 1, y[:half_height, :half_width] + 2
    rows = [(y, stride), (u, stride // 2), (v, stride // 2)]
    padded = [np.pad(plane, ((0, 0), (0, row - plane.shape[1]))) for plane, row in rows]
    buffer = np.concatenate([plane.ravel() for plane in padded]).reshape(-1, stride)
    for found, plane in zip(yuv420_planes(buffer, width, height), (y, u, v), strict=True):
        assert (found == plane).all()
        assert np.shares_memory(found, buffer)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colour_is_made_from_chroma_by_the_equations_of_jfif(bgr: tuple[int, int, int]) -> None:
    # Only colours that exist: most triples of Y, Cb and Cr do not.
    b, g, r = bgr
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = 128 + (b - luma) / 1.772, 128 + (r - luma) / 1.402
    assume(cb < 255.5 and cr < 255.5)
    planes = [np.full((4, 4), round(luma), np.uint8)]
    planes += [np.full((2, 2), round(each), np.uint8) for each in (cb, cr)]
    colour = bgr_of_chroma(*planes)
    assert colour.shape == (2, 2, 3)
    assert np.abs(colour.astype(int) - bgr).max() <= 3


def test_colour_at_chromas_resolution_keeps_the_mean_luma() -> None:
    luma = np.array([[0, 100], [200, 100]], np.uint8)
    gray = np.full((1, 1), 128, np.uint8)
    assert (bgr_of_chroma(luma, gray, gray) == 100).all()


def grid(height: int, width: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def test_sampling_where_a_picture_lies_gives_the_picture() -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (6, 9)).astype(np.float32)
    assert resampled(picture, grid(6, 9)) == pytest.approx(picture, abs=1e-3)
    both = np.stack([picture, 255 - picture], axis=-1)
    assert resampled(both, grid(6, 9)) == pytest.approx(both, abs=1e-3)


def test_sampling_between_pixels_goes_between_them_and_beyond_the_border_repeats_it() -> None:
    ramp = np.tile(np.arange(9, dtype=np.float32) * 10, (6, 1))
    moved = resampled(ramp, grid(6, 9) + np.float32([0.5, 0]))
    assert moved[:, 2:6] == pytest.approx(ramp[:, 2:6] + 5, abs=0.5)
    beyond = resampled(ramp, grid(6, 9) - np.float32([20, 3]))
    assert (beyond == 0).all()
