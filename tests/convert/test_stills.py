"""Which stills follow one another."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import draw_tiles

from convert import stills
from convert.data import Tiles, relight, similarity
from edge.imaging import warp_square


def test_no_label_follows_itself() -> None:
    tiles = Tiles(draw_tiles(30), np.arange(30) % 3)
    for seed in range(10):
        labels = tiles.labels[stills.chosen(tiles, 8, 5, np.random.default_rng(seed))]
        assert (labels[1:] != labels[:-1]).all()


def test_labels_come_as_often_as_the_tiles_have_them() -> None:
    tiles = Tiles(draw_tiles(40), np.array([0] * 4 + [1] * 18 + [2] * 18))
    found = stills.chosen(tiles, 300, 2, np.random.default_rng(0))
    counts = np.bincount(tiles.labels[found], minlength=3)
    assert counts[0] < 0.2 * 300 < counts[1]


def test_the_face_framed_most_alike_follows() -> None:
    """The same faces stand once more under another label, a little brighter: each finds itself."""
    faces = draw_tiles(12, seed=4)
    brighter = np.stack([relight(face, 0.9, 15) for face in faces])
    tiles = Tiles(np.concatenate([faces, brighter]), np.repeat([0, 1], 12))
    found = stills.chosen(tiles, 10, 400, np.random.default_rng(0))
    assert len(set((found % 12).tolist())) == 1


def test_framing_sees_where_a_face_lies_and_not_how_light_it_is() -> None:
    face, other = draw_tiles(2, seed=1)
    here = stills.framing(face)
    assert here.shape == (8, 8)
    assert here == pytest.approx(stills.framing(relight(face, 0.8, 20)), abs=0.15)
    moved = warp_square(face, similarity(0.1, 0.1, 1, 0), 48)
    assert np.abs(stills.framing(moved) - here).mean() > 0.15
    assert np.abs(stills.framing(other) - here).mean() > 0.05


def test_a_blank_tile_has_a_framing() -> None:
    assert (stills.framing(np.full((48, 48), 90, np.uint8)) == 0).all()


def test_stills_get_the_light_of_the_first() -> None:
    faces = draw_tiles(3)
    dim = np.stack([faces[0], relight(faces[1], 0.8, -40), relight(faces[2], 0.9, 25)])
    seen = stills.in_one_light(dim)
    assert seen[0] == pytest.approx(faces[0].astype(np.float32), abs=1e-3)
    assert seen.mean(axis=(1, 2)) == pytest.approx(faces[0].mean(), abs=0.1)
    assert seen.std(axis=(1, 2)) == pytest.approx(faces[0].std(), rel=0.05)


def test_a_blank_still_is_not_blown_up() -> None:
    pixels = np.stack([draw_tiles(1)[0], np.full((48, 48), 90, np.uint8)])
    assert np.isfinite(stills.in_one_light(pixels)).all()
