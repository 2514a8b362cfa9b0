"""A frozen TensorFlow graph becomes plain Keras layers.

What ONNX and SavedModel files turn into: a network like any other here, which trains, splits,
quantises and saves the same way, and holds no operator that was not understood. Constants that
only scale or shift what a convolution or dense layer gives are taken into its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.errors import SourceError
from convert.sources.operators import (
    LAYERS,
    MENDS,
    WEIGHTED,
    Constant,
    Operation,
    Tensor,
    Value,
    matmul,
)

Frozen = Any
"""A ConcreteFunction without variables."""

_SCALING = {"Mul", "AddV2", "Add", "BiasAdd", "Sub"}


def lift(graph: Frozen, what: str) -> keras.Model:  # a frozen ConcreteFunction
    """Return a network that computes what a graph computes.

    Parameters
    ----------
    graph
        A ConcreteFunction without variables, all shapes static, batch 1, pictures NHWC.
    what
        How the source is named in an error.

    Raises
    ------
    SourceError
        An operator has no Keras layer here; the message names it.
    """
    return _Lift(graph, what).network()


class _Lift:
    """One graph on its way."""

    def __init__(self, graph: Frozen, what: str) -> None:  # see lift
        self._graph = graph
        self._what = what
        self._known: dict[str, Value] = {}

    def network(self) -> keras.Model:
        """Return the whole graph as a network."""
        inputs = []
        for tensor in self._graph.inputs:
            name = tensor.op.name.replace("/", "_")
            value = keras.Input(tuple(tensor.shape[1:]), name=name, dtype="float32")
            inputs.append(value)
            self._known[tensor.name] = value
        order = self._in_order()
        # A loop is the cause of whatever else is odd about its graph, so it is named first.
        for operation in order:
            if operation.type in MENDS:
                raise self._unknown(operation)
        for operation in order:
            if operation.outputs[0].name not in self._known:
                self._take(operation)
        outputs = [self._known[tensor.name] for tensor in self._graph.outputs]
        for tensor, value in zip(self._graph.outputs, outputs, strict=True):
            if isinstance(value, np.ndarray):
                raise SourceError(
                    f"{self._what}: its output {tensor.name} is the same for every input"
                )
        return keras.Model(inputs, outputs)

    def _in_order(self) -> list[Operation]:
        """Return the operations that lead to the outputs, each after those it needs."""
        order: list[Operation] = []
        seen: set[str] = set()
        waiting = [(tensor.op, False) for tensor in reversed(self._graph.outputs)]
        while waiting:
            operation, ready = waiting.pop()
            if ready:
                order.append(operation)
            elif operation.name not in seen:
                seen.add(operation.name)
                waiting.append((operation, True))
                waiting += [(tensor.op, False) for tensor in operation.inputs]
        return order

    def _take(self, operation: Operation) -> None:
        """Work out the outputs of one operation."""
        out = operation.outputs[0]
        if operation.type == "Const":
            self._known[out.name] = tf.make_ndarray(operation.get_attr("value"))
            return
        if operation.type == "Shape":
            self._known[out.name] = np.array(operation.inputs[0].shape.as_list(), np.int32)
            return
        if not operation.inputs:
            raise self._unknown(operation)
        args = [self._known[tensor.name] for tensor in operation.inputs]
        if all(isinstance(each, np.ndarray) for each in args):
            self._fold(operation, args)
            return
        if operation.type in WEIGHTED:
            self._weighted(operation, args)
            return
        make = LAYERS.get(operation.type)
        if make is None:
            raise self._unknown(operation)
        try:
            values = make(operation, args)
        except (ValueError, TypeError, NotImplementedError) as exc:
            raise SourceError(
                f"{self._what}: the operator {operation.type} ({operation.name}) is used in a way "
                f"that is not understood ({str(exc).strip().splitlines()[0]}); build it differently"
            ) from exc
        several = values if isinstance(values, list | tuple) else [values]
        for tensor, value in zip(operation.outputs, several, strict=False):
            self._known[tensor.name] = value

    def _unknown(self, operation: Operation) -> SourceError:
        return SourceError(
            f"{self._what}: the operator {operation.type} ({operation.name}) has no counterpart "
            f"here; {MENDS.get(operation.type, 'build the network without it')}"
        )

    def _fold(self, operation: Operation, args: Sequence[Constant]) -> None:
        """Compute an operation all of whose inputs are constants."""
        definition = tf.compat.v1.GraphDef()
        with tf.Graph().as_default() as graph:
            fed = {f"in{n}": tf.constant(each, name=f"in{n}") for n, each in enumerate(args)}
            definition.CopyFrom(graph.as_graph_def())
        node = operation.node_def
        definition.node.add().CopyFrom(node)
        del definition.node[-1].input[:]
        definition.node[-1].input.extend(fed)
        names = [f"{node.name}:{index}" for index in range(len(operation.outputs))]
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(definition, name="")
            with tf.compat.v1.Session(graph=graph) as session:
                values = session.run(names)
        for tensor, value in zip(operation.outputs, values, strict=True):
            self._known[tensor.name] = np.asarray(value)

    def _weighted(self, operation: Operation, args: Sequence[Value]) -> None:
        """Make a layer with weights, and all that only scales and shifts what it gives."""
        x, kernel = args
        if isinstance(x, np.ndarray) or not isinstance(kernel, np.ndarray):
            if operation.type != "MatMul":
                raise SourceError(
                    f"{self._what}: the weights of {operation.type} ({operation.name}) are "
                    "computed, not stored; store them"
                )
            self._known[operation.outputs[0].name] = matmul(operation, args)
            return
        scale, shift, taken = self._affine(operation, operation.outputs[0].shape[-1])
        layer, weights = WEIGHTED[operation.type](operation, kernel, use_bias=shift is not None)
        value = layer(x)
        # A depthwise kernel is [height, width, channels, multiplier], a unit for each of the last
        # two.
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        scaled = weights * scale.reshape(weights.shape[-2:] if depthwise else (-1,))
        layer.set_weights([scaled] if shift is None else [scaled, shift])
        for name in taken:
            self._known[name] = value

    def _affine(
        self, operation: Operation, units: int
    ) -> tuple[Constant, Constant | None, list[str]]:
        """Follow the operations that only scale and shift each unit by a constant.

        Returns
        -------
        float64 arrays, [units]
            Scale and shift, None if there is no shift.
        list of str
            The tensors that are done with that, the operation's own included.
        """
        scale, shift = np.ones(units), None
        tensor = operation.outputs[0]
        taken = [str(tensor.name)]
        shown = {each.name for each in self._graph.outputs}
        while len(users := tensor.consumers()) == 1 and tensor.name not in shown:
            (user,) = users
            others = [each for each in user.inputs if each.name != tensor.name]
            subtracted_from = user.type == "Sub" and user.inputs[0].name != tensor.name
            if user.type not in _SCALING or len(others) != 1 or subtracted_from:
                break
            constant = self._constant(others[0], units, tensor.shape)
            if constant is None:
                break
            if user.type == "Mul":
                scale, shift = scale * constant, None if shift is None else shift * constant
            else:
                signed = -constant if user.type == "Sub" else constant
                shift = signed if shift is None else shift + signed
            tensor = user.outputs[0]
            taken.append(str(tensor.name))
        return scale, shift, taken

    def _constant(self, tensor: Tensor, units: int, shape: Sequence[int]) -> Constant | None:
        """Return a constant as one value a unit, or None if it is anything else."""
        value = self._known.get(tensor.name)
        if value is None and tensor.op.type == "Const":
            value = tf.make_ndarray(tensor.op.get_attr("value"))
        if not isinstance(value, np.ndarray) or value.ndim > len(shape):
            return None
        if value.size == 1:
            return np.full(units, value.reshape(()), np.float64)
        only_last = value.shape[-1] == units and value.size == units
        return value.reshape(-1).astype(np.float64) if only_last else None
