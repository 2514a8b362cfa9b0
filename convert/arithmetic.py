"""What one formula can be written in: numpy, the reference, or Keras layers.

`convert.sources.onnx_steps` has a third, ONNX nodes. `convert.recurrent` has the formulas.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np

from edge.datatypes import Float32Array

Keras = Any
"""A layer or tensor of Keras, which publishes no types."""

Value = TypeVar("Value")


class Arithmetic(Protocol[Value]):
    """What a step is written in; values are [n, width]."""

    def dense(self, name: str, x: Value, kernel: Float32Array, bias: Float32Array | None) -> Value:
        """Return `x @ kernel + bias`; the kernel is [inputs, units]."""
        ...

    def add(self, a: Value, b: Value) -> Value:
        """Return the sum."""
        ...

    def multiply(self, a: Value, b: Value) -> Value:
        """Return the product, element by element."""
        ...

    def complement(self, a: Value) -> Value:
        """Return `1 - a`."""
        ...

    def sigmoid(self, a: Value) -> Value:
        """Return the logistic function."""
        ...

    def tanh(self, a: Value) -> Value:
        """Return the hyperbolic tangent."""
        ...


class InNumpy:
    """The reference: steps in float32 numpy."""

    def dense(
        self, name: str, x: Float32Array, kernel: Float32Array, bias: Float32Array | None
    ) -> Float32Array:
        """Return `x @ kernel + bias`."""
        del name
        return np.asarray(x @ kernel + (0 if bias is None else bias), np.float32)

    def add(self, a: Float32Array, b: Float32Array) -> Float32Array:
        """Return the sum."""
        return a + b

    def multiply(self, a: Float32Array, b: Float32Array) -> Float32Array:
        """Return the product."""
        return a * b

    def complement(self, a: Float32Array) -> Float32Array:
        """Return `1 - a`."""
        return np.asarray(1 - a, np.float32)

    def sigmoid(self, a: Float32Array) -> Float32Array:
        """Return the logistic function, as tanh, which does not overflow."""
        return np.asarray(0.5 * (np.tanh(0.5 * a) + 1), np.float32)

    def tanh(self, a: Float32Array) -> Float32Array:
        """Return the hyperbolic tangent."""
        return np.asarray(np.tanh(a), np.float32)


class InKeras:
    """Steps as Keras layers: Dense, sums, Multiply, Activation and `1 - x`, nothing recurrent."""

    def __init__(self) -> None:
        import keras  # noqa: PLC0415  # the readers above do without

        from convert.models import Sum  # noqa: PLC0415  # see above

        self._keras = keras
        self._sum = Sum

    def dense(
        self, name: str, x: Keras, kernel: Float32Array, bias: Float32Array | None
    ) -> Keras:  # a KerasTensor
        """Return the output of a Dense layer of that name."""
        layer = self._keras.layers.Dense(kernel.shape[1], use_bias=bias is not None, name=name)
        out = layer(x)
        layer.set_weights([kernel] if bias is None else [kernel, bias])
        return out

    def add(self, a: Keras, b: Keras) -> Keras:  # see dense
        """Return the sum."""
        return self._sum()(a, b)

    def multiply(self, a: Keras, b: Keras) -> Keras:  # see dense
        """Return the product."""
        return self._keras.layers.Multiply()([a, b])

    def complement(self, a: Keras) -> Keras:  # see dense
        """Return `1 - a`."""
        return self._keras.ops.subtract(1.0, a)

    def sigmoid(self, a: Keras) -> Keras:  # see dense
        """Return the logistic function."""
        return self._keras.layers.Activation("sigmoid")(a)

    def tanh(self, a: Keras) -> Keras:  # see dense
        """Return the hyperbolic tangent."""
        return self._keras.layers.Activation("tanh")(a)
