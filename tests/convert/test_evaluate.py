"""Measuring the files the device will run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from convert import evaluate, framing
from convert.data import Tiles
from convert.errors import DataError, RunError
from convert.run import Evaluation, read_record
from edge.imaging import warp_square


def test_every_tile_of_val_is_measured_in_float_and_int8(finished: Path) -> None:
    found = read_record(finished / "evaluation.json", Evaluation, made_by="evaluate")
    assert found.floating.n == found.quantised.n == 35
    assert abs(found.floating.accuracy - found.quantised.accuracy) < 0.2
    assert found.through_crop is None
    assert found.streams.steps == 80


def test_json_is_the_whole_of_stdout(
    finished: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from convert.__main__ import main  # noqa: PLC0415  # only here

    run = shutil.copytree(finished, tmp_path / "run")
    assert main(["evaluate", "--json", "--data", str(data_folder), "--run", str(run)]) == 0
    assert json.loads(capsys.readouterr().out)["quantised"]["n"] == 35


def test_measurements_of_other_files_are_refused(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    file = run / "evaluation.json"
    found = json.loads(file.read_text())
    file.write_text(json.dumps(found | {"frame_sha256": "0" * 64}))
    with pytest.raises(RunError, match="evaluate it again"):
        evaluate.evaluation_of(run)


def test_a_face_is_measured_where_the_crop_would_put_it(portrait: np.ndarray) -> None:
    tiles = Tiles(portrait[None], np.zeros(1, np.int64))
    found = framing.measure(tiles, framing.short_range_detector())
    assert (found.tiles, found.found) == (1, 1)
    assert found.centre_line[1] == pytest.approx(framing.CROP.centre_line, abs=0.03)
    assert found.face_length[1] == pytest.approx(framing.CROP.face_length, abs=0.05)
    assert found.centre_x[1] == pytest.approx(0.5, abs=0.03)
    assert found.angle[1] == pytest.approx(0, abs=4)


def test_cutting_out_an_enlarged_tile_gives_the_tile(portrait: np.ndarray) -> None:
    picture = framing.enlarged(portrait)
    assert picture.shape == (192, 192)
    back = np.array([[0.5, 0, -24.25], [0, 0.5, -24.25]], np.float32)
    again = warp_square(picture, back, 48)
    # Half a pixel off it would be 0.988, a whole one 0.964.
    assert np.corrcoef(again.ravel(), portrait.ravel())[0, 1] > 0.99


def test_a_folder_without_faces_says_so() -> None:
    blank = Tiles(np.full((2, 48, 48), 90, np.uint8), np.zeros(2, np.int64))
    with pytest.raises(DataError, match="no face in any tile"):
        framing.measure(blank, framing.short_range_detector())
