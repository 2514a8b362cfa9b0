"""What stands in any .tflite file, read without TensorFlow.

The file is a FlatBuffer of TensorFlow Lite's schema
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs).
The classes generated from that schema come with `ai-edge-litert`; they trust what they read, so
everything they can raise on a damaged file is turned into one `ConversionError` here, and lists
are bounded by the size of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from convert.errors import ConversionError

_OLD_CODES = 127
"""Operator codes up to here also stand in a field of one byte; newer ones only in the other."""

_MAX_RANK = 32
_SMALL = 64
"""Constants of at most so many integers are shapes, axes and the like, and are kept."""


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if name[0] != "_"}


_DTYPES = {value: name.lower() for value, name in _names(schema.TensorType).items()}
_BUILTINS = _names(schema.BuiltinOperator)
_OPTIONS = _names(schema.BuiltinOptions)
_BITS = {"bool": 8, "complex64": 64, "complex128": 128, "bfloat16": 16, "int2": 2, "int4": 4} | {
    f"{kind}{bits}": bits
    for kind, sizes in {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64)}
    .items()
    for bits in sizes
}  # fmt: skip
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
    custom: bool
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, float]
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


def read(path: Path) -> Model:
    """Read a .tflite file.

    Raises
    ------
    ConversionError
        It is missing, damaged, or no such file.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConversionError(f"{path}: {exc.strerror}; give a .tflite file or a bundle") from exc
    return parse(data, source=str(path))


def parse(data: bytes, *, source: str) -> Model:
    """Read the bytes of a .tflite file; `source` is how an error names it.

    Raises
    ------
    ConversionError
        It is damaged, or no such file.
    """
    try:
        if not schema.Model.ModelBufferHasIdentifier(data, 0):
            raise ConversionError(f"{source}: not a TFLite file; convert the model first")
        return _Reader(data).model()
    except (
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error,
    ) as exc:  # fmt: skip
        raise ConversionError(
            f"{source}: the TFLite file is damaged ({str(exc) or type(exc).__name__}); "
            "copy or convert it again"
        ) from exc


class _Reader:
    """Turns the generated accessors' answers into plain values, distrusting each."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # Lists of a damaged file may overlap. Those of a sound one cannot hold more than it.
        self._left = 2 * len(data)
        self._root = schema.Model.GetRootAs(data, 0)
        self._codes = [
            self._root.OperatorCodes(index) for index in range(self._root.OperatorCodesLength())
        ]
        self._buffers = [
            self._bytes(self._root.Buffers(index)) for index in range(self._root.BuffersLength())
        ]

    def model(self) -> Model:
        if not self._root.SubgraphsLength():
            raise ValueError("no graph")
        graphs = tuple(
            self._graph(self._root.Subgraphs(index))
            for index in range(self._root.SubgraphsLength())
        )
        signatures = tuple(
            self._signature(self._root.SignatureDefs(index), graphs)
            for index in range(self._root.SignatureDefsLength())
        )
        return Model(graphs, signatures, len(self._data), self._min_runtime())

    def _spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise ValueError("its parts overlap")

    def _text(self, value: bytes | None) -> str:
        self._spend(len(value or b""))
        return (value or b"").decode(errors="replace")

    def _integers(self, vector: Any) -> tuple[int, ...]:  # noqa: ANN401  # an array, or 0 if absent
        if isinstance(vector, int):
            return ()
        self._spend(len(vector))
        return tuple(vector.tolist())

    def _bytes(self, buffer: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:  # noqa: ANN401  # generated
        if buffer.Offset() > 1:  # a file of over 2 GB keeps its constants behind the FlatBuffer
            found = np.frombuffer(self._data, np.uint8, buffer.Size(), buffer.Offset())
        elif isinstance(stored := buffer.DataAsNumpy(), int):
            return np.empty(0, np.uint8)
        else:
            found = stored
        self._spend(len(found))
        return found

    def _min_runtime(self) -> str:
        for index in range(self._root.MetadataLength()):
            entry = self._root.Metadata(index)
            if entry.Name() == b"min_runtime_version":
                return bytes(self._buffers[entry.Buffer()]).rstrip(b"\0").decode("ascii")
        return ""

    def _graph(self, graph: Any) -> Graph:  # noqa: ANN401  # generated
        tensors = tuple(
            self._tensor(index, graph.Tensors(index)) for index in range(graph.TensorsLength())
        )
        operators = tuple(
            self._operator(index, graph.Operators(index), tensors)
            for index in range(graph.OperatorsLength())
        )
        inputs = self._picked(graph.InputsAsNumpy(), tensors)
        outputs = self._picked(graph.OutputsAsNumpy(), tensors)
        return Graph(self._text(graph.Name()), tensors, operators, inputs, outputs)

    def _tensor(self, index: int, tensor: Any) -> Tensor:  # noqa: ANN401  # generated
        shape = self._integers(tensor.ShapeAsNumpy())
        signature = self._integers(tensor.ShapeSignatureAsNumpy())
        if len(shape) > _MAX_RANK or min(shape, default=0) < 0:
            raise ValueError(f"tensor {index} has the shape {shape[:_MAX_RANK]}")
        data = self._buffers[tensor.Buffer()]
        quantisation = self._quantisation(tensor.Quantization())
        result = Tensor(
            index=index,
            name=self._text(tensor.Name()),
            shape=shape,
            dtype=_DTYPES[tensor.Type()],
            quantisation=quantisation,
            buffer=tensor.Buffer() if data.size else 0,
            dynamic=-1 in signature,
            variable=bool(tensor.IsVariable()),
            values=_small_integers(data, _DTYPES[tensor.Type()]),
            zero=_is_zero(data, _DTYPES[tensor.Type()], quantisation),
        )
        if result.constant and tensor.Sparsity() is None and result.size not in {0, data.size}:
            raise ValueError(f"tensor {index} should have {result.size} bytes, not {data.size}")
        return result

    def _quantisation(self, stored: Any) -> Quantisation | None:  # noqa: ANN401  # generated
        if stored is None or not stored.ScaleLength():
            return None
        scales, zero_points = stored.ScaleAsNumpy(), stored.ZeroPointAsNumpy()
        if not np.isfinite(scales).all():
            raise ValueError("a scale is not a number")
        self._spend(len(scales))
        return Quantisation(
            scale=float(scales[0]),
            zero_point=0 if isinstance(zero_points, int) else int(zero_points[0]),
            channels=len(scales),
            axis=stored.QuantizedDimension(),
        )

    def _picked(self, numbers: Any, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ANN401  # an array, or 0 if absent
        found = self._integers(numbers)
        if min(found, default=0) < 0:
            raise ValueError("a graph or an operator leaves a tensor out that it needs")
        return tuple(tensors[number] for number in found)

    def _operator(self, index: int, operator: Any, tensors: tuple[Tensor, ...]) -> Operator:  # noqa: ANN401  # generated
        code = self._codes[operator.OpcodeIndex()]
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = builtin == schema.BuiltinOperator.CUSTOM
        name = self._text(code.CustomCode()) if custom else _BUILTINS[builtin]
        result = Operator(
            index=index,
            name=name,
            version=code.Version(),
            custom=custom,
            inputs=tuple(
                tensors[number] if number >= 0 else None
                for number in self._integers(operator.InputsAsNumpy())
            ),
            outputs=self._picked(operator.OutputsAsNumpy(), tensors),
            options=_options(operator),
        )
        return _with_macs(result)

    def _signature(self, stored: Any, graphs: tuple[Graph, ...]) -> Signature:  # noqa: ANN401  # generated
        graph = graphs[stored.SubgraphIndex()]
        sides: list[dict[str, Tensor]] = [
            {
                self._text(entry.Name()): graph.tensors[entry.TensorIndex()]
                for entry in map(entry_at, range(count))
            }
            for entry_at, count in (
                (stored.Inputs, stored.InputsLength()),
                (stored.Outputs, stored.OutputsLength()),
            )
        ]
        return Signature(self._text(stored.SignatureKey()), stored.SubgraphIndex(), *sides)
