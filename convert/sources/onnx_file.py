"""ONNX files, in a process of their own: see `convert.sources.onnx_child`."""

from __future__ import annotations

from pathlib import Path

import keras
import msgspec
import numpy as np

from convert.child import worked
from convert.errors import SourceError
from convert.sources import graph
from convert.sources.parts import Parts, Reference
from convert.sources.requests import OnnxFound, OnnxRequest


def read(path: Path, cut: str | None, limit_s: float, what: str) -> tuple[Parts, str]:
    """Read an ONNX file, called `what` in errors; returns its parts and what wrote it.

    Raises
    ------
    SourceError
        It is damaged, a shape varies, an operator is not supported, or the converter crashed.
    """
    request = OnnxRequest(path=str(path.resolve()), cut=cut)
    with worked("convert.sources.onnx_child", request, what, limit_s, SourceError) as made:
        found = msgspec.json.decode((made / "found.json").read_bytes(), type=OnnxFound)
        frame = _network(made / "frame.keras") if found.frame else None
        head = _network(made / "head.keras") if found.head else None
        with np.load(made / "reference.npz") as archive:
            reference = Reference(
                archive["seen"],
                tuple(archive[name] for name in sorted(archive.files) if name[:5] == "state"),
                tuple(archive[name] for name in sorted(archive.files) if name[:6] == "answer"),
            )
    return Parts(frame, head, None, found.notes, reference), found.framework


def _network(path: Path) -> keras.Model:
    return graph.reserve_names(keras.models.load_model(path))
