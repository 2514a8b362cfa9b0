"""Converted files: read as the manifest states them, and refused where they would do harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_files import Step, Value, build

from convert import tflite
from convert.errors import ConversionError
from convert.interface import Interface

EMBEDDING = Value([1, 4], scales=[0.1], name="embedding")
LOGITS = Value([1, 2], scales=[0.2], zero_point=3, name="logits")
WEIGHTS = Value([2, 4], data=np.ones((2, 4), np.int8), scales=[0.01])
BIAS = Value([2], "int32", data=np.zeros(2, np.int32), scales=[0.001])


def frame(face: Value) -> bytes:
    """A picture goes in; what comes out is of no account here."""
    flat = Value([1, 4], scales=face.scales, zero_point=face.zero_point, name="flat")
    shape = Value([2], "int32", data=np.array([1, 4], np.int32), scales=[])
    return build(
        [face, shape, flat, WEIGHTS, BIAS, LOGITS],
        [Step("RESHAPE", [0, 1], [2]), Step("FULLY_CONNECTED", [2, 3, 4], [5], version=4)],
        [0], [2, 5], names=(["face"], ["embedding", "logits"]),
    )  # fmt: skip


def head(into: Value, out: Value) -> bytes:
    """A state goes in and comes out; what else it does is of no account here."""
    return build(
        [EMBEDDING, into, out, WEIGHTS, BIAS, LOGITS],
        [Step("ADD", [0, 1], [2], version=2), Step("FULLY_CONNECTED", [2, 3, 4], [5], version=4)],
        [0, 1], [2, 5], names=(["embedding", "state"], ["state", "logits"]),
    )  # fmt: skip


def written(folder: Path, data: bytes, name: str) -> tflite.Contents:
    (folder / name).write_bytes(data)
    return tflite.read(folder / name)


def test_a_frame_model_is_read_with_the_roles_of_its_signature(tmp_path: Path) -> None:
    found = written(tmp_path, frame(Value([1, 2, 2, 1], scales=[1 / 128])), "frame.tflite")
    (face,) = found.signature.inputs
    assert (face.role, face.shape, face.dtype) == ("face", (1, 2, 2, 1), "int8")
    embedding, logits = found.signature.outputs
    assert (embedding.role, logits.role) == ("embedding", "logits")
    assert (logits.scale, logits.zero_point) == (pytest.approx(0.2), 3)
    assert found.operators == ("RESHAPE", "FULLY_CONNECTED")
    tflite.check_frame(found, Interface())


@pytest.mark.parametrize(
    ("mean", "std", "scale", "zero_point"),
    [(128, 128, 1 / 128, 0), (0, 255, 1 / 255, -128), (127.5, 127.5, 1 / 127.5, 0)],
)
def test_an_input_that_tells_all_pixels_apart_is_kept(
    tmp_path: Path, mean: float, std: float, scale: float, zero_point: int
) -> None:
    face = Value([1, 2, 2, 1], scales=[scale], zero_point=zero_point)
    tflite.check_frame(written(tmp_path, frame(face), "f.tflite"), Interface(mean=mean, std=std))


@pytest.mark.parametrize("scale", [1 / 64, 1 / 120, 1 / 129])
def test_an_input_that_does_not_is_refused(tmp_path: Path, scale: float) -> None:
    contents = written(tmp_path, frame(Value([1, 2, 2, 1], scales=[scale])), "frame.tflite")
    with pytest.raises(ConversionError, match="does not hold all 256 values of a pixel"):
        tflite.check_frame(contents, Interface())


def test_a_head_whose_state_comes_out_as_it_goes_in_is_kept(tmp_path: Path) -> None:
    state = Value([1, 4], scales=[1 / 128], zero_point=1)
    found = written(tmp_path, head(state, state), "head.tflite")
    tflite.check_head(found)
    assert [each.role for each in found.signature.inputs] == ["embedding", "state"]


@pytest.mark.parametrize(("scale", "zero_point"), [(1.001 / 128, 1), (2 / 128, 1), (1 / 128, 0)])
def test_a_head_that_would_drift_is_refused(tmp_path: Path, scale: float, zero_point: int) -> None:
    into = Value([1, 4], scales=[1 / 128], zero_point=1, name="h")
    out = Value([1, 4], scales=[scale], zero_point=zero_point)
    with pytest.raises(ConversionError, match=r"^head.tflite: the state 'h' .*so it would drift"):
        tflite.check_head(written(tmp_path, head(into, out), "head.tflite"))


def test_a_file_with_float_inside_is_refused(tmp_path: Path) -> None:
    real = Value([1, 4], "float32", scales=[], name="left over")
    contents = written(tmp_path, head(real, real), "head.tflite")
    assert contents.floats == ("left over", "left over")
    with pytest.raises(ConversionError, match=r"^head.tflite: not all integer.*left over"):
        tflite.check_head(contents)


@pytest.mark.parametrize("content", [b"", b"TFL3", bytes(range(256)) * 4])
def test_what_is_no_tflite_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConversionError, match="not a TFLite file"):
        written(tmp_path, content, "frame.tflite")


def test_a_tensor_the_device_does_not_have_is_refused(tmp_path: Path) -> None:
    names = (["age"], ["embedding", "logits"])
    data = build([EMBEDDING, EMBEDDING, LOGITS], [], [0], [1, 2], names=names)
    with pytest.raises(ConversionError, match=r"'age' \(int8\) is nothing the device has"):
        written(tmp_path, data, "frame.tflite")
