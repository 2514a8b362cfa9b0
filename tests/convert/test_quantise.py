"""A run folder's networks become files, or nothing is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from damage import with_doubled_scale, with_other_state_scale
from drawn import draw_tiles

from convert import quantise, tflite
from convert.__main__ import main
from convert.gates import ParityRecord
from convert.interface import Interface
from convert.run import Quantised, read_record
from edge.runtime import Model, dequantise
from edge.runtime import quantise as to_stored


def test_a_frame_model_takes_pixels_less_128(finished: Path) -> None:
    record = read_record(finished / "quantised.json", Quantised, made_by="quantise")
    (face,) = record.frame.inputs
    assert (face.shape, face.dtype, face.scale, face.zero_point) == (
        (1, 48, 48, 1), "int8", 1 / 128, 0
    )  # fmt: skip
    assert [tensor.role for tensor in record.frame.outputs] == ["embedding", "logits"]
    assert set(tflite.read(finished / "frame.tflite").operators) == {
        "CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "RESHAPE"
    }  # fmt: skip


def test_the_file_answers_as_the_network_did(finished: Path) -> None:
    record = read_record(finished / "quantised.json", Quantised, made_by="quantise")
    model = Model((finished / "frame.tflite").read_bytes(), record.frame)
    network = keras.models.load_model(finished / "frame.keras")
    largest = 0.0
    for pixels in draw_tiles(8, seed=9):
        real = ((pixels[None, :, :, None].astype(np.float32)) - 128) / 128
        embedding, _ = network.predict_on_batch(real)
        stored, _ = model(to_stored(real, record.frame.inputs[0]))
        got = dequantise(stored, record.frame.outputs[0])
        largest = max(largest, float(np.abs(got - embedding).max() / np.abs(embedding).max()))
    assert largest < 0.15


def test_what_was_measured_is_left_beside_the_files(finished: Path) -> None:
    record = read_record(finished / "parity.json", ParityRecord, made_by="quantise")
    quantised = read_record(finished / "quantised.json", Quantised, made_by="quantise")
    assert quantised.head is not None
    assert record.sha256 == {"frame": quantised.frame.sha256, "head": quantised.head.sha256}
    assert record.n == 175
    assert {each.name for each in record.gates if each.allowed} == {
        "samples", "agreement", "accuracy-drop", "head-agreement", "logit-sqnr"
    }  # fmt: skip


def test_pinned_tiles_begin_with_the_extremes() -> None:
    taken = Interface(mean=0, std=255)
    pixels = quantise.pinned(np.full((1, 4, 4), 51, np.uint8), taken)
    assert pixels[:, 0, 0, 0].tolist() == pytest.approx([0, 1, 0.2])


@pytest.mark.slow
def test_a_gate_that_fails_prints_the_table_and_leaves_what_was_there(
    finished: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert main(["quantise", "--data", str(data_folder), "--run", str(run)]) == 1
    told = capsys.readouterr()
    assert "| samples | 175 | at least 2000 | FAILED |" in " ".join(told.out.split())
    assert "SQNR" in told.out
    assert told.err.splitlines()[-1].startswith("mien-convert: the quantised answers are not those")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("frame.tflite", lambda data: with_doubled_scale(data, 0)),
        ("head.tflite", with_other_state_scale),
    ],
)
def test_a_file_damaged_after_the_gates_becomes_no_bundle(
    finished: Path, tmp_path: Path, name: str, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "bundle"
    shutil.copytree(finished, run)
    (run / name).write_bytes(damage((run / name).read_bytes()))  # type: ignore[operator]
    assert main(["package", "--run", str(run), "--out", str(out), "--name", "bad"]) == 1
    assert f"{name}: not the file that passed the parity gates" in capsys.readouterr().err
    assert not out.exists()
