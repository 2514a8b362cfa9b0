"""Small .tflite files, put together by hand: no TensorFlow, and no more than a test is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


@dataclass
class Value:
    """A tensor; with `data` it is a constant."""

    shape: Sequence[int]
    dtype: str = "int8"
    data: Any = None
    scales: Sequence[float] = (0.5,)
    zero_point: int = 0
    dynamic: bool = False
    variable: bool = False
    name: str = ""


@dataclass
class Step:
    """An operator; tensors by their place in the list, -1 for one left out."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    custom: bool = False


OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "SOFTMAX": "SoftmaxOptions",
    "CONCATENATION": "ConcatenationOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "PACK": "PackOptions",
    "SPLIT": "SplitOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
}


def weights(*shape: int, channels: int = 1) -> Value:
    return Value(shape, data=np.ones(shape, np.int8), scales=[0.5] * channels)


def numbers(*values: int) -> Value:
    return Value([len(values)], "int32", np.array(values, np.int32), scales=())


def build(
    values: Sequence[Value], steps: Sequence[Step], inputs: Sequence[int], outputs: Sequence[int],
    *, more_graphs: int = 0, names: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> bytes:  # fmt: skip
    model = schema.ModelT()
    model.version = 3
    model.description = b"by hand"
    model.buffers = [schema.BufferT()]
    model.operatorCodes = []
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = [_tensor(model, index, value) for index, value in enumerate(values)]
    graph.operators = [_operator(model, step) for step in steps]
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    model.subgraphs = [graph] * (1 + more_graphs)
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.subgraphIndex = 0
    signature.inputs = _entries(inputs, names[0])
    signature.outputs = _entries(outputs, names[1])
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _entries(indices: Sequence[int], names: Sequence[str]) -> list[Any]:
    entries = []
    for index, name in zip(indices, names or [f"role{index}" for index in indices], strict=True):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        entries.append(entry)
    return entries


def _tensor(model: Any, index: int, value: Value) -> Any:  # noqa: ANN401  # generated
    tensor = schema.TensorT()
    tensor.name = (value.name or f"t{index}").encode()
    tensor.shape = list(value.shape)
    if value.dynamic:
        tensor.shapeSignature = [-1, *value.shape[1:]]
    tensor.type = getattr(schema.TensorType, value.dtype.upper())
    tensor.isVariable = value.variable
    tensor.hasRank = True
    tensor.buffer = 0
    if value.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value.data).tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    if value.scales and "float" not in value.dtype:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = list(value.scales)
        tensor.quantization.zeroPoint = [value.zero_point] * len(value.scales)
    return tensor


def _operator(model: Any, step: Step) -> Any:  # noqa: ANN401  # generated
    code = schema.OperatorCodeT()
    name = "CUSTOM" if step.custom else step.name
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = step.version
    if step.custom:
        code.customCode = step.name.encode()
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = list(step.inputs), list(step.outputs)
    kind = OPTIONS.get(step.name)
    if kind:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = getattr(schema, f"{kind}T")()
        vars(operator.builtinOptions).update(step.options)
    return operator


def small_network(*, channels: int = 1) -> bytes:
    """Convolution, pooling, flattening and a dense layer of so many scales: all int8."""
    values = [
        Value([1, 8, 8, 1], name="face"),
        weights(4, 3, 3, 1, channels=4),
        Value([4], "int32", np.zeros(4, np.int32)),
        Value([1, 8, 8, 4]),
        Value([1, 4, 4, 4]),
        numbers(1, 64),
        Value([1, 64]),
        weights(7, 64, channels=channels),
        Value([7], "int32", np.zeros(7, np.int32)),
        Value([1, 7], name="logits"),
    ]
    steps = [
        Step("CONV_2D", [0, 1, 2], [3], {"strideW": 1, "strideH": 1}, version=3),
        Step("MAX_POOL_2D", [3], [4], version=2),
        Step("RESHAPE", [4, 5], [6]),
        Step("FULLY_CONNECTED", [6, 7, 8], [9], version=4),
    ]
    return build(values, steps, [0], [9])
