"""What the converter makes of a network: ranges, states, percentiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from damage import with_other_state_scale

from convert import converter, inspect, models, tflite
from convert.child import worked
from convert.converter import Request
from convert.errors import ConversionError

pytestmark = [
    # The converter calls a network with a list of the inputs that it names.
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    # It uses an interpreter that is to give way to ai-edge-litert's, for it calibrates with it.
    pytest.mark.filterwarnings(r"ignore:\s+Warning. tf.lite.Interpreter is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning"),
]


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.maximum(0, random.normal(0, 2, (300, 128))).astype(np.float32)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory, embeddings: np.ndarray) -> dict[str, Path]:
    """The same untrained head in both precisions, converted as `quantise` does."""
    folder = tmp_path_factory.mktemp("heads")
    keras.utils.set_random_seed(3)
    models.gru_step().save(folder / "head.keras")
    np.savez(folder / "head.npz", embedding=embeddings)
    found = {}
    for precision in ("int8", "int16x8"):
        request = Request(
            network=str(folder / "head.keras"),
            calibration=str(folder / "head.npz"),
            precision=precision,  # type: ignore[arg-type]
        )
        with worked("convert.converter", request, "head", 300) as made:
            file = folder / f"{precision}.tflite"
            file.write_bytes((made / converter.QUANTISED).read_bytes())
            assert tflite.read(made / converter.FLOATING).floats
        found[precision] = file
    return found


def lstm_step(units: int = 6, width: int = 8) -> keras.Model:
    """A step with two states, the second of which goes far beyond one."""
    embedding = keras.Input((width,), name="embedding")
    states = [keras.Input((units,), name=f"state_{index}") for index in range(2)]
    dense = [keras.layers.Dense(units)(embedding) for _ in range(2)]
    output = keras.layers.Activation("sigmoid")(models.Sum()(dense[0], states[0]))
    cell = models.Sum()(keras.layers.Rescaling(0.95)(states[1]), dense[1])
    hidden = keras.layers.Multiply()([output, keras.layers.Activation("tanh")(cell)])
    logits = keras.layers.Dense(3)(hidden)
    return keras.Model([embedding, *states], [logits, hidden, cell])


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_the_state_comes_out_as_it_goes_in(heads: dict[str, Path], precision: str) -> None:
    contents = tflite.read(heads[precision])
    tflite.check_head(contents)
    assert set(contents.operators) == {
        "FULLY_CONNECTED", "ADD", "MUL", "SUB", "LOGISTIC", "TANH"
    }  # fmt: skip
    units = 64
    assert contents.model.macs == 3 * 128 * units + 3 * units * units + units * 7


def test_a_head_with_unequal_state_scales_is_refused(
    heads: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "head.tflite").write_bytes(with_other_state_scale(heads["int16x8"].read_bytes()))
    with pytest.raises(ConversionError, match="so it would drift"):
        tflite.check_head(tflite.read(tmp_path / "head.tflite"))


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_each_of_two_states_comes_out_as_it_goes_in(
    tmp_path: Path, embeddings: np.ndarray, precision: str
) -> None:
    quantised, _ = converter.convert(lstm_step(), {"embedding": embeddings[:, :8]}, precision)  # type: ignore[arg-type]
    (tmp_path / "head.tflite").write_bytes(quantised)
    contents = tflite.read(tmp_path / "head.tflite")
    tflite.check_head(contents)
    scales = [each.scale for each in contents.signature.inputs if each.role == "state"]
    # Each in its own range: what comes of a sigmoid and a tanh, and what adds up.
    assert scales[1] > 3 * scales[0]


def test_a_state_and_an_input_keep_their_range_under_a_percentile(embeddings: np.ndarray) -> None:
    network, outlying = lstm_step(), embeddings[:, :8].copy()
    outlying[7, 3] = 300
    files = [
        inspect.parse(
            converter.convert(network, {"embedding": outlying}, "int8", percentile)[0],
            source="head",
        )
        for percentile in (None, 99.0)
    ]
    (whole,), (cut,) = (file.signatures for file in files)
    scales = [
        {name: each.quantisation.scale for name, each in side.items() if each.quantisation}
        for signature in (whole, cut)
        for side in (signature.inputs, signature.outputs)
    ]
    assert scales[0]["embedding"] == scales[2]["embedding"]
    assert scales[1]["state_1"] == scales[3]["state_1"] == scales[2]["state_1"]
    assert scales[3]["logits"] < scales[1]["logits"]


def test_the_last_state_of_a_calibration_is_not_its_extreme() -> None:
    single = converter.single_sample(models.gru_step())
    random = np.random.default_rng(0)
    samples = [{"embedding": random.normal(size=(1, 128)).astype(np.float32)} for _ in range(50)]
    looped = converter.closed_loop(single, samples)
    states = np.stack([sample["state"] for sample in looped])
    assert (states[0] == 0).all()
    after = single.predict_on_batch(looped[-1])["state"]
    # What the last step gives lies within what was fed, so both have one range.
    assert states.min() <= after.min()
    assert after.max() <= states.max()


def test_a_calibration_of_another_shape_is_refused(embeddings: np.ndarray) -> None:
    with pytest.raises(
        ConversionError,
        match=r"calibration's embedding has the shape \[8\], the network takes \[128\]",
    ):
        converter.convert(models.gru_step(), {"embedding": embeddings[:, :8]}, "int8")
