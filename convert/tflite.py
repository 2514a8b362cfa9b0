"""What stands in a .tflite file: read from the file itself, not from what made it."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from convert.errors import ConversionError
from edge.bundle import ModelFile, TensorSpec

Role = Literal["face", "embedding", "state", "logits"]

_TYPES: dict[int, Literal["int8", "int16", "float32"]] = {
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.FLOAT32: "float32",
}
_FLOATS = (
    schema.TensorType.FLOAT16,
    schema.TensorType.FLOAT32,
    schema.TensorType.FLOAT64,
    schema.TensorType.BFLOAT16,
)


@dataclass(frozen=True, slots=True)
class Contents:
    """A .tflite file as it was read.

    Attributes
    ----------
    signature : ModelFile
        As the manifest states it. A tensor's role is its name in the file's signature.
    float_tensors : tuple of str
        Names of all tensors that hold real numbers.
    operators : tuple of str
        In the order in which they run.
    macs : int
        Multiplications of the convolutions and dense layers.
    size : int
        In bytes.
    """

    signature: ModelFile
    float_tensors: tuple[str, ...]
    operators: tuple[str, ...]
    macs: int
    size: int


def read(path: Path) -> Contents:
    """Read a .tflite file with one graph and one signature.

    Raises
    ------
    ConversionError
        It is missing, damaged, or not of that kind.
    """
    try:
        data = path.read_bytes()
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
        (graph,), (named,) = model.subgraphs, model.signatureDefs
        codes = [code.builtinCode for code in model.operatorCodes]
        names = {
            value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"
        }
        return Contents(
            signature=ModelFile(
                file=path.name,
                sha256=hashlib.sha256(data).hexdigest(),
                inputs=_specs(graph, named.inputs),
                outputs=_specs(graph, named.outputs),
            ),
            float_tensors=tuple(_name(each) for each in graph.tensors if each.type in _FLOATS),
            operators=tuple(names[codes[each.opcodeIndex]] for each in graph.operators),
            macs=sum(_macs(graph, each, codes[each.opcodeIndex]) for each in graph.operators),
            size=len(data),
        )
    except OSError as exc:
        raise ConversionError(f"{path}: {exc.strerror}; run mien-convert quantise first") from exc
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, struct.error) as exc:
        raise ConversionError(
            f"{path}: not a TFLite file of one signature; quantise again"
        ) from exc


def _specs(graph: Any, named: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401  # untyped flatbuffers
    """Return the tensors of a signature in the order of their names there."""
    specs = []
    for entry in sorted(named, key=lambda entry: bytes(entry.name)):
        tensor = graph.tensors[entry.tensorIndex]
        quantised = tensor.quantization is not None and tensor.quantization.scale is not None
        scale = float(np.float32(tensor.quantization.scale[0])) if quantised else None
        role: Any = entry.name.decode()
        specs.append(
            TensorSpec(
                name=_name(tensor),
                role=role,
                shape=tuple(int(side) for side in tensor.shape),
                dtype=_TYPES[tensor.type],
                scale=scale,
                zero_point=int(tensor.quantization.zeroPoint[0]) if quantised else 0,
            )
        )
    return tuple(specs)


def _name(tensor: Any) -> str:  # noqa: ANN401  # untyped flatbuffers
    return str(tensor.name.decode())


def _macs(graph: Any, operator: Any, code: int) -> int:  # noqa: ANN401  # untyped flatbuffers
    """Return the multiplications of one operator: each output value needs a whole filter."""
    if code not in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED):
        return 0
    weights = graph.tensors[operator.inputs[1]].shape
    return int(prod(graph.tensors[operator.outputs[0]].shape) * prod(weights[1:]))
