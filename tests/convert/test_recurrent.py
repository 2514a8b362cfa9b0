"""A step from a layer's own weights answers as the layer does, whatever order those are in."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from optional import needed

from convert.arithmetic import InKeras, InNumpy
from convert.errors import SourceError
from convert.recurrent import (
    Gru,
    Lstm,
    describe,
    from_keras,
    from_onnx,
    from_torch,
)

Array = npt.NDArray[Any]
Anything = Any
"""Of frameworks that publish no types."""

WIDTH, UNITS, STEPS = 11, 9, 40
EXACT = 1e-5


def sequence(seed: int = 0, width: int = WIDTH) -> Array:
    return np.random.default_rng(seed).normal(0, 1.5, (STEPS, width)).astype(np.float32)


def outputs(steps: Anything, seen: Array) -> Array:
    """The last layer's output at each step, [time, units]."""
    states = [[np.zeros((1, step.units), np.float32)] * step.states for step in steps]
    found = []
    for now in seen:
        x = now[None]
        for index, step in enumerate(steps):
            states[index] = step.advance(InNumpy(), "step", x, states[index])
            x = states[index][0]
        found.append(x[0])
    return np.array(found)


def randomised(layer: Anything) -> Anything:
    """Keras begins with biases of zero, which would hide a wrong one."""
    random = np.random.default_rng(7)
    layer.set_weights([random.normal(0, 0.6, each.shape) for each in layer.get_weights()])
    return layer


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("how", ["reset after", "reset before", "no bias", "lstm", "lstm no bias"])
def test_keras(how: str, layers: int) -> None:
    keras = needed("keras")
    kind = keras.layers.LSTM if "lstm" in how else keras.layers.GRU
    more = {} if "lstm" in how else {"reset_after": how != "reset before"}
    x = keras.Input((STEPS, WIDTH))
    made, value = [], x
    for _ in range(layers):
        layer = kind(
            UNITS, return_sequences=True, use_bias="no bias" not in how, dropout=0.5, **more
        )
        value = layer(value)
        made.append(randomised(layer))
    wanted = keras.Model(x, value)(sequence()[None], training=False).numpy()[0]
    found = outputs([from_keras(layer) for layer in made], sequence())
    assert np.abs(found - wanted).max() < EXACT


def test_keras_cells() -> None:
    keras = needed("keras")
    layer = keras.layers.RNN(keras.layers.GRUCell(UNITS), return_sequences=True)
    layer.build((1, STEPS, WIDTH))
    randomised(layer)
    wanted = layer(sequence()[None]).numpy()[0]
    assert np.abs(outputs([from_keras(layer.cell)], sequence()) - wanted).max() < EXACT


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_torch(kind: str, layers: int, bias: bool) -> None:  # noqa: FBT001  # a parameter of the test
    torch = needed("torch")
    torch.manual_seed(3)
    module = getattr(torch.nn, kind)(WIDTH, UNITS, num_layers=layers, bias=bias).eval()
    state = {f"body.{key}": each.numpy() for key, each in module.state_dict().items()}
    steps = from_torch(kind, state, "body.")
    assert len(steps) == layers
    with torch.no_grad():
        wanted = module(torch.from_numpy(sequence()))[0].numpy()
    assert np.abs(outputs(steps, sequence()) - wanted).max() < EXACT


def test_torch_cell() -> None:
    torch = needed("torch")
    cell = torch.nn.LSTMCell(WIDTH, UNITS)
    (step,) = from_torch("LSTM", {key: each.numpy() for key, each in cell.state_dict().items()})
    x, h, c = torch.randn(1, WIDTH), torch.randn(1, UNITS), torch.randn(1, UNITS)
    with torch.no_grad():
        wanted = cell(x, (h, c))
    found = step.advance(InNumpy(), "step", x.numpy(), (h.numpy(), c.numpy()))
    for given, right in zip(found, wanted, strict=True):
        assert np.abs(given - right.numpy()).max() < EXACT


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "reset_after"), [("GRU", 0), ("GRU", 1), ("LSTM", None)])
def test_onnx(kind: str, reset_after: int | None, bias: bool) -> None:  # noqa: FBT001  # a parameter of the test
    onnx, runtime = needed("onnx"), needed("onnxruntime")
    random = np.random.default_rng(5)
    gates = 3 if kind == "GRU" else 4
    weights = [
        random.normal(0, 0.6, shape).astype(np.float32)
        for shape in (
            (1, gates * UNITS, WIDTH),
            (1, gates * UNITS, UNITS),
            (1, 2 * gates * UNITS),
        )[: 3 if bias else 2]
    ]
    how = {} if reset_after is None else {"linear_before_reset": reset_after}
    names = ["W", "R", "B"][: len(weights)]
    node = onnx.helper.make_node(kind, ["X", *names], ["Y"], hidden_size=UNITS, **how)
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, (STEPS, 1, WIDTH))],
        [onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(each, name)
            for each, name in zip(weights, names, strict=True)
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    session = runtime.InferenceSession(model.SerializeToString())
    (wanted,) = session.run(None, {"X": sequence()[:, None]})
    step = from_onnx(kind, [*weights, None][:3], how, "one")
    assert np.abs(outputs([step], sequence()) - wanted[:, 0, 0]).max() < EXACT


@pytest.mark.parametrize("how", ["reset after", "reset before", "lstm"])
def test_as_keras_layers(how: str) -> None:
    keras = needed("keras")
    layer = (
        keras.layers.LSTM(UNITS)
        if how == "lstm"
        else keras.layers.GRU(UNITS, reset_after=how == "reset after")
    )
    layer.build((None, STEPS, WIDTH))
    step = from_keras(randomised(layer))
    x = keras.Input((WIDTH,))
    states = [keras.Input((UNITS,)) for _ in range(step.states)]
    network = keras.Model([x, *states], list(step.advance(InKeras(), "step", x, states)))
    kinds = {type(each).__name__ for each in network.layers} - {"InputLayer"}
    assert kinds <= {"Dense", "Sum", "Multiply", "Activation"}
    now = [np.zeros((1, UNITS), np.float32)] * step.states
    wanted = outputs([step], sequence())
    for seen, right in zip(sequence(), wanted, strict=True):
        now = [np.asarray(each) for each in keras.tree.flatten(network([seen[None], *now]))]
        assert np.abs(now[0][0] - right).max() < EXACT


def test_state_stays_within_one() -> None:
    random = np.random.default_rng(0)
    state = {
        "weight_ih_l0": random.normal(0, 40, (3 * UNITS, WIDTH)),
        "weight_hh_l0": random.normal(0, 40, (3 * UNITS, UNITS)),
    }
    found = outputs(from_torch("GRU", state), sequence() * 100)
    assert np.abs(found).max() <= 1


def torch_weights(**more: Anything) -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {
        "weight_ih_l0": random.normal(size=(3 * UNITS, WIDTH)),
        "weight_hh_l0": random.normal(size=(3 * UNITS, UNITS)),
        **more,
    }


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (torch_weights(weight_ih_l0_reverse=np.zeros((1, 1))), "needs the future"),
        (torch_weights(weight_hr_l0=np.zeros((1, 1))), "proj_size"),
        ({}, "no weight_ih_l0"),
    ],
)
def test_torch_refused(state: dict[str, Array], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        from_torch("GRU", state)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"direction": "bidirectional"}, "needs the future"),
        ({"direction": "reverse"}, "reverse"),
        ({"activations": ["HardSigmoid", "Tanh"]}, "activations"),
        ({"clip": 3.0}, "clip"),
        ({"layout": 1}, "layout"),
    ],
)
def test_onnx_refused(attributes: dict[str, object], said: str) -> None:
    weights = [np.zeros((1, 27, 11)), np.zeros((1, 27, 9)), None]
    with pytest.raises(SourceError, match=said):
        from_onnx("GRU", weights, attributes, "gru")


def test_onnx_refuses_computed_weights() -> None:
    with pytest.raises(SourceError, match="computed"):
        from_onnx("LSTM", [None, None, None], {}, "lstm")


class SimpleRNN(SimpleNamespace):
    """Only what `from_keras` asks of a layer."""

    def get_config(self) -> dict[str, object]:
        return {}


class GRU(SimpleNamespace):
    """Only what `from_keras` asks of a layer."""

    def get_config(self) -> dict[str, object]:
        return {"activation": "tanh", "recurrent_activation": "sigmoid", **self.config}


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (SimpleRNN(name="r"), "only GRU and LSTM"),
        (GRU(name="r", config={"go_backwards": True}), "backwards"),
        (GRU(name="r", config={"activation": "relu"}), "relu"),
        (GRU(name="r", config={"recurrent_activation": "hard_sigmoid"}), "hard_sigmoid"),
    ],
)
def test_keras_refused(layer: Anything, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        from_keras(layer)


def test_described() -> None:
    (gru,) = from_torch("GRU", torch_weights())
    assert isinstance(gru, Gru)
    assert describe(gru) == f"GRU of {UNITS} units, reset after"
    lstm = {key: np.concatenate([each, each[:UNITS]]) for key, each in torch_weights().items()}
    (step,) = from_torch("LSTM", lstm)
    assert isinstance(step, Lstm)
    assert describe(step) == f"LSTM of {UNITS} units"


def test_gates_are_told_apart() -> None:
    """Swapping any two gates of a GRU changes its answers: the tests above cannot pass by luck."""
    state = torch_weights()
    right = outputs(from_torch("GRU", state), sequence())
    for order in itertools.permutations(range(3)):
        if order == (0, 1, 2):
            continue
        rows = np.concatenate([np.arange(UNITS) + UNITS * gate for gate in order])
        swapped = {key: each[rows] for key, each in state.items()}
        assert np.abs(outputs(from_torch("GRU", swapped), sequence()) - right).max() > 0.1
