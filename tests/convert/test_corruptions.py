"""Nine ways to spoil a face: pure, alike each time and at any size, and stronger by strength."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import draw_tiles

from convert.corruptions import CORRUPTIONS, EYE_LINE, MOUTH_LINE, STRENGTHS, Corruption
from convert.golden import draw_face

BY_NAME = {each.name: each for each in CORRUPTIONS}
each_corruption = pytest.mark.parametrize("corruption", CORRUPTIONS, ids=BY_NAME)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return draw_face(np.random.default_rng(0))


def far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@each_corruption
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("side", [16, 33, 48, 64])
def test_a_tile_of_any_side_stays_a_tile_and_is_left_as_it_was(
    corruption: Corruption, strength: int, side: int
) -> None:
    tile = draw_face(np.random.default_rng(side), side)
    before = tile.copy()
    spoilt = corruption(tile, strength)
    assert spoilt.shape == tile.shape
    assert spoilt.dtype == np.uint8
    assert (tile == before).all()
    assert not (spoilt == tile).all()


@each_corruption
def test_the_same_tile_is_spoilt_alike_in_any_company(corruption: Corruption) -> None:
    tiles = draw_tiles(3)
    alone = corruption(tiles[1].copy(), 2)
    assert (corruption(tiles[1], 2) == alone).all()
    # Not one contiguous block, as a mirrored tile is not.
    assert (corruption(tiles[1][:, ::-1][:, ::-1], 2) == alone).all()


@each_corruption
def test_more_strength_spoils_more(corruption: Corruption) -> None:
    faces = draw_tiles(8)
    weak, middle, strong = (
        np.mean([far(corruption(each, strength), each) for each in faces]) for strength in STRENGTHS
    )
    assert 0 < weak < middle < strong


@each_corruption
def test_each_strength_says_what_it_does(corruption: Corruption) -> None:
    said = [corruption.says(strength) for strength in STRENGTHS]
    assert len(set(said)) == 3
    for text, amount in zip(said, corruption.amounts, strict=True):
        assert f"{amount:g}" in text


@pytest.mark.parametrize("name", ["blur", "dark", "backlight", "small", "eyes", "mouth"])
def test_tiles_of_48_and_of_64_are_spoilt_alike(name: str) -> None:
    small, large = (draw_face(np.random.default_rng(4), side) for side in (48, 64))
    for strength in STRENGTHS:
        few, many = (BY_NAME[name](tile, strength).astype(float) for tile in (small, large))
        # Quarters of the tile, whose edges both sides have.
        few, many = (each.reshape(4, n // 4, 4, n // 4).mean(axis=(1, 3))
                     for each, n in ((few, 48), (many, 64)))  # fmt: skip
        assert np.abs(few - many).max() < 14


def test_noise_has_its_standard_deviation_and_the_same_grain_at_each_strength() -> None:
    gray = np.full((64, 64), 128, np.uint8)
    added = [BY_NAME["noise"](gray, strength).astype(float) - 128 for strength in STRENGTHS]
    assert [values.std() for values in added] == pytest.approx([10, 20, 40], rel=0.05)
    assert np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1] > 0.99


def test_darkness_takes_light_in_stops() -> None:
    white = np.full((48, 48), 255, np.uint8)
    left = BY_NAME["dark"](white, 2)
    # Three stops are an eighth of the light.
    assert (left[0, 0] / 255) ** 2.2 == pytest.approx(1 / 8, rel=0.05)


def test_backlight_brightens_what_is_around_a_face_and_darkens_the_face() -> None:
    gray = np.full((48, 48), 128, np.uint8)
    spoilt = BY_NAME["backlight"](gray, 3)
    assert spoilt[0, 0] == 255
    assert spoilt[24, 24] < 100


def test_faces_lean_either_way_about_equally_often() -> None:
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[:, None] * 4, (48, 48))
    # The top row tells which side went down.
    leans = [
        np.sign(int(spoilt[24, 0]) - int(spoilt[24, -1]))
        for start in range(60)
        for spoilt in [BY_NAME["rotation"](ramp + np.uint8(start), 2)]
    ]
    assert set(leans) == {-1, 1}
    assert 15 < leans.count(1) < 45


def test_a_cover_hides_what_it_names_in_the_tiles_mean_and_nothing_else(face: np.ndarray) -> None:
    for name, line, other in (("eyes", EYE_LINE, MOUTH_LINE), ("mouth", MOUTH_LINE, EYE_LINE)):
        for strength in STRENGTHS:
            covered = BY_NAME[name](face, strength)
            changed = covered != face
            assert covered[int(48 * line), 24] == round(float(face.mean()))
            assert not changed[int(48 * other)].any()
            assert (covered[changed] == round(float(face.mean()))).all()
