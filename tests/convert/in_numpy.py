"""The reference that every other way to write a step is held against."""

from __future__ import annotations

import numpy as np

from edge.datatypes import Float32Array


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
