"""Composed streams."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import draw_tiles

from convert import streams
from convert.data import Tiles
from convert.streams import StreamSettings

TILES = Tiles(draw_tiles(14), np.arange(14) % 7)


def compose(seed: int, settings: StreamSettings | None = None) -> streams.Stream:
    return streams.compose(TILES, settings or StreamSettings(), np.random.default_rng(seed))


def test_a_seed_decides_a_stream() -> None:
    first, again, other = compose(1), compose(1), compose(2)
    assert (first.pixels == again.pixels).all()
    assert (first.pixels != other.pixels).any()


def test_a_stream_lasts_as_long_as_asked() -> None:
    stream = compose(1, StreamSettings(seconds=3.0))
    assert len(stream.pixels) == len(stream.targets) == len(stream.stretch) == 30


@pytest.mark.parametrize("seed", range(20))
def test_targets_say_what_is_in_the_picture(seed: int) -> None:
    stream = compose(seed)
    assert stream.targets.sum(axis=1) == pytest.approx(1.0)
    alone = stream.stretch >= 0
    assert (stream.targets[alone].max(axis=1) == 1).all()
    assert (stream.targets[~alone].max(axis=1) < 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_each_still_has_another_label_than_the_one_before(seed: int) -> None:
    stream = compose(seed)
    labels = stream.targets.argmax(axis=1)
    shown = [labels[stream.stretch == number][0] for number in range(stream.stretch.max() + 1)]
    assert all(one != next_ for one, next_ in zip(shown, shown[1:], strict=False))


def test_a_still_moves_but_a_little() -> None:
    stream = compose(3)
    held = stream.pixels[stream.stretch == 0].astype(float)
    steps = np.abs(np.diff(held, axis=0)).mean(axis=(1, 2))
    assert (steps > 0).all()
    assert steps.mean() < np.abs(held[0] - TILES.pixels[0]).mean() + 20


def test_tiles_of_one_label_do_for_a_stream() -> None:
    same = Tiles(draw_tiles(3), np.zeros(3, np.int64))
    stream = streams.compose(same, StreamSettings(), np.random.default_rng(0))
    assert (stream.targets[:, 0] == 1).all()


def test_wandering_is_smooth_and_of_unit_size() -> None:
    path = streams.wander(20_000, 0.7, np.random.default_rng(0))
    assert path.mean() == pytest.approx(0, abs=0.15)
    assert path.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(path)).mean() < 0.5
