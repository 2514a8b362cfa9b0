"""Files damaged as a bad quantisation would be."""

from __future__ import annotations

from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def with_doubled_scale(data: bytes, operator: int) -> bytes:
    """Double the scale of one operator's weights, and of its bias, which follows from it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    (graph,) = model.subgraphs
    for place in graph.operators[operator].inputs[1:]:
        tensor = graph.tensors[place]
        tensor.quantization.scale = [2 * scale for scale in tensor.quantization.scale]
    return _packed(model)


def with_other_state_scale(data: bytes) -> bytes:
    """Let the state come out with a scale a thousandth larger than it goes in."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    (out,) = [each for each in signature.outputs if each.name == b"state"]
    tensor = graph.tensors[out.tensorIndex]
    tensor.quantization.scale = [1.001 * scale for scale in tensor.quantization.scale]
    return _packed(model)


def _packed(model: Any) -> bytes:  # noqa: ANN401  # generated
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
