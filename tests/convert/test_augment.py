"""Strong augmentation: each change does what it says, and a seed decides all of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn import draw_tiles

from convert import augment
from convert.augment import Strong

NOTHING = Strong(**dict.fromkeys(Strong.__slots__, 0.0))


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    return draw_tiles(600, seed=3)


def values(tiles: np.ndarray, count: int = 64) -> np.ndarray:
    return tiles[:count].astype(np.float32)


def test_a_seed_decides_everything(tiles: np.ndarray) -> None:
    first, second, other = (
        augment.augment(tiles, Strong(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first.dtype == np.uint8
    assert first.shape == tiles.shape
    assert (first == second).all()
    assert (first != other).mean() > 0.5


def test_with_nothing_else_tiles_are_mirrored_by_chance(tiles: np.ndarray) -> None:
    found = augment.augment(tiles, NOTHING, np.random.default_rng(0))
    same = (found == tiles).all(axis=(1, 2))
    mirrored = (found == tiles[:, :, ::-1]).all(axis=(1, 2))
    assert (same | mirrored).all()
    assert 0.4 < mirrored.mean() < 0.6


def test_tiles_of_another_size_can_be_augmented() -> None:
    small = draw_tiles(4)[:, :30, :30].copy()
    assert augment.augment(small, Strong(), np.random.default_rng(0)).shape == small.shape


@pytest.mark.parametrize(
    "change",
    [augment.relit, augment.lit_from_a_side, augment.blurred, augment.noisy, augment.compressed,
     augment.covered],
)  # fmt: skip
def test_a_change_changes_its_tiles_and_leaves_what_it_was_given(
    change: augment.Change, tiles: np.ndarray
) -> None:
    given = values(tiles)
    found = change(given, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert found.shape == given.shape
    assert (given == values(tiles)).all()
    assert (np.abs(found - given).max(axis=(1, 2)) > 1).mean() > 0.9


def test_blur_keeps_the_light_and_takes_detail(tiles: np.ndarray) -> None:
    given = values(tiles)
    found = augment.blurred(given, np.random.default_rng(0))
    assert found.mean(axis=(1, 2)) == pytest.approx(given.mean(axis=(1, 2)), abs=3)
    assert (np.diff(found).std(axis=(1, 2)) < np.diff(given).std(axis=(1, 2))).all()


def test_light_from_a_side_leaves_the_middle() -> None:
    flat = np.full((64, 48, 48), 100, np.float32)
    found = augment.lit_from_a_side(flat, np.random.default_rng(0))
    assert found[:, 23:25, 23:25] == pytest.approx(100, abs=3)
    assert (found.max(axis=(1, 2)) - found.min(axis=(1, 2)) > 25).all()


def test_compression_is_that_of_a_jpeg_file(
    tiles: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "_each", lambda given, *_: np.full((len(given), 1, 1), 25.0))
    given = values(tiles, 8)
    found = np.clip(np.rint(augment.compressed(given, np.random.default_rng(0))), 0, 255)
    for tile, compressed in zip(given.astype(np.uint8), found, strict=True):
        _, file = cv2.imencode(".jpg", tile, [cv2.IMWRITE_JPEG_QUALITY, 25])
        real = cv2.imdecode(file, cv2.IMREAD_GRAYSCALE).astype(np.float32)
        # Tables and transforms are rounded otherwise in the library.
        assert np.abs(compressed - real).mean() < 0.25 * np.abs(tile - real).mean()


def test_a_cover_is_a_rectangle() -> None:
    given = np.full((200, 48, 48), -1, np.float32)
    covered = augment.covered(given, np.random.default_rng(0)) != -1
    for each in covered:
        rows, columns = np.flatnonzero(each.any(axis=1)), np.flatnonzero(each.any(axis=0))
        assert each.sum() == len(rows) * len(columns)
        assert max(len(rows), len(columns)) <= 24
