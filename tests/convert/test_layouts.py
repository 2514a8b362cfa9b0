"""Every layout that labelled pictures come in, and every way in which one can be wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn import draw_tiles
from two_labels import NAMES, SIDE, pictures, write_archive

from convert import layouts
from convert.errors import DataError
from convert.layouts.tiles import Labelled, fit


def read(path: Path, size: int = SIDE) -> Labelled:
    return layouts.read(path, names=NAMES, size=size)


def save(file: Path, picture: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), picture)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`train/LABEL/*` and `val/LABEL/*`, six pictures and two."""
    root = tmp_path / "folders"
    for index, (picture, label) in enumerate(zip(*pictures(8), strict=True)):
        save(root / ("train" if index < 6 else "val") / NAMES[label] / f"{index}.png", picture)
    return root


def test_folders_tell_split_and_label(folders: Path) -> None:
    found = read(folders)
    assert found.splits == ["train"] * 6 + ["val"] * 2
    assert found.labels == ["dark"] * 3 + ["light"] * 3 + ["dark", "light"]
    assert found.pixels[:, 0, 0].tolist() == [60, 62, 64, 191, 193, 195, 66, 197]


@pytest.mark.parametrize("name", ["validation", "valid", "Val", "test"])
def test_a_split_has_many_names(folders: Path, name: str) -> None:
    (folders / "train").rename(folders / "Training")
    (folders / "val").rename(folders / name)
    assert read(folders).splits.count("val") == 2


def test_a_test_split_is_left_alone_beside_val(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders / "val", folders / "test")
    assert len(read(folders).labels) == 8
    assert "test: left alone, for there is val" in capsys.readouterr().err


def test_two_folders_for_one_split_are_refused(folders: Path) -> None:
    shutil.copytree(folders / "val", folders / "validation")
    with pytest.raises(DataError, match=r"validation: there is val too"):
        read(folders)


def test_without_splits_each_file_chooses_its_own_and_copies_agree(tmp_path: Path) -> None:
    for index, tile in enumerate(draw_tiles(200)):
        save(tmp_path / NAMES[index % 2] / f"{index}.png", tile)
        shutil.copy(tmp_path / NAMES[index % 2] / f"{index}.png", tmp_path / f"{index}.png")
    first = read(tmp_path)
    assert 10 <= first.splits.count("val") <= 40  # an eighth of 200 is 25
    for copy in tmp_path.glob("*.png"):
        copy.rename(tmp_path / "dark" / f"copy-{copy.name}")
    both = read(tmp_path)
    halves = {tile.tobytes(): split for tile, split in zip(first.pixels, first.splits, strict=True)}
    assert len(both.labels) == 400
    for tile, split in zip(both.pixels, both.splits, strict=True):
        assert halves[tile.tobytes()] == split


def test_what_pins_folders_is_their_content_and_not_their_names(
    folders: Path, tmp_path: Path
) -> None:
    before = read(folders).sha256
    (folders / "train" / "dark" / "0.png").rename(folders / "train" / "dark" / "other.png")
    moved = folders.rename(tmp_path / "elsewhere")
    assert read(moved).sha256 == before
    (moved / "train" / "dark" / "other.png").rename(moved / "train" / "light" / "other.png")
    assert read(moved).sha256 != before


def test_a_damaged_picture_is_named(folders: Path) -> None:
    (folders / "val" / "dark" / "6.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"6\.png: not a picture, or damaged"):
        read(folders)


def test_other_files_are_passed_over_and_counted(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "val" / "dark" / "notes.txt").write_text("x")
    (folders / "val" / "dark" / ".hidden").write_text("x")
    assert len(read(folders).labels) == 8
    assert "passed over 1 of 2 files, which are no pictures by their names (notes.txt)" in (
        capsys.readouterr().err
    )


def test_a_folder_without_pictures_says_how_to_lay_them_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no picture .* lay them out as LABEL/\*"):
        read(tmp_path)


def test_no_such_path_names_every_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: No such file .*LABEL/\*.*npz.*labels\.csv"):
        read(tmp_path / "nowhere")
    (tmp_path / "it.txt").write_text("x")
    with pytest.raises(DataError, match=r"it\.txt: neither a folder nor an \.npz"):
        read(tmp_path / "it.txt")


def test_an_archive_holds_all(tmp_path: Path) -> None:
    found = read(write_archive(tmp_path / "data.npz"))
    assert (found.pixels == pictures()[0]).all()
    assert found.labels == ["dark", "light"] * 8
    assert found.splits.count("val") == 4


def test_numbers_stand_for_the_models_labels(tmp_path: Path) -> None:
    assert read(write_archive(tmp_path / "data.npz", labels=pictures()[1])).labels[:2] == list(
        NAMES
    )


def test_an_archive_without_splits_chooses_by_each_picture(tmp_path: Path) -> None:
    tiles = draw_tiles(200)
    file = write_archive(tmp_path / "data.npz", images=tiles, labels=np.arange(200) % 2, split=None)
    splits = read(file, 48).splits
    assert splits == read(file, 48).splits
    assert 10 <= splits.count("val") <= 40


@pytest.mark.parametrize(
    "alike",
    [
        lambda images: images[..., None],
        lambda images: np.repeat(images[..., None], 3, axis=3),
        lambda images: images.astype(np.int64),
        lambda images: images.astype(np.float32),
        lambda images: images / 255.0,
    ],
    ids=["one channel", "gray in RGB", "whole numbers", "floats to 255", "floats to 1"],
)
def test_pixels_come_in_many_forms(tmp_path: Path, alike: Any) -> None:  # noqa: ANN401
    images = pictures()[0].copy()
    images[0, 0, 0] = 255  # so that floats to 1 are told from floats to 255
    assert (read(write_archive(tmp_path / "data.npz", images=alike(images))).pixels == images).all()


def test_colours_become_luma_as_on_the_device(tmp_path: Path) -> None:
    images = np.zeros((16, SIDE, SIDE, 3), np.uint8)
    images[..., 0] = 200  # red is the first
    found = read(write_archive(tmp_path / "data.npz", images=images))
    assert set(found.pixels.ravel().tolist()) == {60}  # 0.299 of 200


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"images": None}, "no array images in it"),
        ({"labels": None}, "no array labels in it"),
        ({"images": np.zeros((16, 8))}, r"images has the shape \[16, 8\]; make it \[n, height"),
        ({"images": np.zeros((16, 3, 8, 8))}, r"shape \[16, 3, 8, 8\]"),
        ({"images": np.zeros((0, 8, 8))}, "add pictures"),
        ({"images": np.full((16, 8, 8), np.nan)}, r"images\[0\] has a NaN or infinity"),
        ({"images": np.full((16, 8, 8), -0.5)}, "images go from -0.5 to -0.5"),
        ({"images": np.full((16, 8, 8), 256)}, "images go from 256 to 256"),
        ({"images": np.zeros((16, 8, 8), bool)}, "images are bool; make them uint8"),
        ({"images": np.zeros((16, 8, 8), complex)}, "images are complex128"),
        ({"labels": np.zeros(15, int)}, r"labels has the shape \[15\] for 16 images"),
        ({"labels": np.zeros((16, 2), int)}, r"labels has the shape \[16, 2\]"),
        ({"labels": np.arange(16)}, r"labels\[2\] is 2; number them 0 to 1 \(dark, light\)"),
        ({"labels": -np.ones(16, int)}, r"labels\[0\] is -1"),
        ({"labels": np.zeros(16)}, "labels are float64; make them strings or whole numbers"),
        ({"labels": np.array(["dark"] * 16, object)}, "not an .npz of plain arrays"),
        ({"split": np.array(["test"] * 16)}, "split has 'test'; make each train or val"),
        ({"split": np.array(["val"] * 15)}, r"split is <U3 \[15\]; make it \[16\] strings"),
        ({"split": np.zeros(16, int)}, r"split is int64 \[16\]"),
    ],
)
def test_a_wrong_archive_is_one_clear_line(
    tmp_path: Path, wrong: dict[str, np.ndarray], said: str
) -> None:
    file = write_archive(tmp_path / "data.npz", **wrong)
    with pytest.raises(DataError, match=said) as caught:
        read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut", b"\x80\x04N.", b"\x93NUMPY\x01\x00"], ids=repr
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "data.npz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz: .*again"):
        read(file)


def test_an_archive_cut_short_is_refused(tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "whole.npz").read_bytes()
    file = tmp_path / "data.npz"
    for end in range(0, len(whole), 97):
        file.write_bytes(whole[:end])
        with pytest.raises(DataError):
            read(file)


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"not an \.npz of plain arrays \(a single array\)"):
        read(tmp_path / "data.npz")


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    tile = draw_tiles(1)[0]
    assert fit(tile, 48) is tile


@pytest.mark.parametrize("size", [24, 48, 64])
def test_resizing_neither_moves_nor_darkens(size: int) -> None:
    y, x = np.mgrid[0:96, 0:96]
    slope = (x + y).astype(np.uint8)
    small = fit(slope, size).astype(float)
    assert small.mean() == pytest.approx(slope.mean(), abs=0.6)
    assert small[::-1, ::-1] + small == pytest.approx(2 * small.mean(), abs=4)


def test_shrinking_averages() -> None:
    chequered = np.indices((192, 192)).sum(axis=0) % 2 * 255
    assert np.abs(fit(chequered.astype(np.uint8), 48).astype(float) - 127.5).max() <= 1


def test_of_an_oblong_picture_the_middle_is_taken() -> None:
    oblong = np.zeros((48, 96), np.uint8)
    oblong[:, 24:72] = 200
    assert (fit(oblong, 48) == 200).mean() > 0.95
    assert (fit(oblong.T, 48) == 200).mean() > 0.95


def test_unlabelled_pictures_lie_at_any_depth(tmp_path: Path) -> None:
    for depth, picture in enumerate(pictures(3)[0]):
        save(tmp_path / "/".join("abc"[:depth]) / f"{depth}.png", picture)
    assert len(layouts.read_unlabelled(tmp_path, SIDE)) == 3


def test_unlabelled_pictures_are_never_those_of_val(
    folders: Path, data_folder: Path, tmp_path: Path
) -> None:
    assert len(layouts.read_unlabelled(folders, SIDE)) == 6
    assert len(layouts.read_unlabelled(data_folder, 48)) == 140
    assert len(layouts.read_unlabelled(write_archive(tmp_path / "a.npz"), SIDE)) == 12


def test_an_archive_of_images_alone_will_do(tmp_path: Path) -> None:
    file = write_archive(tmp_path / "a.npz", labels=None, split=None)
    assert layouts.read_unlabelled(file, SIDE).shape == (16, SIDE, SIDE)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"images": None}, "no array images"),
        ({"images": np.full((16, 8, 8), np.inf)}, "NaN or infinity"),
        ({"split": np.array(["val"] * 16)}, "no picture with split=train"),
    ],
)
def test_wrong_unlabelled_pictures_are_refused(
    tmp_path: Path, wrong: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        layouts.read_unlabelled(write_archive(tmp_path / "a.npz", **wrong), SIDE)


def test_no_unlabelled_pictures_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no picture .* give a folder that has some"):
        layouts.read_unlabelled(tmp_path, SIDE)
    with pytest.raises(DataError, match="nowhere: No such file or directory"):
        layouts.read_unlabelled(tmp_path / "nowhere", SIDE)
