"""Recurrent layers become explicit steps, from their own weights.

A recurrent layer converts to a WHILE loop, falls back to float, or crashes the integer converter;
the same arithmetic written as dense layers does none of these. Here a layer's weights are read in
its framework's own order into `Gru` or `Lstm`, and one formula for each, `advance`, writes the
step in whatever `Arithmetic` it is given.

| framework | GRU gates | LSTM gates           | z keeps | reset gate                          |
|-----------|-----------|----------------------|---------|-------------------------------------|
| Keras     | z r h     | i f c o              | the old | after or before (`reset_after`)     |
| ONNX      | z r h     | i o f c              | the old | either (`linear_before_reset`)      |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from convert.arithmetic import Arithmetic, Keras, Value
from convert.errors import SourceError
from edge.datatypes import Float32Array

Kind = Literal["GRU", "LSTM"]
Weights = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """The weights of one gate.

    Attributes
    ----------
    kernel : float32 array, [inputs, units]
    recurrent : float32 array, [units, units]
    bias, recurrent_bias : float32 array, [units]
    """

    kernel: Float32Array
    recurrent: Float32Array
    bias: Float32Array
    recurrent_bias: Float32Array

    def opened(self, ops: Arithmetic[Value], name: str, x: Value, state: Value) -> Value:
        """Return what the gate adds up before its activation."""
        seen = ops.dense(f"{name}_input", x, self.kernel, self.bias + self.recurrent_bias)
        return ops.add(seen, ops.dense(f"{name}_state", state, self.recurrent, None))


@dataclass(frozen=True, slots=True, eq=False)
class Gru:
    """A gated recurrent unit.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, equations 5 to
    8. `reset_after` is the variant of cuDNN, in which the reset gate is applied to the recurrent
    product instead of to the state.
    """

    update: Gate
    reset: Gate
    candidate: Gate
    reset_after: bool

    @property
    def units(self) -> int:
        """How wide each state is."""
        return len(self.update.bias)

    @property
    def states(self) -> int:
        """How many states it keeps."""
        return 1

    def advance(
        self, ops: Arithmetic[Value], name: str, x: Value, states: Sequence[Value]
    ) -> tuple[Value, ...]:
        """Return the states after one step; the first is the layer's output.

        Parameters
        ----------
        ops
            What the step is written in.
        name
            Begins the name of each dense layer.
        x, states
            [n, inputs] and, one for each of `states`, [n, units].
        """
        (old,) = states
        keep = ops.sigmoid(self.update.opened(ops, f"{name}_update", x, old))
        reset = ops.sigmoid(self.reset.opened(ops, f"{name}_reset", x, old))
        gate, label = self.candidate, f"{name}_candidate"
        if self.reset_after:
            product = ops.dense(f"{label}_state", old, gate.recurrent, gate.recurrent_bias)
            seen = ops.dense(f"{label}_input", x, gate.kernel, gate.bias)
            total = ops.add(seen, ops.multiply(reset, product))
        else:
            total = gate.opened(ops, label, x, ops.multiply(reset, old))
        new = ops.multiply(ops.complement(keep), ops.tanh(total))
        return (ops.add(ops.multiply(keep, old), new),)


@dataclass(frozen=True, slots=True, eq=False)
class Lstm:
    """Long short-term memory without peepholes.

    Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al.,
    "Learning to Forget", 2000. Its states are the output and, second, the cell, which unlike the
    output is not bound to -1 to 1.
    """

    input: Gate
    forget: Gate
    cell: Gate
    output: Gate

    @property
    def units(self) -> int:
        """How wide each state is."""
        return len(self.input.bias)

    @property
    def states(self) -> int:
        """How many states it keeps."""
        return 2

    def advance(
        self, ops: Arithmetic[Value], name: str, x: Value, states: Sequence[Value]
    ) -> tuple[Value, ...]:
        """Return the states after one step; see `Gru.advance`."""
        old, memory = states
        write = ops.sigmoid(self.input.opened(ops, f"{name}_input", x, old))
        keep = ops.sigmoid(self.forget.opened(ops, f"{name}_forget", x, old))
        show = ops.sigmoid(self.output.opened(ops, f"{name}_output", x, old))
        candidate = ops.tanh(self.cell.opened(ops, f"{name}_cell", x, old))
        memory = ops.add(ops.multiply(keep, memory), ops.multiply(write, candidate))
        return ops.multiply(show, ops.tanh(memory)), memory


Step = Gru | Lstm


def from_keras(layer: Keras) -> Step:  # a layer of any Keras; it publishes no types
    """Read a Keras GRU or LSTM layer, or its cell. Dropout does nothing at inference.

    Raises
    ------
    SourceError
        It is neither, or one whose arithmetic differs from the formulas here.
    """
    config, kind = layer.get_config(), type(layer).__name__.removesuffix("Cell")
    what = f"layer {layer.name!r} ({type(layer).__name__})"
    if kind not in ("GRU", "LSTM"):
        raise SourceError(f"{what}: only GRU and LSTM layers can be written as steps; use one")
    if config.get("go_backwards"):
        raise SourceError(f"{what}: it reads time backwards; a live stream has no end to begin at")
    for key, wanted in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if config[key] != wanted:
            raise SourceError(f"{what}: its {key} is {config[key]}; train it with {wanted}")
    kernel, recurrent, *bias = (np.asarray(each) for each in layer.get_weights())
    order = ("update", "reset", "candidate") if kind == "GRU" else _KERAS_LSTM
    biases = np.zeros((2, kernel.shape[1])) if not bias else np.atleast_2d(bias[0])
    if len(biases) == 1:
        biases = np.concatenate([biases, np.zeros_like(biases)])
    gates = _split(order, kernel, recurrent, biases[0], biases[1])
    return _step(gates, reset_after=bool(config.get("reset_after")))


def from_onnx(
    kind: Kind, weights: Sequence[Weights | None], attributes: Mapping[str, Any], name: str
) -> Step:
    """Read an ONNX GRU or LSTM node.

    Parameters
    ----------
    kind
        Which of the two.
    weights
        W [1, gates * units, inputs], R [1, gates * units, units] and B [1, 2 * gates * units] or
        None, as the operator's specification (opset 22) lists them.
    attributes
        Of the node; strings decoded.
    name
        Of the node, for errors.

    Raises
    ------
    SourceError
        An attribute changes the arithmetic.
    """
    direction = attributes.get("direction", "forward")
    if direction != "forward":
        raise SourceError(f"{kind} {name!r} is {direction}: {_BIDIRECTIONAL}")
    usual = ["Sigmoid", "Tanh"] if kind == "GRU" else ["Sigmoid", "Tanh", "Tanh"]
    if attributes.get("activations", usual) != usual:
        raise SourceError(f"{kind} {name!r}: its activations are not {', '.join(usual)}; use those")
    for key in ("clip", "input_forget", "layout"):
        if attributes.get(key):
            raise SourceError(
                f"{kind} {name!r}: the attribute {key} is not understood; export without"
            )
    kernel, recurrent, bias = weights
    if kernel is None or recurrent is None:
        raise SourceError(f"{kind} {name!r}: its weights are computed, not stored; store them")
    width = kernel.shape[1]
    both = np.zeros((2, width), np.float32) if bias is None else bias.reshape(2, width)
    order = ("update", "reset", "candidate") if kind == "GRU" else _ONNX_LSTM
    gates = _split(order, kernel[0].T, recurrent[0].T, both[0], both[1])
    return _step(gates, reset_after=bool(attributes.get("linear_before_reset")))


_KERAS_LSTM = ("input", "forget", "cell", "output")
_ONNX_LSTM = ("input", "output", "forget", "cell")

_BIDIRECTIONAL = "it needs the future, which a live stream does not have; train it one way"


def _split(
    order: Sequence[str],
    kernel: Weights,
    recurrent: Weights,
    bias: Weights,
    recurrent_bias: Weights,
) -> dict[str, Gate]:
    """Cut weights, [..., gates * units], into gates by their order."""
    columns = [np.split(np.asarray(each, np.float32), len(order), axis=-1)
               for each in (kernel, recurrent, bias, recurrent_bias)]  # fmt: skip
    return {name: Gate(*(part[index] for part in columns)) for index, name in enumerate(order)}


def _step(gates: Mapping[str, Gate], *, reset_after: bool) -> Step:
    return Gru(**gates, reset_after=reset_after) if "update" in gates else Lstm(**gates)


def describe(step: Step) -> str:
    """Return what a step is, in a few words: `GRU of 32 units, reset after`."""
    if isinstance(step, Lstm):
        return f"LSTM of {step.units} units"
    return f"GRU of {step.units} units, reset {'after' if step.reset_after else 'before'}"
