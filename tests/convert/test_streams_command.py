"""`mien-convert streams`, from the command line to what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import contents, convert, line_of
from two_labels import NAMES, write_archive

from convert import streams
from edge.imaging import read_image

SHORT = ("--count", "2", "--seconds", "2")


@pytest.fixture(scope="module")
def made(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "streams"
    assert convert("streams", "--data", data_folder, "--out", out, *SHORT, "--fps", "15") == 0
    return out


def test_each_stream_has_an_archive_and_a_sheet(made: Path) -> None:
    assert sorted(contents(made)) == [
        "stream-0000.npz", "stream-0000.png", "stream-0001.npz", "stream-0001.png", "streams.json",
    ]  # fmt: skip
    sheet = read_image(made / "stream-0001.png")
    assert sheet is not None
    assert sheet.shape[1] > 1000


def test_an_archive_holds_a_whole_stream(made: Path) -> None:
    with np.load(made / "stream-0000.npz") as archive:
        stream = streams.Stream(**{name: archive[name] for name in archive.files})
    assert stream.pixels.dtype == np.uint8
    assert stream.pixels.shape[1:] == (48, 48)
    assert len(stream.times) == len(stream.pixels) == len(stream.present) <= 30
    assert stream.targets.shape == (len(stream.times), 7)
    assert stream.fps == 15


def test_the_record_tells_the_truth_of_every_frame(made: Path) -> None:
    record = json.loads((made / "streams.json").read_text())
    assert record["schema"] == "mien-streams/1"
    assert record["note"].startswith("Composed streams, not video")
    assert record["order"]["settings"] == "scoring"
    assert record["order"]["split"] == "val"
    assert record["settings"]["seconds"] == 2.0
    assert record["settings"]["webcam"]["noise"] == streams.SCORING.webcam.noise
    for truth in record["streams"]:
        with np.load(made / truth["archive"]) as archive:
            assert truth["times"] == pytest.approx(archive["times"], abs=1e-5)
            assert truth["present"] == archive["present"].tolist()
            assert truth["stretch"] == archive["stretch"].tolist()
            assert np.array(truth["targets"]) == pytest.approx(archive["targets"], abs=1e-4)


def test_what_is_printed_says_that_streams_are_composed(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "one"
    words = ("--count", "1", "--seconds", "1", "--settings", "learning", "--split", "train")
    assert convert("streams", "--data", data_folder, "--out", out, *words) == 0
    assert "1 composed streams of stills, not video; " in capsys.readouterr().out


def test_a_seed_decides_every_byte(data_folder: Path, made: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    words = ("streams", "--data", data_folder, *SHORT, "--fps", "15")
    assert convert(*words, "--out", again) == 0
    assert contents(again) == contents(made)
    assert convert(*words, "--out", other, "--seed", "2") == 0
    assert contents(other)["stream-0000.npz"] != contents(made)["stream-0000.npz"]


def test_data_with_labels_of_its_own_are_welcome(tmp_path: Path) -> None:
    write_archive(tmp_path / "shades.npz")
    words = ("--data", tmp_path / "shades.npz", "--labels", ",".join(NAMES), *SHORT)
    assert convert("streams", "--out", tmp_path / "out", *words) == 0
    record = json.loads((tmp_path / "out" / "streams.json").read_text())
    assert record["labels"] == list(NAMES)


def test_a_folder_that_holds_anything_is_refused_and_left_alone(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert convert("streams", "--data", data_folder, "--out", tmp_path, *SHORT) == 2
    assert "is not empty; name a new folder" in line_of(capsys)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_a_file_is_no_folder(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert convert("streams", "--data", data_folder, "--out", tmp_path / "out", *SHORT) == 2
    assert "is a file; name a folder" in line_of(capsys)


def test_a_place_that_cannot_be_written_is_one_line(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert convert("streams", "--data", data_folder, "--out", out, *SHORT) == 1
    assert "cannot write it" in line_of(capsys)


def test_a_stop_leaves_nothing_half_written(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convert import streams_folder  # noqa: PLC0415  # matplotlib, which no other test needs

    def stop(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(streams_folder.plots, "png", stop)
    assert convert("streams", "--data", data_folder, "--out", tmp_path / "out", *SHORT) == 1
    assert contents(tmp_path) == {}


def test_pictures_of_one_label_make_no_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 48, 48)).astype(np.uint8)
    np.savez(tmp_path / "same.npz", images=images, labels=np.full(40, "happy"))
    words = ("--data", tmp_path / "same.npz", "--out", tmp_path / "out")
    assert convert("streams", *words) == 1
    assert "same: all of val have one label; streams need two" in line_of(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--fps", "4"), ("--fps", "31"), ("--fps", "nan"), ("--count", "0"), ("--seed", "-1"),
        ("--seconds", "0.5"), ("--split", "test"), ("--settings", "easy"),
    ],
)  # fmt: skip
def test_options_out_of_range_exit_2(
    options: tuple[str, str], data_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert convert("streams", "--data", data_folder, "--out", out, *options) == 2
    assert not out.exists()
