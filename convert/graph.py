"""The values that describe a .tflite file, and what they add up to: arithmetic and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from convert.errors import ConversionError

_BITS = {"bool": 8, "complex64": 64, "complex128": 128, "bfloat16": 16, "int2": 2, "int4": 4} | {
    f"{kind}{bits}": bits
    for kind, sizes in {
        "int": (8, 16, 32, 64),
        "uint": (8, 16, 32, 64),
        "float": (16, 32, 64),
    }.items()
    for bits in sizes
}
"""Of types whose size is fixed; strings, resources and variants have none."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """`real = scale * (stored - zero_point)`; with more than one channel, those of the first.

    Attributes
    ----------
    channels : int
        How many scales there are: 1 when the whole tensor has one.
    axis : int
        The dimension that the channels run along.
    """

    scale: float
    zero_point: int
    channels: int
    axis: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of a graph.

    Attributes
    ----------
    shape : tuple of int
        As stored; a dimension that may vary stands as 1, and `dynamic` is true.
    dtype : str
        Such as `int8` or `float32`.
    buffer : int
        Which of the file's buffers holds the constant; 0 for what is computed.
    variable : bool
        The interpreter keeps it from one run to the next.
    values : tuple of int or None
        Of a small integer constant, such as axes and shapes.
    zero : bool
        An 8-bit constant that is zero everywhere.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantisation: Quantisation | None = None
    buffer: int = 0
    dynamic: bool = False
    variable: bool = False
    values: tuple[int, ...] | None = None
    zero: bool = False

    @property
    def constant(self) -> bool:
        """Whether its content stands in the file."""
        return self.buffer > 0

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes it takes in memory; 0 for strings, resources and variants."""
        return (self.elements * _BITS.get(self.dtype, 0) + 7) // 8


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of a graph.

    Attributes
    ----------
    name : str
        Of a builtin as in the schema, such as `CONV_2D`; of a custom operator its own.
    options : mapping
        The scalar options, under the schema's names.
    macs : int
        Multiply-accumulate operations: see `count_macs`.
    """

    index: int
    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, float]
    custom: bool = False
    macs: int = 0

    def input(self, position: int) -> Tensor:
        """Return an input that the operator cannot do without.

        Raises
        ------
        ConversionError
            The file leaves it out.
        """
        tensor = self.inputs[position] if position < len(self.inputs) else None
        if tensor is None:
            raise ConversionError(
                f"operator {self.index} ({self.name}) lacks input {position}: the file is damaged"
            )
        return tensor


@dataclass(frozen=True, slots=True)
class Graph:
    """A list of operators in the order in which they run; the first graph is the main one."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A named way to call a graph: tensors by the names that the caller uses."""

    key: str
    graph: int
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Model:
    """A .tflite file.

    Attributes
    ----------
    size : int
        Of the file, in bytes.
    min_runtime : str
        The oldest TensorFlow Lite that knows all its operators, as the converter noted it; empty
        where it did not.
    """

    graphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...]
    size: int
    min_runtime: str

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Those of all graphs, the main one first."""
        return tuple(operator for graph in self.graphs for operator in graph.operators)

    @property
    def macs(self) -> int:
        """Of all operators, each counted once."""
        return sum(operator.macs for operator in self.operators)

    @property
    def parameters(self) -> int:
        """How many learned numbers stand in the file: weights, biases and other real constants."""
        return sum(tensor.elements for tensor in self._weights().values())

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the parameters."""
        return sum(tensor.size for tensor in self._weights().values())

    @property
    def peak_bytes(self) -> int:
        """Estimate of the memory for activations: see `peak_bytes`."""
        return sum(map(peak_bytes, self.graphs))

    def _weights(self) -> dict[int, Tensor]:
        # By buffer: converters let equal constants share one.
        return {
            tensor.buffer: tensor
            for graph in self.graphs
            for tensor in graph.tensors
            if tensor.constant and (tensor.quantisation or "float" in tensor.dtype)
        }


def count_macs(operator: Operator) -> int:
    """Return how many products an operator adds up.

    Each value that a convolution or a dense layer gives takes one multiplication per weight of a
    filter; those of padding are counted too. A transposed convolution spreads each input over a
    whole filter. Element-wise operators and pooling count as none, as is usual (Howard et al.,
    MobileNets, arXiv:1704.04861, section 3.1, counts the same way).
    """
    count = _MACS.get(operator.name)
    return count(operator) if count and operator.outputs else 0


def peak_bytes(graph: Graph) -> int:
    """Return an estimate of the memory that a graph's activations need at once.

    A tensor lives from the operator that makes it to the last that reads it; inputs, outputs,
    variables and what is made of constants alone live all the time. So plans TensorFlow Lite's
    arena (tensorflow/lite/arena_planner.cc), which may need a little more: operators' scratch
    memory and gaps between tensors are not known from the file.
    """
    last = {tensor.index: step for step, op in enumerate(graph.operators) for tensor in _needed(op)}
    always = {tensor.index: tensor for tensor in (*graph.inputs, *graph.outputs)}
    always |= {tensor.index: tensor for tensor in graph.tensors if tensor.variable}
    for operator in graph.operators:
        if all(tensor.constant for tensor in operator.inputs if tensor):
            always |= {tensor.index: tensor for tensor in operator.outputs}
    lasting = sum(tensor.size for tensor in always.values() if not tensor.constant)
    alive: dict[int, int] = {}
    peak = 0
    for step, operator in enumerate(graph.operators):
        for tensor in _needed(operator):
            if not tensor.constant and tensor.index not in always:
                alive[tensor.index] = tensor.size
        peak = max(peak, sum(alive.values()))
        alive = {index: size for index, size in alive.items() if last[index] > step}
    return lasting + peak


def _needed(operator: Operator) -> tuple[Tensor, ...]:
    return (*filter(None, operator.inputs), *operator.outputs)


def _convolution(operator: Operator) -> int:
    return operator.outputs[0].elements * prod(operator.input(1).shape[1:])


def _depthwise(operator: Operator) -> int:
    return operator.outputs[0].elements * prod(operator.input(1).shape[1:3])


def _convolution_3d(operator: Operator) -> int:
    return operator.outputs[0].elements * prod(operator.input(1).shape[:-1])


def _transposed(operator: Operator) -> int:
    return operator.input(2).elements * prod(operator.input(1).shape[:3])


def _dense(operator: Operator) -> int:
    return operator.outputs[0].elements * prod(operator.input(1).shape[-1:])


def _products(operator: Operator) -> int:
    summed = -2 if operator.options.get("adjX") else -1
    return operator.outputs[0].elements * operator.input(0).shape[summed]


def _recurrent(operator: Operator) -> int:
    time, batch = operator.input(0).shape[:2]  # in either order
    matrices = (each for each in operator.inputs if each and each.constant and len(each.shape) > 1)
    return time * batch * sum(matrix.elements for matrix in matrices)


_MACS: dict[str, Callable[[Operator], int]] = {
    "CONV_2D": _convolution,
    "CONV_3D": _convolution_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _products,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent,
}
