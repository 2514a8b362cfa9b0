"""A frame model as the converter sees it: a list of nodes, batch normalisation folded away.

A network is walked once and copied layer by layer, so that the original is left alone. What the
converter would take apart is taken apart here: a separable convolution is two convolutions, a sum
of three is two sums, an activation that it does not fuse is a node of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import keras
import numpy as np

from convert.errors import ConversionError
from convert.sources import graph
from convert.sources.graph import Layer
from edge.datatypes import Float32Array

FUSED_ACTIVATIONS = ("linear", "relu", "relu6")
"""Those that a convolution, dense layer or sum does itself on its way out."""

WEIGHTED = ("Conv2D", "DepthwiseConv2D", "Dense")

ELEMENTWISE = ("Add", "Sum", "Subtract", "Multiply", "BatchNormalization")

POOLS = ("MaxPooling2D", "AveragePooling2D")

KEEPING = (*POOLS, "GlobalMaxPooling2D", "Flatten", "Reshape",
           "Permute", "ZeroPadding2D", "UpSampling2D")  # fmt: skip
"""Layers whose output has their input's scale and zero point."""

ACTIVATIONS = (*FUSED_ACTIVATIONS, "sigmoid", "tanh", "silu", "hard_silu", "gelu", "leaky_relu")
"""Those that have an operator in int8. The file may differ from the simulation by one step where
leaky ReLU is negative: its operator does not round to nearest."""

_OTHERS = ("ReLU", "Activation", "LeakyReLU", "Concatenate", "GlobalAveragePooling2D")
_KNOWN = {*WEIGHTED, *ELEMENTWISE, *KEEPING, *_OTHERS}
_OPERATIONS = {"Add": keras.layers.Add, "Subtract": keras.layers.Subtract,
               "Multiply": keras.layers.Multiply}  # fmt: skip
"""What an operator between two tensors (`x + y`) is as a layer."""

_PAIR = 2
_SIX = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One layer of a plan.

    Attributes
    ----------
    layer : keras.layers.Layer
        A copy that nothing was shown to yet.
    inputs : tuple of int
        The values it takes: 0 is the picture, n the output of the plan's n-th node, from 1.
    weights : tuple of float32 arrays
        As `set_weights` takes them. A layer of `WEIGHTED` always has a kernel and a bias.
    """

    layer: Any
    inputs: tuple[int, ...]
    weights: tuple[Float32Array, ...] = ()

    @property
    def kind(self) -> str:
        """The layer's class by its name, as in `WEIGHTED`."""
        return type(self.layer).__name__

    @property
    def merges(self) -> bool:
        """Whether the layer takes its inputs as a list."""
        return self.kind in ("Add", "Subtract", "Multiply", "Concatenate")

    @property
    def activation(self) -> str:
        """The activation's name; `linear` for a layer without one."""
        if isinstance(self.layer, keras.layers.ReLU):
            return "relu6" if self.layer.max_value == _SIX else "relu"
        if isinstance(self.layer, keras.layers.LeakyReLU):
            return "leaky_relu"
        return getattr(getattr(self.layer, "activation", None), "__name__", "linear")


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A frame model as nodes in the order in which they run.

    Attributes
    ----------
    nodes : tuple of Node
    outputs : tuple of int
        The values that are embedding and logits.
    shape : tuple of int
        Of one picture, [size, size, 1].
    names : tuple of str
        Of the picture and of the network.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    shape: tuple[int, ...]
    names: tuple[str, str]

    def users(self, value: int) -> list[int]:
        """Return which nodes take a value, counted from 1."""
        return [number for number, node in enumerate(self.nodes, 1) if value in node.inputs]

    def only_user(self, value: int) -> int | None:
        """Return the one node that takes a value; None if there are more, or it is an output."""
        users = self.users(value)
        return users[0] if len(users) == 1 and value not in self.outputs else None

    def network(self, weights: Sequence[Sequence[Float32Array]]) -> keras.Model:
        """Return the plan as a Keras network, with a set of weights for each node."""
        picture = keras.Input(self.shape, name=self.names[0])
        values = [picture]
        for node, chosen in zip(self.nodes, weights, strict=True):
            layer = type(node.layer).from_config(node.layer.get_config())
            args = [values[number] for number in node.inputs]
            values.append(layer(args) if node.merges else layer(*args))
            layer.set_weights(list(chosen))
        outputs = [values[number] for number in self.outputs]
        return keras.Model(picture, outputs, name=self.names[1])


def plan_of(frame: keras.Model) -> Plan:
    """Return a frame model as a plan, its batch normalisation folded where that is exact.

    Parameters
    ----------
    frame
        From a picture, [n, size, size, 1], to embedding and logits, of plain Keras layers.

    Raises
    ------
    ConversionError
        A layer is of no kind whose int8 arithmetic is known here; the message names it.
    SourceError
        The network is a class of its own, whose layers cannot be told.
    """
    nodes, outputs = _nodes(frame)
    (picture,) = frame.inputs
    plan = Plan(nodes, outputs, tuple(picture.shape[1:]), (picture.name, frame.name))
    return _folded(plan)


@dataclass(frozen=True, slots=True)
class _Value:
    """What stands for a tensor while a network is walked."""

    number: int


def _nodes(frame: keras.Model) -> tuple[tuple[Node, ...], tuple[int, ...]]:
    nodes: list[Node] = []
    names: Counter[str] = Counter()

    def add(node: Node) -> int:
        # A layer used twice becomes two: in the file they are two as well.
        name = node.layer.name
        names[name] += 1
        if names[name] > 1:
            config = {**node.layer.get_config(), "name": f"{name}_again_{names[name]}"}
            node = replace(node, layer=type(node.layer).from_config(config))
        nodes.append(node)
        return len(nodes)

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> _Value:
        # A mask that is not there is given as None.
        given = [each for each in keras.tree.flatten([list(args), kwargs]) if each is not None]
        if not all(isinstance(each, _Value) for each in given):
            raise _unknown(layer, "takes a constant")
        return _Value(_taken_apart(layer, tuple(each.number for each in given), add))

    ends = graph.walk(frame, [_Value(0)], call)
    return tuple(nodes), tuple(each.number for each in ends)


def _taken_apart(layer: Layer, inputs: tuple[int, ...], add: Callable[[Node], int]) -> int:
    """Add the nodes that a layer is to the converter; return the value of the last."""
    kind = type(layer).__name__
    if not isinstance(layer, keras.layers.Layer):
        if kind not in _OPERATIONS:
            raise _unknown(layer)
        layer = _OPERATIONS[kind](name=layer.name)
    if kind == "SeparableConv2D":
        across, along = _separated(layer)
        between = add(replace(across, inputs=inputs))
        return _activated(replace(along, inputs=(between,)), add)
    if kind not in _KNOWN:
        raise _unknown(layer)
    copy = type(layer).from_config(layer.get_config())
    if kind in WEIGHTED:
        return _activated(_with_bias(Node(copy, inputs, tuple(layer.get_weights()))), add)
    _check(Node(copy, inputs))
    if kind == "Add":
        value = inputs[0]
        for other in inputs[1:]:
            value = add(Node(keras.layers.Add(name=layer.name), (value, other)))
        return value
    return add(Node(copy, inputs, tuple(layer.get_weights())))


def _check(node: Node) -> None:
    """Refuse a layer of a known kind that is used in a way that is not."""
    layer = node.layer
    if isinstance(layer, keras.layers.ReLU):
        plain = not (layer.negative_slope or layer.threshold)
        if not plain or layer.max_value not in (None, _SIX):
            raise _unknown(layer, "is neither ReLU nor ReLU6")
    if node.activation not in ACTIVATIONS:
        raise _unknown(layer, f"is {node.activation}")
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise _unknown(layer, f"is {layer.interpolation}")
    if node.kind in ("Subtract", "Multiply") and len(node.inputs) != _PAIR:
        raise _unknown(layer, "takes more than two")
    if node.kind == "BatchNormalization" and layer.axis not in (-1, 3):
        raise _unknown(layer, "does not run along the channels")


def _unknown(layer: Layer, why: str = "") -> ConversionError:
    reason = f", which {why}," if why else ""
    return ConversionError(
        f"layer {layer.name!r} ({type(layer).__name__}){reason} is not one whose int8 arithmetic "
        "can be simulated; quantise without --finetune, or build the network without it"
    )


def _with_bias(node: Node) -> Node:
    """Give a convolution or dense layer the bias that folding needs and the file has anyway."""
    if node.layer.use_bias:
        return node
    config = {**node.layer.get_config(), "use_bias": True}
    bias = np.zeros(prod(_units(node)), np.float32)
    return replace(node, layer=type(node.layer).from_config(config), weights=(*node.weights, bias))


def _units(node: Node) -> tuple[int, ...]:
    """Return the shape of a kernel's units: the last axis, of a depthwise kernel the last two."""
    axes = 2 if node.kind == "DepthwiseConv2D" else 1
    return tuple(node.weights[0].shape[-axes:])


def _activated(node: Node, add: Callable[[Node], int]) -> int:
    """Add a node, and its activation as another if the converter does not fuse it."""
    _check(node)
    name = node.activation
    if name in FUSED_ACTIVATIONS:
        return add(node)
    config = {**node.layer.get_config(), "activation": "linear"}
    value = add(replace(node, layer=type(node.layer).from_config(config)))
    made = keras.layers.Activation(node.layer.activation, name=f"{node.layer.name}_{name}")
    return add(Node(made, (value,)))


def _separated(layer: Layer) -> tuple[Node, Node]:
    """Return a separable convolution as a depthwise one and one of side 1."""
    config = layer.get_config()
    across = keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        depth_multiplier=layer.depth_multiplier,
        use_bias=False,
        name=f"{layer.name}_depthwise",
    )
    along = keras.layers.Conv2D(
        layer.filters, 1, use_bias=layer.use_bias, activation=config["activation"], name=layer.name
    )
    depthwise, *pointwise = layer.get_weights()
    return (
        _with_bias(Node(across, (), (depthwise,))),
        _with_bias(Node(along, (), tuple(pointwise))),
    )


def scale_and_shift(node: Node) -> tuple[Float32Array, Float32Array]:
    """Return a batch normalisation at inference as `scale * x + shift`, float32 [channels].

    Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", 2018, section 3.2, equation 14: the scale is
    gamma / sqrt(variance + epsilon). What is missing in `weights` is 1 (gamma) or 0 (beta).
    """
    rest = [np.asarray(each, np.float64) for each in node.weights]
    gamma = rest.pop(0) if node.layer.scale else 1.0
    beta = rest.pop(0) if node.layer.center else 0.0
    mean, variance = rest
    scale = gamma / np.sqrt(variance + node.layer.epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _folded(plan: Plan) -> Plan:
    """Return a plan in which no batch normalisation follows a linear layer that it alone takes."""
    for number, node in enumerate(plan.nodes, 1):
        if node.kind != "BatchNormalization":
            continue
        (source,) = node.inputs
        before = plan.nodes[source - 1] if source else None
        linear = before is not None and before.kind in WEIGHTED and before.activation == "linear"
        if before is None or not linear or plan.only_user(source) != number:
            continue
        scale, shift = scale_and_shift(node)
        kernel, bias = before.weights
        weights = (kernel * scale.reshape(_units(before)), bias * scale + shift)
        nodes = list(plan.nodes)
        nodes[source - 1] = replace(before, weights=weights)
        return _folded(_without(replace(plan, nodes=tuple(nodes)), number))
    return plan


def _without(plan: Plan, gone: int) -> Plan:
    """Return a plan without a node, whose users take what it took."""
    (source,) = plan.nodes[gone - 1].inputs

    def moved(values: Sequence[int]) -> tuple[int, ...]:
        taken = (source if value == gone else value for value in values)
        return tuple(value - (value > gone) for value in taken)

    kept = (node for number, node in enumerate(plan.nodes, 1) if number != gone)
    nodes = tuple(replace(node, inputs=moved(node.inputs)) for node in kept)
    return replace(plan, nodes=nodes, outputs=moved(plan.outputs))
