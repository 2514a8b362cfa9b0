"""Reading data folders, and moving tiles about."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_tiles

from convert import data
from convert.data import LABELS, Augmentation
from convert.errors import DataError


@pytest.fixture
def folder(data_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(data_folder, tmp_path / "data")


def test_tiles_come_in_the_order_of_the_rows(data_folder: Path) -> None:
    faces = data.load(data_folder)
    drawn = draw_tiles(175)
    assert (faces.train.pixels == drawn[:140]).all()
    assert (faces.val.pixels == drawn[140:]).all()
    assert faces.train.labels.tolist() == [index % 7 for index in range(140)]
    assert LABELS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*--data"):
        data.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("train,angry", "train,cross", r"line 2: label 'cross' is none of angry"),
        ("train,angry", "test,angry", r"line 2: split is 'test'"),
        ("split,label", "part,label", r"no column split"),
        (",val,", ",train,", r"no row with split=val"),
    ],
)
def test_wrong_labels_are_refused(folder: Path, before: str, after: str, said: str) -> None:
    file = folder / "labels.csv"
    count = -1 if before == ",val," else 1
    file.write_text(file.read_text().replace(before, after, count))
    with pytest.raises(DataError, match=said):
        data.load(folder)


def test_labels_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "labels.csv").write_bytes(b"\xff\xfe\x00split")
    with pytest.raises(DataError, match="not a text file"):
        data.load(folder)


def test_more_rows_than_tiles_are_refused(folder: Path) -> None:
    with (folder / "labels.csv").open("a") as file:
        file.write("0,2,0,train,happy\n" * 50)
    with pytest.raises(DataError, match=r"225 rows .* 200 places"):
        data.load(folder)


def test_a_damaged_sheet_is_named(folder: Path) -> None:
    sheet = folder / "sheet-0.webp"
    sheet.write_bytes(sheet.read_bytes()[:100])
    with pytest.raises(DataError, match=r"sheet-0\.webp: not a picture"):
        data.load(folder)


def test_a_missing_sheet_is_named(folder: Path) -> None:
    (folder / "sheet-0.webp").rename(folder / "sheet-1.webp")
    with pytest.raises(DataError, match="not all there"):
        data.load(folder)


def test_normalised_pixels_are_what_an_int8_input_holds() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert (data.normalise(every).ravel() * 128 == np.arange(256) - 128).all()


def test_augmentation_repeats_with_its_seed_and_changes_every_tile() -> None:
    tiles = draw_tiles(8)
    first, again, other = (
        data.augment(tiles, Augmentation(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any(axis=(1, 2)).all()
    assert (first != tiles).any(axis=(1, 2)).all()


def test_without_reach_augmentation_only_mirrors() -> None:
    tiles = draw_tiles(8)
    still = Augmentation(shift=0, scale=0, rotation=0, contrast=0, brightness=0, coarse=0)
    moved = data.augment(tiles, still, np.random.default_rng(1))
    for tile, result in zip(tiles, moved, strict=True):
        assert (result == tile).all() or (result == tile[:, ::-1]).all()


def test_resampling_blurs_in_place() -> None:
    tile = draw_tiles(1)[0]
    coarse = data.resample(tile, 24).astype(float)
    assert np.abs(np.diff(coarse)).mean() < np.abs(np.diff(tile.astype(float))).mean()
    assert np.corrcoef(coarse.ravel(), tile.ravel())[0, 1] > 0.95


def test_relighting_keeps_the_mean_but_for_the_lift() -> None:
    tile = np.full((48, 48), 100, np.uint8)
    assert (data.relight(tile, 1.5, 20) == 120).all()


def test_a_spread_takes_from_everywhere() -> None:
    tiles = data.Tiles(draw_tiles(10), np.arange(10))
    assert data.spread(tiles, 4).labels.tolist() == [0, 3, 6, 9]
    assert len(data.spread(tiles, 100)) == 10
