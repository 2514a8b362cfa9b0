"""A step from a layer's own weights answers as the layer does, whatever order those are in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from in_numpy import InNumpy
from optional import needed

from convert.arithmetic import InKeras
from convert.errors import SourceError
from convert.recurrent import (
    Gru,
    Kind,
    Lstm,
    describe,
    from_keras,
    from_onnx,
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


def drawn(kind: Kind, scale: float = 1.0, order: Sequence[int] = (0, 1, 2)) -> Gru | Lstm:
    """A step of drawn weights, its gates' blocks put in another order."""
    random, gates = np.random.default_rng(0), 3 if kind == "GRU" else 4
    rows = [UNITS * gate + np.arange(UNITS) for gate in (order if gates == 3 else range(4))]
    weights = [
        random.normal(0, scale, (1, gates * UNITS, width))[:, np.concatenate(rows)]
        for width in (WIDTH, UNITS)
    ]
    return from_onnx(kind, [*weights, None], {"linear_before_reset": 1}, "drawn")


def test_state_stays_within_one() -> None:
    assert np.abs(outputs([drawn("GRU", 40)], sequence() * 100)).max() <= 1


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
    assert describe(drawn("GRU")) == f"GRU of {UNITS} units, reset after"
    assert describe(drawn("LSTM")) == f"LSTM of {UNITS} units"


def test_gates_are_told_apart() -> None:
    """Swapping any two gates of a GRU changes its answers: the tests above cannot pass by luck."""
    right = outputs([drawn("GRU")], sequence())
    for order in itertools.permutations(range(3)):
        if order != (0, 1, 2):
            swapped = outputs([drawn("GRU", order=order)], sequence())
            assert np.abs(swapped - right).max() > 0.1
