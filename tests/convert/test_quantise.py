"""Quantised files: integer throughout, fed back without drift, or refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf
from drawn import draw_tiles

from convert import converter, models, quantise, tflite
from convert.errors import ConversionError
from convert.quantise import Quantised
from convert.run import read_record
from edge.runtime import Model, dequantise
from edge.runtime import quantise as to_stored

pytestmark = [
    # The converter calls a network with a list of the inputs that it names.
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    # It uses an interpreter that is to give way to ai-edge-litert's.
    pytest.mark.filterwarnings(r"ignore:\s+Warning. tf.lite.Interpreter is deprecated:UserWarning"),
]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tflite.Contents]:
    """The same untrained head in both precisions."""
    folder = tmp_path_factory.mktemp("heads")
    keras.utils.set_random_seed(3)
    step = models.gru_step()
    step.save(folder / "head.keras")
    random = np.random.default_rng(0)
    embeddings = np.maximum(0, random.normal(0, 2, (300, 128))).astype(np.float32)
    np.savez(folder / "head.npz", embedding=embeddings)
    found = {}
    for precision in ("int8", "int16x8"):
        out = folder / f"{precision}.tflite"
        command = [sys.executable, "-m", "convert.converter", str(folder / "head.keras")]
        quantise.isolated([*command, str(folder / "head.npz"), precision, str(out)], "head", 300)
        found[precision] = tflite.read(out)
    return found


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_the_state_comes_out_as_it_goes_in(
    heads: dict[str, tflite.Contents], precision: str
) -> None:
    contents = heads[precision]
    quantise.check_head(contents)
    assert set(contents.operators) == {
        "FULLY_CONNECTED", "ADD", "MUL", "SUB", "LOGISTIC", "TANH"
    }  # fmt: skip
    assert contents.macs == 3 * 128 * 32 + 3 * 32 * 32 + 32 * 7


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


def test_a_head_that_would_drift_is_refused(heads: dict[str, tflite.Contents]) -> None:
    good = heads["int16x8"]
    outputs = [
        msgspec.structs.replace(each, scale=each.scale * 1.001) if each.role == "state" else each
        for each in good.signature.outputs
    ]
    bad = replace(good, signature=msgspec.structs.replace(good.signature, outputs=tuple(outputs)))
    with pytest.raises(ConversionError, match="it would drift"):
        quantise.check_head(bad)


def test_the_last_state_of_a_calibration_is_not_its_extreme() -> None:
    single = converter.single_sample(models.gru_step())
    random = np.random.default_rng(0)
    samples = [{"embedding": random.normal(size=(1, 128)).astype(np.float32)} for _ in range(50)]
    looped = converter.closed_loop(single, samples)
    states = np.stack([sample["state"] for sample in looped])
    assert (states[0] == 0).all()
    _, after = _run(single, looped[-1])
    # What the last step gives lies within what was fed, so both have one range.
    assert states.min() <= after.min()
    assert after.max() <= states.max()


def _run(single: keras.Model, sample: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    answer = single.predict_on_batch(sample)
    return answer["logits"], answer["state"]


def test_a_file_with_float_inside_is_refused(tmp_path: Path) -> None:
    single = converter.single_sample(models.gru_step())
    path = tmp_path / "head.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(single).convert())
    contents = tflite.read(path)
    assert contents.float_tensors
    with pytest.raises(ConversionError, match=r"head\.tflite: not all integer"):
        quantise.check_head(contents)


@pytest.mark.parametrize("content", [b"", b"TFL3", bytes(range(256)) * 4])
def test_what_is_no_tflite_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frame.tflite"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="not a TFLite file"):
        tflite.read(path)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("import time; time.sleep(60)", "still busy after 0.5 s"),
        ("raise ValueError('no such operator')", r"refuses it \(ValueError: no such operator\)"),
        ("raise SystemExit(3)", "refuses it .it said nothing"),
    ],
)
def test_a_converter_that_dies_becomes_a_sentence(program: str, said: str) -> None:
    with pytest.raises(ConversionError, match=f"net: the converter (was )?{said}"):
        quantise.isolated([sys.executable, "-c", program], "net", 0.5 if "sleep" in program else 60)
