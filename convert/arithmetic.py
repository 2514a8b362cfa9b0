"""What one formula can be written in: Keras layers.

`convert.sources.onnx_steps` has another, ONNX nodes. `convert.recurrent` has the formulas.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

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
