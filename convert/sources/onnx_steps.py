"""Steps as ONNX nodes; see `convert.arithmetic.Arithmetic`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from edge.datatypes import Float32Array

Proto = Any
"""Of the package onnx, which publishes no types that are known here."""


class InOnnx:
    """Appends nodes to a model's graph; a value is a tensor's name."""

    def __init__(self, model: Proto, prefix: str) -> None:
        self._graph = model.graph
        self._prefix = prefix
        self._count = 0

    def node(self, kind: str, inputs: Sequence[str], name: str | None = None, **how: Proto) -> str:
        """Append a node; return the name of its output."""
        self._count += 1
        out = name or f"{self._prefix}_{self._count}"
        self._graph.node.append(helper.make_node(kind, list(inputs), [out], name=out, **how))
        return out

    def constant(self, value: Proto) -> str:
        """Store a constant; return its name."""
        self._count += 1
        name = f"{self._prefix}_constant_{self._count}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def reshape(self, x: str, shape: Sequence[int], name: str | None = None) -> str:
        """Return the same values in another shape."""
        return self.node("Reshape", [x, self.constant(np.array(shape, np.int64))], name)

    def dense(self, name: str, x: str, kernel: Float32Array, bias: Float32Array | None) -> str:
        """Return `x @ kernel + bias`."""
        del name
        product = self.node("MatMul", [x, self.constant(kernel)])
        return product if bias is None else self.add(product, self.constant(bias))

    def add(self, a: str, b: str) -> str:
        """Return the sum."""
        return self.node("Add", [a, b])

    def multiply(self, a: str, b: str) -> str:
        """Return the product."""
        return self.node("Mul", [a, b])

    def complement(self, a: str) -> str:
        """Return `1 - a`."""
        return self.node("Sub", [self.constant(np.float32(1)), a])

    def sigmoid(self, a: str) -> str:
        """Return the logistic function."""
        return self.node("Sigmoid", [a])

    def tanh(self, a: str) -> str:
        """Return the hyperbolic tangent."""
        return self.node("Tanh", [a])
