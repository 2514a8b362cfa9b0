"""Reading data folders, and moving tiles about."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_tiles
from two_labels import NAMES, SIDE, write_archive

from convert import data
from convert.data import LABELS, Augmentation
from convert.errors import DataError
from convert.layouts.tiles import fit
from edge.errors import UsageError
from edge.imaging import warp_square


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
        ("train,angry", "train,", r"line 2: split is 'train' and label ''"),
        ("train,angry", "test,angry", r"line 2: split is 'test'"),
        ("split,label", "part,label", r"no column split"),
        (",val,", ",train,", r"no picture with split=val"),
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


def test_any_layout_becomes_tiles_of_the_models_size(tmp_path: Path) -> None:
    faces = data.load(write_archive(tmp_path / "a.npz"), names=NAMES, size=2 * SIDE)
    assert faces.names == NAMES
    assert (len(faces.train), len(faces.val)) == (12, 4)
    assert faces.val.pixels.shape == (4, 2 * SIDE, 2 * SIDE)
    assert faces.val.labels.tolist() == [0, 1, 0, 1]
    assert len(faces.labels_sha256) == 64


def test_the_order_of_labels_is_the_models(tmp_path: Path) -> None:
    faces = data.load(write_archive(tmp_path / "a.npz"), names=NAMES[::-1], size=SIDE)
    assert faces.val.labels.tolist() == [1, 0, 1, 0]


def test_capitals_do_not_make_another_label(tmp_path: Path) -> None:
    labels = np.array(["Dark", "LIGHT"] * 8)
    faces = data.load(write_archive(tmp_path / "a.npz", labels=labels), names=NAMES, size=SIDE)
    assert faces.val.labels.tolist() == [0, 1, 0, 1]


def test_labels_the_model_lacks_are_left_out_and_counted(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = data.load(data_folder, names=LABELS[1:-1])
    assert faces.train.labels.max() == 4
    assert len(faces.train) == 100
    said = capsys.readouterr().err
    assert (
        "50 of 175 pictures left out, for the model has no label angry (25), neutral (25)" in said
    )
    assert said.count("\n") == 1


def test_labels_of_which_the_model_has_none_are_refused(data_folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of its labels, angry \(25\).* rename them .*dark, l"
    ):
        data.load(data_folder, names=NAMES)


def test_a_split_that_is_left_empty_is_refused(tmp_path: Path) -> None:
    split = np.array(["train"] * 16)
    with pytest.raises(DataError, match=r"no picture with split=val; add some"):
        data.load(write_archive(tmp_path / "a.npz", split=split), names=NAMES, size=SIDE)


def test_pictures_need_no_labels(tmp_path: Path) -> None:
    file = write_archive(tmp_path / "a.npz", labels=None, split=None)
    assert data.pictures(file, 12).shape == (16, 12, 12)


def test_a_data_set_is_named_by_what_pins_it() -> None:
    assert data.data_name(data.FER2013_SHA256) == "FER2013"
    assert data.data_name("0" * 64) == "own data"


def test_pixels_are_normalised_as_the_model_says() -> None:
    pixels = np.array([[[10, 30]]], np.uint8)
    assert data.normalise(pixels, 20, 5).ravel().tolist() == [-2, 2]


def test_normalised_pixels_are_what_an_int8_input_holds() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert (data.normalise(every).ravel() * 128 == np.arange(256) - 128).all()


@pytest.mark.parametrize("side", [24, 48, 64])
def test_augmentation_repeats_with_its_seed_and_changes_every_tile(side: int) -> None:
    tiles = np.stack([fit(tile, side) for tile in draw_tiles(8)])
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


@pytest.mark.parametrize("side", [48, 64])
def test_a_similarity_that_does_nothing_keeps_every_pixel(side: int) -> None:
    tile = fit(draw_tiles(1)[0], side)
    assert (warp_square(tile, data.similarity(0, 0, 1, 0, side), side) == tile).all()


@pytest.mark.parametrize("side", [48, 64])
def test_a_similarity_turns_about_the_middle(side: int) -> None:
    tile = fit(draw_tiles(1)[0], side)
    half = warp_square(tile, data.similarity(0, 0, 1, np.pi, side), side)
    assert np.abs(half[::-1, ::-1].astype(int) - tile).max() <= 1


@pytest.mark.parametrize("side", [48, 64])
def test_resampling_blurs_in_place(side: int) -> None:
    tile = fit(draw_tiles(1)[0], side)
    coarse = data.resample(tile, side // 2).astype(float)
    assert np.abs(np.diff(coarse)).mean() < np.abs(np.diff(tile.astype(float))).mean()
    assert np.corrcoef(coarse.ravel(), tile.ravel())[0, 1] > 0.95


def test_relighting_keeps_the_mean_but_for_the_lift() -> None:
    tile = np.full((48, 48), 100, np.uint8)
    assert (data.relight(tile, 1.5, 20) == 120).all()


def test_a_spread_takes_from_everywhere() -> None:
    tiles = data.Tiles(draw_tiles(10), np.arange(10))
    assert data.spread(tiles, 4).labels.tolist() == [0, 3, 6, 9]
    assert len(data.spread(tiles, 100)) == 10


def test_labels_are_written_with_commas() -> None:
    assert data.labels_of("a, b,c") == ("a", "b", "c")


@pytest.mark.parametrize("text", ["", "a", "a,", "a,A", "a,,b"])
def test_wrongly_written_labels_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="name each once, in the order of the answers"):
        data.labels_of(text)
