"""PyTorch models, through ONNX, in a process of their own: see `convert.sources.torch_child`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from convert.child import worked
from convert.errors import SourceError
from convert.sources.parts import Parts
from convert.sources.requests import Exporter, TorchFound, TorchRequest


def request(
    source: str,
    weights: Path | None,
    input_shape: tuple[int, ...] | None,
    exporters: tuple[Exporter, ...],
) -> TorchRequest:
    """Return what to ask for; a file is named in full, since the other process runs elsewhere."""
    return TorchRequest(
        path=source if weights else str(Path(source).resolve()),
        weights=str(weights.resolve()) if weights else None,
        input_shape=input_shape,
        exporters=exporters,
    )


def read(asked: TorchRequest, cut: str | None, limit_s: float, what: str) -> tuple[Parts, str]:
    """Read a PyTorch model, called `what` in errors; returns its parts and PyTorch's version.

    Raises
    ------
    SourceError
        It cannot be loaded, no exporter can write it, or see `onnx_file.read`.
    """
    from convert.sources import onnx_file  # noqa: PLC0415  # needs Keras, `request` does not

    with worked("convert.sources.torch_child", asked, what, limit_s, SourceError) as made:
        found = msgspec.json.decode((made / "found.json").read_bytes(), type=TorchFound)
        parts, _ = onnx_file.read(made / "model.onnx", cut, limit_s, what)
    notes = (*found.notes, *parts.notes)
    return Parts(parts.frame, parts.head, parts.cut, notes, parts.reference), found.framework
