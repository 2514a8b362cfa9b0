"""What stands in any .tflite file, read without TensorFlow.

The file is a FlatBuffer of TensorFlow Lite's schema
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs).
The classes generated from that schema come with `ai-edge-litert`; they trust what they read, so
everything they can raise on a damaged file is turned into one `ConversionError` here, and lists
are bounded by the size of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from convert.errors import ConversionError
from convert.graph import Graph, Model, Operator, Quantisation, Signature, Tensor, count_macs

Bytes = npt.NDArray[np.uint8]

_MAX_RANK = 32
_MOST = 2**62
_SMALL = 64
"""Constants of at most so many integers are shapes, axes and the like, and are kept."""


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if name[0] != "_"}


_DTYPES = {value: name.lower() for value, name in _names(schema.TensorType).items()}
_BUILTINS = _names(schema.BuiltinOperator)
_OPTIONS = _names(schema.BuiltinOptions)


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
        self._left = 4 * len(data)
        self._fills: dict[int, int | None] = {}
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
        result = Model(graphs, signatures, len(self._data), self._min_runtime())
        if max(result.macs, result.peak_bytes, result.parameters) > _MOST:
            raise ValueError("its shapes are beyond any computer")
        return result

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

    def _bytes(self, buffer: Any) -> Bytes:  # noqa: ANN401  # generated
        if buffer.Offset() > 1:  # a file of over 2 GB keeps its constants behind the FlatBuffer
            found = np.frombuffer(self._data, np.uint8, buffer.Size(), buffer.Offset())
        elif isinstance(stored := buffer.DataAsNumpy(), int):
            return np.empty(0, np.uint8)
        else:
            found = stored
        self._spend(len(found))
        return found

    def _fill(self, number: int) -> int | None:
        """Return the byte that a buffer repeats, if it does."""
        if number not in self._fills:
            data = self._buffers[number]
            same = data.size > 0 and bool((data == data[0]).all())
            self._fills[number] = int(data[0]) if same else None
        return self._fills[number]

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
        dtype = _DTYPES[tensor.Type()]
        data = self._buffers[tensor.Buffer()]
        quantisation = self._quantisation(tensor.Quantization())
        fill = self._fill(tensor.Buffer()) if dtype in {"int8", "uint8"} else None
        result = Tensor(
            index=index,
            name=self._text(tensor.Name()),
            shape=shape,
            dtype=dtype,
            quantisation=quantisation,
            buffer=tensor.Buffer() if data.size else 0,
            dynamic=-1 in signature,
            variable=bool(tensor.IsVariable()),
            values=_small_integers(data, dtype),
            zero=quantisation is not None and fill == quantisation.zero_point & 0xFF,
        )
        if result.constant and tensor.Sparsity() is None and result.size not in {0, data.size}:
            raise ValueError(f"tensor {index} should have {result.size} bytes, not {data.size}")
        return result

    def _quantisation(self, stored: Any) -> Quantisation | None:  # noqa: ANN401  # generated
        if stored is None or not stored.ScaleLength():
            return None
        scales, zero_points = stored.ScaleAsNumpy(), stored.ZeroPointAsNumpy()
        self._spend(len(scales))
        if not np.isfinite(scales).all():
            raise ValueError("a scale is not a number")
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
        return replace(result, macs=count_macs(result))

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


def _small_integers(data: Bytes, dtype: str) -> tuple[int, ...] | None:
    if dtype not in {"int32", "int64"} or not 0 < data.size <= _SMALL * np.dtype(dtype).itemsize:
        return None
    return tuple(data.view(dtype).tolist())


def _options(operator: Any) -> Mapping[str, float]:  # noqa: ANN401  # generated
    stored = operator.BuiltinOptions()
    if stored is None:
        return {}
    name = _OPTIONS[operator.BuiltinOptionsType()]
    options = getattr(schema, name)()
    options.Init(stored.Bytes, stored.Pos)
    unpacked = getattr(schema, f"{name}T").InitFromObj(options)
    return {key: value for key, value in vars(unpacked).items() if isinstance(value, (int, float))}
