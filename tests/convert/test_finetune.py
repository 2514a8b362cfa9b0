"""Fine-tuning: the simulation is the file's arithmetic, and int8 comes nearer to its source."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from drawn import draw_tiles
from tensorflow.lite.tools import flatbuffer_utils

from convert import converter, tflite
from convert.data import LABELS, normalise
from convert.errors import ConversionError, DataError, RunError
from convert.finetune import FinetuneSettings, finetune
from convert.folding import plan_of
from convert.simulation import Simulation
from edge.runtime import Model, dequantise
from edge.runtime import quantise as to_stored

pytestmark = [
    pytest.mark.slow,
    # The converter calls a network with a list of the inputs that it names.
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    # It uses an interpreter that is to give way to ai-edge-litert's.
    pytest.mark.filterwarnings(r"ignore:\s+Warning. tf.lite.Interpreter is deprecated:UserWarning"),
    # It only calibrates; what quantises comes after.
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning"),
]

layers = keras.layers

TILES = draw_tiles(800, seed=3)
TRAIN, VAL = normalise(TILES[:600]), normalise(TILES[600:])
ENDS = np.stack([np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)])
CALIBRATION = normalise(np.concatenate([ENDS, TILES[:60]]))

QUICK = FinetuneSettings(epochs=2, batch=64)

Answers = tuple[np.ndarray, np.ndarray]


def built(body: Callable[[keras.KerasTensor], keras.KerasTensor], width: int = 24) -> keras.Model:
    """Return a frame model whose statistics and scores suit the tiles, so that all labels occur."""
    keras.utils.set_random_seed(2)
    face = keras.Input((48, 48, 1), name="face")
    embedding = layers.Dense(width, activation="relu", name="embedding")(body(face))
    network = keras.Model(face, [embedding, layers.Dense(len(LABELS), name="logits")(embedding)])
    random = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            seen = keras.Model(face, layer.input).predict(TRAIN[:100], verbose=0)
            axes = tuple(range(seen.ndim - 1))
            gain, lift = (
                random.uniform(0.5, 2, seen.shape[-1]),
                random.normal(0, 0.3, seen.shape[-1]),
            )
            layer.set_weights([gain, lift, seen.mean(axes), seen.var(axes)])
    return standardised(network)


def standardised(network: keras.Model) -> keras.Model:
    scores = network.predict(TRAIN, verbose=0)[1]
    last = network.get_layer("logits")
    kernel, bias = last.get_weights()
    spread = scores.std(axis=0)
    last.set_weights([2 * kernel / spread, 2 * (bias - scores.mean(axis=0)) / spread])
    return network


def plain() -> keras.Model:
    def body(x: keras.KerasTensor) -> keras.KerasTensor:
        for filters in (8, 16):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
            x = layers.MaxPooling2D(3)(x)
        return layers.Dropout(0.5)(layers.Flatten()(x))

    return built(body)


@cache
def residual() -> keras.Model:
    """Sums, squeeze and excitation, and every batch normalisation behind a convolution."""

    def body(x: keras.KerasTensor) -> keras.KerasTensor:
        x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(layers.ZeroPadding2D()(x))
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        y = layers.SeparableConv2D(16, 3, padding="same", activation="silu")(x)
        z = layers.BatchNormalization()(layers.Conv2D(16, 1)(x))
        x = layers.ReLU()(layers.Add()([y, z, x]))
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(16, 1, activation="sigmoid")(gate)
        return layers.Flatten()(layers.AveragePooling2D(4)(layers.Multiply()([x, gate])))

    return built(body)


@cache
def concatenated() -> keras.Model:
    """Concatenations of concatenations, and batch normalisation that cannot be folded."""

    def body(x: keras.KerasTensor) -> keras.KerasTensor:
        x = layers.MaxPooling2D()(layers.Conv2D(6, 3, strides=2)(x))
        for _ in range(2):
            y = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.Concatenate()([x, layers.Conv2D(6, 3, padding="same", activation="tanh")(y)])
        x = layers.ReLU()(layers.AveragePooling2D(2)(x))
        average, most = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
        return layers.BatchNormalization()(layers.Concatenate()([average, most]))

    return built(body)


@cache
def uneven_channels() -> keras.Model:
    """Depthwise channels of very different size share a scale, as folding often leaves them."""

    def body(x: keras.KerasTensor) -> keras.KerasTensor:
        x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, name="across")(x)
        x = layers.ReLU()(layers.BatchNormalization(name="uneven")(x))
        x = layers.Conv2D(24, 1, activation="relu", name="along")(x)
        return layers.Flatten()(layers.AveragePooling2D(3)(x))

    network = built(body)
    sizes = 10 ** np.random.default_rng(1).uniform(-1.3, 1.3, 16)
    gain, lift, *moments = network.get_layer("uneven").get_weights()
    network.get_layer("uneven").set_weights([gain * sizes, lift * sizes, *moments])
    kernel, bias = network.get_layer("along").get_weights()
    network.get_layer("along").set_weights([kernel / sizes[:, None], bias])
    return standardised(network)


@cache
def outlier_columns() -> keras.Model:
    """Two units of a dense layer are so large that the weights of the rest round to little."""

    def body(x: keras.KerasTensor) -> keras.KerasTensor:
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Flatten()(layers.MaxPooling2D(4)(x))
        return layers.Dense(32, activation="relu", name="outlying")(x)

    network = built(body)
    outlying, embedding = (network.get_layer(name) for name in ("outlying", "embedding"))
    sizes = np.where(np.arange(32) < 2, 100.0, 1.0)
    kernel, bias = outlying.get_weights()
    outlying.set_weights([kernel * sizes, bias * sizes])
    kernel, bias = embedding.get_weights()
    embedding.set_weights([kernel / sizes[:, None], bias])
    return network


def file_of(network: keras.Model, folder: Path, percentile: float | None = None) -> Path:
    path = folder / "frame.tflite"
    data, _ = converter.convert(network, {"face": CALIBRATION}, "int8", percentile)
    path.write_bytes(data)
    return path


def answers_of(path: Path, pixels: np.ndarray) -> Answers:
    """Return what an int8 file says of normalised tiles."""
    signature = tflite.read(path).signature
    model = Model(path.read_bytes(), signature)
    said = [model(to_stored(each[None], signature.inputs[0])) for each in pixels]
    embeddings, logits = (
        dequantise(np.concatenate(stored), spec)
        for stored, spec in zip(zip(*said, strict=True), signature.outputs, strict=True)
    )
    return embeddings, logits


def agreement(one: Answers, other: Answers) -> float:
    return float((one[1].argmax(axis=1) == other[1].argmax(axis=1)).mean())


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one - other))))


def scales_in(path: Path) -> set[tuple[float, int]]:
    """Return scale and zero point of all that a file computes."""
    (graph,) = flatbuffer_utils.read_model(str(path)).subgraphs
    computed = {*graph.inputs, *(index for each in graph.operators for index in each.outputs)}
    found = [graph.tensors[index].quantization for index in computed]
    return {(float(f"{each.scale[0]:.3g}"), int(each.zeroPoint[0])) for each in found}


def scales_of(ranges: np.ndarray) -> set[tuple[float, int]]:
    found = set()
    for low, high in ranges:
        scale = (float(high) - float(low)) / 255
        found.add((float(f"{scale:.3g}"), round(-128 - float(low) / scale)))
    return found


@pytest.mark.parametrize("make", [plain, residual, concatenated])
def test_the_simulation_is_what_the_file_computes(
    make: Callable[[], keras.Model], tmp_path: Path
) -> None:
    network = make()
    path = file_of(network, tmp_path)
    simulation = Simulation(plan_of(network), CALIBRATION)
    ranges = simulation.ranges()
    assert scales_of(ranges) == scales_in(path)
    simulated = simulation.predict(VAL, ranges)
    real = answers_of(path, VAL)
    floating = network.predict(VAL, verbose=0)
    for part in (0, 1):
        assert apart(simulated[part], real[part]) < 0.6 * apart(floating[part], real[part])


def test_a_percentile_narrows_ranges_as_the_converter_does(tmp_path: Path) -> None:
    network = residual()
    path = file_of(network, tmp_path, percentile=99.5)
    simulation = Simulation(plan_of(network), CALIBRATION, percentile=99.5)
    ranges = simulation.ranges()
    assert (ranges[0] == [-1, 127 / 128]).all()
    real, floating = answers_of(path, VAL), network.predict(VAL, verbose=0)
    simulated = simulation.predict(VAL, ranges)
    assert apart(simulated[1], real[1]) < 0.6 * apart(floating[1], real[1])


@pytest.mark.parametrize("make", [uneven_channels, outlier_columns])
def test_what_int8_hurts_gets_better(make: Callable[[], keras.Model], tmp_path: Path) -> None:
    network = make()
    source = network.predict(VAL, verbose=0)
    before = answers_of(file_of(network, tmp_path), VAL)
    labels = network.predict(TRAIN, verbose=0)[1].argmax(axis=1)
    settings = FinetuneSettings(epochs=6, batch=32)
    tuned = finetune(network, TRAIN, labels, CALIBRATION, settings)
    after = answers_of(file_of(tuned, tmp_path), VAL)
    assert agreement(before, source) < 0.8
    assert agreement(after, source) > agreement(before, source) + 0.08
    for part in (0, 1):
        assert apart(after[part], source[part]) < 0.75 * apart(before[part], source[part])


def test_the_source_stays_and_its_successor_has_its_form() -> None:
    network = residual()
    weights = network.get_weights()
    tuned = finetune(network, TRAIN[:200], labels_for(200), CALIBRATION, QUICK)
    for now, then in zip(network.get_weights(), weights, strict=True):
        assert (now == then).all()
    assert [each.name for each in tuned.inputs] == ["face"]
    assert [tuple(each.shape) for each in tuned.outputs] == [(None, 24), (None, 7)]
    assert not any(isinstance(each, layers.BatchNormalization) for each in tuned.layers)
    for one, other in zip(tuned.predict(VAL, verbose=0), network.predict(VAL, verbose=0),
                          strict=True):  # fmt: skip
        assert apart(one, other) < 0.2 * other.std()


def test_it_comes_out_the_same_every_time() -> None:
    first, second = (
        finetune(outlier_columns(), TRAIN[:300], labels_for(300), CALIBRATION, QUICK)
        for _ in range(2)
    )
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        assert (one == other).all()


def test_training_that_only_harms_changes_nothing() -> None:
    network = plain()
    settings = FinetuneSettings(epochs=1, learning_rate=1.0)
    tuned = finetune(network, TRAIN, labels_for(600), CALIBRATION, settings)
    for one, other in zip(tuned.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_training_that_diverges_is_refused() -> None:
    settings = FinetuneSettings(epochs=1, batch=16, learning_rate=math.inf)
    with pytest.raises(RunError, match="fine-tuning diverged in epoch 1; lower its learning rate"):
        finetune(plain(), TRAIN[:100], labels_for(100), CALIBRATION, settings)


def test_one_tile_is_too_few() -> None:
    with pytest.raises(DataError, match="1 tiles to fine-tune on"):
        finetune(plain(), TRAIN[:1], labels_for(1), CALIBRATION, QUICK)


def labels_for(count: int) -> np.ndarray:
    return np.arange(count) % len(LABELS)


@pytest.mark.parametrize("make", [residual, concatenated])
def test_folding_changes_no_answer(make: Callable[[], keras.Model]) -> None:
    network = make()
    plan = plan_of(network)
    folded = plan.network([node.weights for node in plan.nodes])
    for one, other in zip(folded.predict(VAL, verbose=0), network.predict(VAL, verbose=0),
                          strict=True):  # fmt: skip
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_layer_used_twice_becomes_two() -> None:
    def body(x: keras.KerasTensor) -> keras.KerasTensor:
        shared = layers.Conv2D(4, 3, padding="same", name="shared")
        x = shared(layers.Concatenate()([x, x, x, x]))
        return layers.GlobalAveragePooling2D()(shared(layers.BatchNormalization()(x)))

    network = built(body)
    plan = plan_of(network)
    folded = plan.network([node.weights for node in plan.nodes])
    np.testing.assert_allclose(
        folded.predict(VAL, verbose=0)[1], network.predict(VAL, verbose=0)[1], atol=2e-5
    )


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (layers.PReLU(name="odd"), r"'odd' \(PReLU\) is not one"),
        (layers.Conv2D(4, 3, activation="elu", name="odd"), "'odd' .*, which is elu"),
        (layers.UpSampling2D(interpolation="bilinear", name="odd"), "'odd' .*, which is bilinear"),
        (layers.ReLU(2.0, name="odd"), "'odd' .*neither ReLU nor ReLU6"),
        (layers.BatchNormalization(axis=1, name="odd"), "'odd' .*not run along the channels"),
        (lambda x: layers.Multiply(name="odd")([x, x, x]), "'odd' .*takes more than two"),
        (lambda x: x * 2.0, "takes a constant"),
        (keras.ops.abs, r"\(Absolute\) is not one"),
    ],
)
def test_a_layer_it_does_not_know_is_named(
    layer: Callable[[keras.KerasTensor], keras.KerasTensor], said: str
) -> None:
    face = keras.Input((48, 48, 1), name="face")
    embedding = layers.GlobalAveragePooling2D()(layer(layers.Conv2D(4, 3)(face)))
    network = keras.Model(face, [embedding, layers.Dense(7)(embedding)])
    with pytest.raises(ConversionError, match=f"{said}.*quantise without --finetune"):
        finetune(network, TRAIN[:20], labels_for(20), CALIBRATION, QUICK)
