"""Small movements of a face's features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert import motion, warps
from convert.warps import Features

POINTS = 10
LOWER_LIP = 9
STILL = motion.Poses(
    np.eye(2, dtype=np.float32)[None],
    np.zeros((1, 2), np.float32),
    np.zeros((1, 2), np.float32),
)


def offsets(**moved: tuple[float, float]) -> np.ndarray:
    found = np.zeros((1, POINTS, 2), np.float32)
    for name, offset in moved.items():
        found[0, list(warps._MOVED).index(name.replace("_", " "))] = offset  # noqa: SLF001
    return found


def test_points_lie_where_the_crop_brings_a_face() -> None:
    middle_of_corners = np.mean([warps._MOVED["right corner"], warps._MOVED["left corner"]], axis=0)  # noqa: SLF001
    assert middle_of_corners == pytest.approx([0.5, 0.775], abs=0.01)
    lids = np.mean([warps._MOVED["right lid"], warps._MOVED["left lid"]], axis=0)  # noqa: SLF001
    assert lids == pytest.approx([0.5, 0.365], abs=0.01)


def test_where_nothing_moves_a_tile_stays_as_it_is(portrait: np.ndarray) -> None:
    back = warps.displacements(offsets(), 48)
    assert back.shape == (1, 48, 48, 2)
    assert (back == 0).all()
    values = portrait[None].astype(np.float32)
    assert motion.shot(values, STILL, back, 0.0) == pytest.approx(values, abs=1e-3)


@given(st.integers(0, POINTS - 1), st.floats(-0.04, 0.04), st.floats(-0.04, 0.04))
def test_a_point_goes_where_it_is_moved_and_the_border_stays(
    point: int, right: float, down: float
) -> None:
    moved = np.zeros((1, POINTS, 2), np.float32)
    moved[0, point] = right, down
    back = warps.displacements(moved, 96)[0]
    x, y = np.array(list(warps._MOVED.values()))[point] * 96 - 0.5  # noqa: SLF001
    there = back[round(float(y)), round(float(x))]
    assert there == pytest.approx([-96 * right, -96 * down], abs=0.6)
    border = np.concatenate([back[0], back[-1], back[:, 0], back[:, -1]])
    assert np.abs(border).max() < 1.2


def test_moving_every_point_alike_is_a_shift_where_the_points_are() -> None:
    """Affine deformations reproduce what all points do together."""
    weights = warps._weights(24)  # noqa: SLF001
    assert weights.sum(axis=0) == pytest.approx(1.0, abs=1e-4)
    points = np.array([*warps._MOVED.values(), *warps._HELD])  # noqa: SLF001
    centres = (np.arange(24) + 0.5) / 24
    where = np.tensordot(points.T, weights, axes=1)
    assert where[0] == pytest.approx(np.tile(centres, (24, 1)), abs=1e-4)
    assert where[1] == pytest.approx(np.tile(centres[:, None], (1, 24)), abs=1e-4)


def test_a_lip_that_goes_down_takes_the_picture_with_it() -> None:
    tile = np.zeros((1, 48, 48), np.float32)
    line = round(0.825 * 48)
    tile[0, line, 20:28] = 255
    back = warps.displacements(offsets(lower_lip=(0, 0.04)), 48)
    rows = motion.shot(tile, STILL, back, 0.0)[0, :, 22:26].mean(axis=1)
    assert int(rows.argmax()) - line in (1, 2)


def test_features_move_smoothly_and_never_far() -> None:
    times = np.arange(1200) / 30
    how = Features(blinks=0.0)
    path = warps.moved(times, how, 30.0, np.random.default_rng(0))
    assert (path.shape, path.dtype) == ((1200, POINTS, 2), np.float32)
    assert np.abs(path).max() <= how.most
    assert np.abs(np.diff(path, axis=0)).max() < 0.01


def test_eyes_blink_and_open_again() -> None:
    times = np.arange(1800) / 30
    how = Features(reach=0.0)
    path = warps.moved(times, how, 30.0, np.random.default_rng(0))
    lids, others = path[:, :2, 1], path[:, 2:]
    assert (others == 0).all()
    assert (lids[:, 0] == lids[:, 1]).all()
    shut = lids[:, 0] > 0.02
    blinks = int((np.diff(shut.astype(int)) == 1).sum())
    assert blinks == pytest.approx(15, abs=9)
    assert shut.mean() < 0.15
    assert (warps.moved(times, dataclasses.replace(how, blinks=0), 30.0,
                        np.random.default_rng(0)) == 0).all()  # fmt: skip
