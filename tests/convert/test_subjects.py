"""Opening any kind of model, and refusing with a reason what cannot be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tflite_files import Step, Value, build
from two_labels import NAMES, SIDE, frame_file, pictures

from convert import subjects
from convert.errors import ConversionError, SourceError
from convert.subjects import Given
from edge.errors import MienError, UsageError

TWO = Given(labels=NAMES)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], str]:
    def to_file(content: bytes) -> str:
        file = tmp_path / "it.tflite"
        file.write_bytes(content)
        return str(file)

    return to_file


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
@pytest.mark.parametrize(
    "shape", [(1, SIDE, SIDE, 1), (1, SIDE, SIDE, 3), (1, 1, SIDE, SIDE), (1, 3, SIDE, SIDE)]
)
def test_a_tflite_file_answers_whatever_its_picture_is_like(
    save: Callable[[bytes], str], dtype: str, shape: tuple[int, ...]
) -> None:
    subject = subjects.open_model(save(frame_file(dtype=dtype, shape=shape)), TWO)
    tiles, labels = pictures()
    answers = subject.answer(tiles)
    assert answers.shape == (16, 2)
    assert answers.dtype == np.float32
    assert (answers.argmax(axis=1) == labels).all()
    real = (tiles[:, 0, 0].astype(float) - 128) / 128
    assert answers[:, 1] == pytest.approx(real, abs=1 / 64)
    assert (subject.size, subject.labels) == (SIDE, NAMES)
    assert subject.form == {"uint8": "uint8 to int8"}.get(dtype, dtype)


def test_pixels_are_normalised_as_told(save: Callable[[bytes], str]) -> None:
    subject = subjects.open_model(save(frame_file()), Given(labels=NAMES, mean=0, std=255))
    assert subject.answer(np.full((1, SIDE, SIDE), 255, np.uint8))[0] == pytest.approx([-1, 1])


def test_the_files_sha256_goes_with_it(save: Callable[[bytes], str]) -> None:
    subject = subjects.open_model(save(frame_file()), TWO)
    assert list(subject.files) == ["it.tflite"]
    assert len(subject.files["it.tflite"]) == 64


def flat(shape: tuple[int, ...], dtype: str = "float32") -> bytes:
    """A file that takes a picture of any shape and gives it back, flattened."""
    total = int(np.prod(shape))
    number = np.array([1, total], np.int32)
    values = [Value(shape, dtype, name="face"), Value([2], "int32", number, scales=()),
              Value([1, total], dtype, name="out")]  # fmt: skip
    return build(values, [Step("RESHAPE", [0, 1], [2])], [0], [2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"TFL", "not a TFLite file"),
        (flat((1, 8, 9, 1)), r"takes face float32 \[1, 8, 9, 1\]; .* one square picture"),
        (flat((2, 8, 8, 1)), r"takes face float32 \[2, 8, 8, 1\]; .* batch of one"),
        (flat((1, 8, 8, 4)), r"takes face float32 \[1, 8, 8, 4\]"),
        (flat((1, 2)), r"takes face float32 \[1, 2\]"),
        (flat((1, 8, 8, 1), "int32"), r"takes face int32 .*; convert it to take float32, int16"),
        (flat((1, 8, 8, 1)), r"gives out float32 \[1, 64\], .* 2 labels \(dark, light\);.*--"),
        (frame_file(outputs=2), r"2 could be the scores of 2 labels"),
    ],
    ids=["damaged", "oblong", "batch", "four channels", "vector", "integers", "no scores", "two"],
)  # fmt: skip
def test_a_tflite_file_that_is_no_frame_model_is_refused(
    save: Callable[[bytes], str], content: bytes, said: str
) -> None:
    with pytest.raises(ConversionError, match=said) as caught:
        subjects.open_model(save(content), TWO)
    assert "it.tflite: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_head_is_refused(save: Callable[[bytes], str]) -> None:
    values = [Value([1, 2], "float32", name=name) for name in ("embedding", "state", "logits")]
    file = save(build(values, [Step("ADD", [0, 1], [2])], [0, 1], [2]))
    with pytest.raises(ConversionError, match=r"takes embedding .*, state .*in a bundle or a run"):
        subjects.open_model(file, TWO)


def test_what_the_runtime_refuses_is_said(save: Callable[[bytes], str]) -> None:
    values = [Value([1, 8, 8, 1], "float32", name="face"), Value([1, 2], "float32")]
    file = save(build(values, [Step("edgetpu-custom-op", [0], [1], custom=True)], [0], [1]))
    with pytest.raises(ConversionError, match=r"runtime refuses it .*edgetpu-custom-op.*check"):
        subjects.open_model(file, TWO)


def test_a_bundle_says_all_by_itself() -> None:
    subject = subjects.open_model("mien-fer2013", Given())
    assert subject.kind.startswith("bundle mien-fer2013@")
    assert set(subject.files) == {"manifest.json", "frame.tflite", "head.tflite"}
    assert subject.networks is not None
    assert subject.answer(np.zeros((2, 48, 48), np.uint8)).shape == (2, 7)


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("mien-fer2013", TWO, "--labels: mien-fer2013 is a bundle"),
        ("mien-fer2013", Given(mean=1), "--mean: mien-fer2013 is a bundle"),
        ("mien-fer2013", Given(input_shape=(1, 8, 8)), "--input-shape: mien-fer2013"),
        ("it.tflite", Given(weights=Path("w.pt")), "--weights: it.tflite is no MODULE:FACTORY"),
        ("it.tflite", Given(std=0), "--mean 128 --std 0: give a number, and one above zero"),
        ("it.tflite", Given(mean=float("nan")), "--mean nan"),
        ("blazeface-short", Given(), "it finds faces and names no expression"),
        ("mien-fer203", Given(), r"no such file or folder, and no bundle .*mien-fer2013"),
    ],
)
def test_wrong_usage_says_what_to_leave_out(model: str, given: Given, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        subjects.open_model(model, given)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"none\.tflite: No such file"):
        subjects.open_model(str(tmp_path / "none.tflite"), TWO)


def test_a_damaged_bundle_is_no_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ConversionError, match="package it again") as caught:
        subjects.open_model(str(tmp_path), Given())
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("record", ["frame.json", "frame-source.json", "quantised.json"])
def test_a_run_folder_is_known_by_its_records(tmp_path: Path, record: str) -> None:
    assert subjects.run_folder(str(tmp_path)) is None
    (tmp_path / record).write_text("{}")
    assert subjects.run_folder(str(tmp_path)) == tmp_path


def keras_file(folder: Path, *, rescaled: bool = False) -> str:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    picture = keras.Input((SIDE, SIDE, 1))
    x = layers.Rescaling(1 / 255)(picture) if rescaled else picture
    scores = layers.Dense(2, "softmax", name="scores")(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(picture, scores)
    network.get_layer("scores").set_weights([np.array([[-4.0, 4.0]]), np.array([2.0, -2.0])])
    network.save(folder / "it.keras")
    return str(folder / "it.keras")


def test_a_float_model_is_run_by_its_framework(tmp_path: Path) -> None:
    file = keras_file(tmp_path)
    subject = subjects.open_model(file, Given(labels=NAMES, mean=0, std=255))
    tiles, labels = (np.concatenate([each] * 40) for each in pictures())  # more than a batch
    assert (subject.answer(tiles).argmax(axis=1) == labels).all()
    assert subject.form == "float32"
    assert subject.facts["run by"].startswith("Keras ")


def test_a_float_model_that_scales_its_pixels_is_asked_no_scaling(tmp_path: Path) -> None:
    file = keras_file(tmp_path, rescaled=True)
    subject = subjects.open_model(file, TWO)
    assert subject.facts["tile"] == "8 x 8, luma, (pixel - 0) / 255"
    assert "its own scaling of pixels was left to the device" in subject.notes
    with pytest.raises(UsageError, match="scales its pixels itself; leave it out"):
        subjects.open_model(file, Given(labels=NAMES, mean=0))


def test_a_float_model_of_other_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"gives 2 scores for 7 labels .*--labels"):
        subjects.open_model(keras_file(tmp_path), Given())


def test_a_float_head_is_refused(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    seen, state = keras.Input((4,), name="embedding"), keras.Input((3,), name="state")
    new = keras.layers.Dense(3, "tanh")(keras.layers.concatenate([seen, state]))
    keras.Model([seen, state], [keras.layers.Dense(2)(new), new]).save(tmp_path / "head.keras")
    with pytest.raises(SourceError, match="it is a head, which is shown no pictures"):
        subjects.open_model(str(tmp_path / "head.keras"), TWO)


def test_every_refusal_is_one_of_ours(tmp_path: Path) -> None:
    for name in ("it.onnx", "it.pt2", "it.xyz", "folder/"):
        with pytest.raises(MienError):
            subjects.open_model(str(tmp_path / name), Given())
