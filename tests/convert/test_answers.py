"""What networks answer when the device's own code runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn import draw_tiles

from convert import answers, calibration, streams
from convert.data import Tiles
from convert.errors import DataError
from edge import bundle
from edge.bundle import StreamManifest
from edge.networks import StreamNetworks

HAPPY = 3


@pytest.fixture(scope="module")
def baseline() -> tuple[StreamNetworks, StreamManifest]:
    loaded, manifest = bundle.load_stream("mien-fer2013")
    return StreamNetworks(loaded, manifest), manifest


def test_each_tile_gets_its_own_logits(baseline: tuple[StreamNetworks, StreamManifest]) -> None:
    tiles = draw_tiles(3)
    logits = answers.frame_logits(baseline[0], tiles)
    assert (logits.shape, logits.dtype) == ((3, 7), np.float32)
    assert (logits[2] == baseline[0].embed(tiles[2]).logits).all()


def test_streams_repeat_and_are_judged_with_the_temperature_that_is_told(
    baseline: tuple[StreamNetworks, StreamManifest],
) -> None:
    tiles = Tiles(draw_tiles(14), np.arange(14) % 7)
    first, again = (answers.on_streams(*baseline, tiles, count=2) for _ in range(2))
    assert first == again
    assert (first.streams, first.steps) == (2, 80)
    assert first.doubt is not None
    assert first.temperature == first.doubt.head.temperature
    told = answers.on_streams(*baseline, tiles, count=2, temperature=1.5)
    assert told.temperature == 1.5
    assert told.doubt == first.doubt


def test_a_stream_shows_stills_of_one_fold(
    baseline: tuple[StreamNetworks, StreamManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = Tiles(draw_tiles(70), np.arange(70) % 7)
    folds = calibration.folded(tiles.labels)
    shown = []
    compose = streams.compose

    def watched(part: Tiles, *rest: Any) -> streams.Stream:  # noqa: ANN401  # handed on
        shown.append(part)
        return compose(part, *rest)

    monkeypatch.setattr(streams, "compose", watched)
    found = answers.on_streams(*baseline, tiles, count=7)
    assert found.doubt is not None
    assert (found.doubt.folds, found.doubt.streams) == (5, 7)
    for index, part in enumerate(shown):
        assert (part.pixels == tiles.pixels[folds == index % 5]).all()


def test_a_face_cut_out_anew_is_measured_beside_the_tile(
    baseline: tuple[StreamNetworks, StreamManifest], portrait: np.ndarray
) -> None:
    blank = np.full_like(portrait, 90)
    tiles = Tiles(np.stack([blank, portrait]), np.array([0, HAPPY]))
    found = answers.as_the_device_crops(*baseline, tiles)
    assert (found.tiles, found.found) == (2, 1)
    assert found.direct.accuracy == found.cropped.accuracy == 1  # she smiles


def test_where_no_face_is_found_there_is_nothing_to_measure(
    baseline: tuple[StreamNetworks, StreamManifest],
) -> None:
    blank = Tiles(np.full((2, 48, 48), 90, np.uint8), np.zeros(2, np.int64))
    with pytest.raises(DataError, match=r"no face in any tile of val; leave out --through-crop"):
        answers.as_the_device_crops(*baseline, blank)
