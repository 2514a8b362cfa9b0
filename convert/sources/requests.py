"""What is asked of other processes and what they say; see `convert.child`."""

from __future__ import annotations

from typing import Literal

import msgspec

Exporter = Literal["dynamo", "torchscript"]


class OnnxRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which ONNX file to read, and the tensor that is the embedding."""

    path: str
    cut: str | None = None


class OnnxFound(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; the networks lie beside it as `frame.keras` and `head.keras`."""

    frame: bool
    head: bool
    framework: str
    notes: tuple[str, ...] = ()


class TorchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to export: a `.pt2` file, or `module:factory` with a state_dict file."""

    path: str
    weights: str | None
    input_shape: tuple[int, ...] | None
    exporters: tuple[Exporter, ...]


class TorchFound(msgspec.Struct, frozen=True, kw_only=True):
    """How it went; the result lies beside it as `model.onnx`."""

    framework: str
    notes: tuple[str, ...]
