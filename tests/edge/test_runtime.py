"""The interpreter, and the arithmetic of quantisation."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge import bundle
from edge.bundle import TensorSpec
from edge.errors import BundleError, ModelError
from edge.runtime import Model, dequantise, pixel_reader, pixel_table, quantise, rescale_table


def spec(dtype: str, scale: float | None, zero_point: int = 0) -> TensorSpec:
    return msgspec.convert(
        {
            "name": "x",
            "role": "face",
            "shape": (1,),
            "dtype": dtype,
            "scale": scale,
            "zero_point": zero_point,
        },
        TensorSpec,
    )


scales = st.floats(1e-4, 10.0)
zero_points = st.integers(-128, 127)


@given(hnp.arrays(np.int8, 16), scales, zero_points)
def test_what_was_stored_survives_the_round_trip(
    stored: np.ndarray, scale: float, zero_point: int
) -> None:
    kind = spec("int8", scale, zero_point)
    assert quantise(dequantise(stored, kind), kind).tolist() == stored.tolist()


@given(hnp.arrays(np.float64, 8, elements=st.floats(-1e6, 1e6)), scales, zero_points)
def test_real_values_are_off_by_half_a_step_or_clipped(
    real: np.ndarray, scale: float, zero_point: int
) -> None:
    kind = spec("int8", scale, zero_point)
    low, high = (-128 - zero_point) * scale, (127 - zero_point) * scale
    back = dequantise(quantise(real, kind), kind)
    error = np.abs(back - np.clip(real, low, high))
    assert (error <= scale * (0.5 + 1e-5) + 1e-6 * np.abs(back)).all()


def test_rounding_is_to_even_on_ties() -> None:
    assert quantise([0.5, 1.5, 2.5, -0.5], spec("int8", 1.0)).tolist() == [0, 2, 2, 0]


def test_a_pixel_at_mean_and_std_128_needs_no_arithmetic() -> None:
    table = pixel_table(128.0, 128.0, spec("int8", 1 / 128))
    assert table.tolist() == list(range(-128, 128))


@given(hnp.arrays(np.uint8, (4, 4)), st.floats(0, 255), st.floats(1, 255))
def test_pixels_become_what_the_model_takes(pixels: np.ndarray, mean: float, std: float) -> None:
    for kind in (spec("float32", None), spec("int8", 1 / 64, 3)):
        expected = quantise((pixels - mean) / std, kind)
        read = pixel_reader(mean, std, kind)(pixels)
        assert read.dtype == expected.dtype
        assert np.allclose(read, expected, atol=1e-4)


@given(hnp.arrays(np.int8, 32), scales, zero_points, scales)
def test_handing_over_by_table_is_exact(
    stored: np.ndarray, scale: float, zero_point: int, into_scale: float
) -> None:
    out, into = spec("int8", scale, zero_point), spec("int16", into_scale)
    expected = quantise(dequantise(stored, out), into)
    assert rescale_table(out, into)(stored).tolist() == expected.tolist()


def test_a_float_tensor_passes_through() -> None:
    plain = spec("float32", None)
    assert quantise([0.25], plain).tolist() == [0.25]
    assert dequantise(np.array([0.25], np.float32), plain).tolist() == [0.25]


def test_a_model_gives_its_outputs_in_the_manifests_order() -> None:
    loaded, manifest = bundle.load_detector("blazeface-short")
    picture = np.zeros((1, 128, 128, 3), np.float32)
    boxes, scores = Model(loaded.read(manifest.frame), manifest.frame)(picture)
    assert boxes.shape == (1, 896, 16)
    assert scores.shape == (1, 896, 1)
    swapped = msgspec.structs.replace(manifest.frame, outputs=manifest.frame.outputs[::-1])
    assert Model(loaded.read(manifest.frame), swapped)(picture)[0].shape == (1, 896, 1)


def test_a_file_that_is_no_model_is_refused() -> None:
    _, manifest = bundle.load_detector("blazeface-short")
    with pytest.raises(ModelError, match=r"frame\.tflite: the TFLite runtime refuses it"):
        Model(b"not a flatbuffer" * 10, manifest.frame)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "elsewhere"}, "no tensor 'elsewhere'"),
        ({"shape": (1, 64, 64, 3)}, "tensor 'input' is not as the manifest says"),
        ({"scale": 0.5}, "tensor 'input' is not as the manifest says"),
    ],
)
def test_a_signature_that_is_not_the_files_is_refused(
    change: dict[str, object], complaint: str
) -> None:
    loaded, manifest = bundle.load_detector("blazeface-short")
    tensor = msgspec.structs.replace(manifest.frame.inputs[0], **change)
    with pytest.raises(BundleError, match=complaint):
        Model(
            loaded.read(manifest.frame), msgspec.structs.replace(manifest.frame, inputs=(tensor,))
        )


def test_a_runtime_that_is_not_installed_says_how_to_mend_it() -> None:
    loaded, manifest = bundle.load_detector("blazeface-short")
    with pytest.raises(ModelError, match=r"pip install tflite-runtime, or name the runtime"):
        Model(loaded.read(manifest.frame), manifest.frame, library="tflite-runtime")
