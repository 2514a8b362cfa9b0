"""What the int8 file will compute, computed in float and with gradients.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", 2018, section 3: weights and activations are rounded to what int8 can hold, everything
between is exact. Which tensors exist, and which share a range, was read from files that the
converter of TensorFlow 2.19 wrote; the tests hold it against the converter that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.folding import ELEMENTWISE, KEEPING, POOLS, WEIGHTED, Node, Plan, scale_and_shift
from convert.rounding import Tensor, rounded, rounded_constant, rounded_kernel, units
from edge.datatypes import Float32Array

Place = tuple[int, str]
"""A tensor of the file: the value of a plan that it is (0 the picture), and, where a node needs
more than one tensor, a name; `OUTPUT` for what it gives."""

Range = tuple[float, float]
"""Lowest and highest value."""

Shapes = Mapping[Place, tuple[int, ...]]
"""Of one sample of each tensor."""

Touch = Callable[..., Tensor]
"""`touch(place, tensor, fixed=None)` is shown every tensor of the file and returns what stands
for it; `fixed` is a range that TFLite prescribes."""

Weights = Callable[[int], list[Tensor]]
"""From a node, counted from 1, to its two constants."""

OUTPUT = ""

RANGES = tf.TensorSpec([None, 2], tf.float32)
"""What ranges are to a tf.function."""

_PICTURE: Place = (0, OUTPUT)
_SIGMOID: Range = (0.0, 255 / 256)
_FIXED: dict[str, Range] = {"sigmoid": _SIGMOID, "tanh": (-1.0, 127 / 128)}
_BATCH = 256
_A_SAMPLE = 4096
"""So many values of each tensor and picture decide a percentile, as in `convert.converter`."""


class Simulation:
    """A plan run as the int8 file of its network would be.

    Parameters
    ----------
    plan
        The frame model.
    calibration
        What the converter is calibrated on, float32 [n, size, size, 1].
    percentile
        Which share of each tensor's values its range holds, in percent, as the converter is
        told; None for all.

    Attributes
    ----------
    weights : list of keras.Variable
        What is trained, two for each convolution and dense layer, in their `rounding.units`.
    """

    def __init__(
        self, plan: Plan, calibration: Float32Array, percentile: float | None = None
    ) -> None:
        self.plan = plan
        self.weights: list[keras.Variable] = []
        self._calibration, self._percentile = calibration, percentile
        built = plan.network([node.weights for node in plan.nodes])
        self._layers = [built.get_layer(node.layer.name) for node in plan.nodes]
        self._trained: dict[int, list[tuple[keras.Variable, Float32Array]]] = {}
        self._constants: dict[int, tuple[Float32Array, Float32Array]] = {}
        for number, node in enumerate(plan.nodes, 1):
            if node.kind in WEIGHTED:
                self._trained[number] = [
                    (keras.Variable(weight / unit, dtype="float32"), unit)
                    for weight, unit in zip(
                        node.weights, units(node.weights[0], node.kind), strict=True
                    )
                ]
                self.weights += [variable for variable, _ in self._trained[number]]
            elif node.kind == "BatchNormalization":
                self._constants[number] = scale_and_shift(node)
        # What a run over the calibration finds out.
        self._shapes: dict[Place, tuple[int, ...]] = {}
        self._whole: set[Place] = set()
        pixels = tf.TensorSpec([None, *plan.shape], tf.float32)
        self._observing = tf.function(self._observe, [pixels], autograph=False)
        self._answering = tf.function(self.answers, [pixels, RANGES], autograph=False)

    def ranges(self) -> Float32Array:
        """Return the lowest and highest value of each tensor as the converter would, [tensors, 2].

        It calibrates the network in float, so that is what is run here, with the weights as
        they are now.
        """
        parts = [
            [each.numpy() for each in self._observing(self._calibration[start : start + _BATCH])]
            for start in range(0, len(self._calibration), _BATCH)
        ]
        seen = {}
        for place, values in zip(self._shapes, zip(*parts, strict=True), strict=True):
            every = np.concatenate(values)
            low, high = every.min(), every.max()
            if self._percentile is not None and place not in self._whole:
                low, high = np.percentile(every, (100 - self._percentile, self._percentile))
            # Zero is always within: what pads is zero.
            seen[place] = np.array([min(low, 0), max(high, 0)], np.float32)
        return np.stack(list(_shared(self.plan, seen, self._whole).values()))

    def answers(self, pixels: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
        """Return embedding and logits, float32 [n, width] and [n, labels].

        Parameters
        ----------
        pixels
            float32 [n, size, size, 1].
        ranges
            As `ranges` gives them.
        """
        rows = {place: row for row, place in enumerate(self._shapes)}

        def touch(place: Place, tensor: Tensor, _fixed: Range | None = None) -> Tensor:
            return rounded(tensor, ranges[rows[place]])

        embedding, logits = self._run(pixels, touch, self._rounded_weights)
        return embedding, logits

    def predict(
        self, pixels: Float32Array, ranges: Float32Array
    ) -> tuple[Float32Array, Float32Array]:
        """Return `answers` for any number of pictures, as arrays."""
        parts = [
            [each.numpy() for each in self._answering(pixels[start : start + _BATCH], ranges)]
            for start in range(0, len(pixels), _BATCH)
        ]
        embeddings, logits = zip(*parts, strict=True)
        return np.concatenate(embeddings), np.concatenate(logits)

    def trained(self) -> list[list[Float32Array]]:
        """Return the weights of each node, not rounded, as `Plan.network` takes them."""
        return [
            [each.numpy() for each in self._exact_weights(number)]
            if number in self._trained
            else list(node.weights)
            for number, node in enumerate(self.plan.nodes, 1)
        ]

    def _exact_weights(self, number: int) -> list[Tensor]:
        if number in self._constants:
            return list(self._constants[number])
        return [variable.value * unit for variable, unit in self._trained[number]]

    def _rounded_weights(self, number: int) -> list[Tensor]:
        if number in self._constants:
            return [rounded_constant(each) for each in self._constants[number]]
        kernel, bias = self._exact_weights(number)
        # The bias has 32 bits: what rounding does to it is nothing beside the rest.
        return [rounded_kernel(kernel, self.plan.nodes[number - 1].kind), bias]

    def _observe(self, pixels: Tensor) -> list[Tensor]:
        """Return values of each tensor that tell its range, [m]: a sample, or the extremes."""
        seen: dict[Place, Tensor] = {}
        self._whole.add(_PICTURE)
        random = np.random.default_rng(0)

        def touch(place: Place, tensor: Tensor, fixed: Range | None = None) -> Tensor:
            self._shapes[place] = tuple(tensor.shape[1:])
            if fixed:
                self._whole.add(place)
            if self._percentile is None or place in self._whole:
                seen[place] = tf.stack(fixed or (tf.reduce_min(tensor), tf.reduce_max(tensor)))
            else:
                size = prod(self._shapes[place])
                # Drawn, for at even distances they might all be of one channel.
                some = (
                    np.arange(size) if size <= _A_SAMPLE else random.integers(size, size=_A_SAMPLE)
                )
                flat = tf.reshape(tensor, [-1, size])
                seen[place] = tf.reshape(tf.gather(flat, some, axis=1), [-1])
            return tensor

        self._run(pixels, touch, self._exact_weights)
        return [seen[place] for place in self._shapes]

    def _run(self, pixels: Tensor, touch: Touch, weights: Weights) -> list[Tensor]:
        values = [touch(_PICTURE, pixels)]
        for number, node in enumerate(self.plan.nodes, 1):
            inputs = [values[index] for index in node.inputs]
            value, fixed = self._node(number, node, inputs, touch, weights)
            hidden = fuses(self.plan, number)
            values.append(value if hidden else touch((number, OUTPUT), value, fixed))
        return [values[number] for number in self.plan.outputs]

    def _node(
        self, number: int, node: Node, inputs: list[Tensor], touch: Touch, weights: Weights
    ) -> tuple[Tensor, Range | None]:
        """Return what a node gives before it is rounded, and its range if that is prescribed."""
        layer: Any = self._layers[number - 1]
        if node.kind in WEIGHTED:
            return layer.stateless_call(weights(number), [], inputs[0])[0], None
        if node.kind == "BatchNormalization":
            scale, shift = weights(number)
            return touch((number, "product"), inputs[0] * scale) + shift, None
        if node.activation == "silu":
            return inputs[0] * touch((number, "gate"), tf.sigmoid(inputs[0]), _SIGMOID), None
        if node.kind == "Concatenate":
            # Each part takes on the range of the whole, if it does not have it already.
            return layer([touch((number, OUTPUT), each) for each in inputs]), None
        value = layer(inputs) if node.merges else layer(*inputs)
        return value, _FIXED.get(node.activation)


def fuses(plan: Plan, number: int) -> bool:
    """Return whether a node does the ReLU that follows it itself, and so leaves no tensor."""
    node = plan.nodes[number - 1]
    user = plan.only_user(number)
    able = node.kind in (*WEIGHTED, *ELEMENTWISE, *POOLS) and node.activation == "linear"
    if user is None or not able:
        return False
    after = plan.nodes[user - 1]
    return after.kind in ("ReLU", "Activation") and after.activation in ("relu", "relu6")


def _shared(
    plan: Plan, seen: dict[Place, Float32Array], fixed: set[Place]
) -> dict[Place, Float32Array]:
    """Return the ranges after those that have to be equal are: pools, reshapes, concatenations."""
    found = dict(seen)
    for number in range(len(plan.nodes), 0, -1):
        node = plan.nodes[number - 1]
        if node.kind == "Concatenate":
            for source in node.inputs:
                root = _root(plan, source), OUTPUT
                if root not in fixed:
                    found[root] = found[number, OUTPUT]
    for number in range(1, len(plan.nodes) + 1):
        if (number, OUTPUT) in found:
            found[number, OUTPUT] = found[_root(plan, number), OUTPUT]
    return found


def _root(plan: Plan, value: int) -> int:
    """Return the value whose range another has, before any layers that keep it."""
    while value:
        node = plan.nodes[value - 1]
        source = node.inputs[0]
        # A pool that does the ReLU after it keeps its range all the same.
        pooled = source and plan.nodes[source - 1].kind in POOLS and fuses(plan, source)
        if node.kind not in KEEPING and not pooled:
            break
        value = source
    return value
