"""A converted file as the manifest states it, and what must be true of one that is kept.

What stands in the file is read from the file itself, not from what made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from convert import graph, inspect
from convert.errors import ConversionError
from convert.interface import Interface
from edge.bundle import ModelFile, TensorSpec
from edge.runtime import pixel_table

Role: TypeAlias = Literal["face", "embedding", "state", "logits"]

_DTYPES: dict[str, Literal["int8", "int16", "float32"]] = {
    "int8": "int8",
    "int16": "int16",
    "float32": "float32",
}
_ROLES: dict[str, Role] = {"face": "face", "embedding": "embedding", "logits": "logits"}


@dataclass(frozen=True, slots=True)
class Contents:
    """A .tflite file of one graph and one signature, whose names say the tensors' roles.

    Attributes
    ----------
    model : convert.graph.Model
        All that stands in it.
    signature : ModelFile
        As the manifest states it.
    """

    model: graph.Model
    signature: ModelFile

    @property
    def floats(self) -> tuple[str, ...]:
        """Names of all tensors that hold real numbers."""
        (only,) = self.model.graphs
        return tuple(each.name for each in only.tensors if each.dtype.startswith(("float", "bflo")))

    @property
    def operators(self) -> tuple[str, ...]:
        """In the order in which they run."""
        (only,) = self.model.graphs
        return tuple(each.name for each in only.operators)


def read(path: Path) -> Contents:
    """Read a converted file.

    Raises
    ------
    ConversionError
        It is missing, damaged, or not of one graph and one signature with known roles.
    """
    model = inspect.read(path)
    if len(model.graphs) != 1 or len(model.signatures) != 1:
        raise ConversionError(f"{path}: not a file of one graph and one signature; quantise again")
    (signature,) = model.signatures
    return Contents(
        model=model,
        signature=ModelFile(
            file=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            inputs=_specs(signature.inputs, path),
            outputs=_specs(signature.outputs, path),
        ),
    )


def check_frame(contents: Contents, taken: Interface) -> None:
    """Refuse a frame model that is not int8 throughout, or whose input cannot tell pixels apart.

    Raises
    ------
    ConversionError
        Naming what is wrong.
    """
    _refuse_floats(contents)
    (face,) = contents.signature.inputs
    table = pixel_table(taken.device_mean, taken.std, face)
    if face.dtype != "int8" or len(set(table.tolist())) != len(table):
        raise ConversionError(
            f"{contents.signature.file}: its input is {face.dtype} with scale {face.scale} and "
            f"zero point {face.zero_point}, which does not hold all 256 values of a pixel; "
            "calibrate with a black and a white tile"
        )


def check_head(contents: Contents) -> None:
    """Refuse a head with real numbers, or whose states go in and come out differently.

    Raises
    ------
    ConversionError
        Naming what is wrong.
    """
    _refuse_floats(contents)
    file = contents.signature
    into, out = (
        [tensor for tensor in side if tensor.role == "state"]
        for side in (file.inputs, file.outputs)
    )
    for one, other in zip(into, out, strict=True):
        ways = [(each.shape, each.dtype, each.scale, each.zero_point) for each in (one, other)]
        if ways[0] != ways[1]:
            raise ConversionError(
                f"{file.file}: the state {one.name!r} goes in with scale {one.scale} and zero "
                f"point {one.zero_point} and comes out with {other.scale} and {other.zero_point}, "
                "so it would drift; calibrate the head on the states it gives itself"
            )


def _refuse_floats(contents: Contents) -> None:
    """Refuse a file in which an operator was left in float, which the converter does silently."""
    if contents.floats:
        raise ConversionError(
            f"{contents.signature.file}: not all integer, the converter left "
            f"{', '.join(contents.floats[:3])} in float; replace the operators that make them"
        )


def _specs(tensors: Mapping[str, graph.Tensor], path: Path) -> tuple[TensorSpec, ...]:
    """Return the tensors of a signature in the order of their names there."""
    specs = []
    for name, tensor in sorted(tensors.items()):
        role = "state" if name.startswith("state") else _ROLES.get(name)
        dtype = _DTYPES.get(tensor.dtype)
        if role is None or dtype is None:
            raise ConversionError(
                f"{path}: {name!r} ({tensor.dtype}) is nothing the device has; quantise again"
            )
        stored = tensor.quantisation
        specs.append(
            TensorSpec(
                name=tensor.name,
                role=role,
                shape=tensor.shape,
                dtype=dtype,
                scale=None if stored is None else float(np.float32(stored.scale)),
                zero_point=0 if stored is None else stored.zero_point,
            )
        )
    return tuple(specs)
