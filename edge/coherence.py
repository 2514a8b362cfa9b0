"""Whether the parts of a manifest go together: what no single field can be wrong about.

A manifest that passes describes networks that `edge.networks` and `edge.detector` can wire, whose
tensors have the shapes they will be given. Whether its files are as it says is found out when they
are loaded (`edge.runtime`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.datatypes import UNSURE
from edge.errors import BundleError

if TYPE_CHECKING:
    # `edge.bundle` asks here once it has read one.
    from edge.bundle import DetectorManifest, ModelFile, StreamManifest, TensorSpec

_VALUES_A_BOX = 16
"""Centre, size and six keypoints, each a pair."""


def check_stream(manifest: StreamManifest, source: str) -> None:
    """Hold the parts of a stream manifest against each other.

    Parameters
    ----------
    manifest
        As it was read.
    source
        How it is named in an error.

    Raises
    ------
    BundleError
        They contradict each other.
    """
    frame, head, states = manifest.frame, manifest.head, len(manifest.states)
    _check_labels(manifest.labels, source)
    _check_roles(frame, ["face"], ["embedding", "logits"], source)
    _check_roles(head, ["embedding", *["state"] * states], ["logits", *["state"] * states], source)
    _check_states(manifest, source)
    size, labels = manifest.input.size, len(manifest.labels)
    _check_shape(frame, _one(frame.inputs, "face"), (1, size, size, 1), "input.size", source)
    for model in (frame, head):
        logits = _one(model.outputs, "logits")
        if logits.shape[-1:] != (labels,):
            raise BundleError(
                f"{source}: {model.file} gives {logits.shape[-1] if logits.shape else 'no'} "
                f"logits for {labels} labels; package the bundle again"
            )
        _check_shape(model, logits, (1, labels), "labels", source)


def check_detector(manifest: DetectorManifest, source: str) -> None:
    """Hold the parts of a detector manifest against each other; see `check_stream`."""
    frame, size = manifest.frame, manifest.input.size
    _check_roles(frame, ["image"], ["boxes", "scores"], source)
    _check_shape(frame, _one(frame.inputs, "image"), (1, size, size, 3), "input.size", source)
    anchors = sum(layer.cells**2 * layer.per_cell for layer in manifest.anchors.layers)
    for role, values in (("boxes", _VALUES_A_BOX), ("scores", 1)):
        tensor = _one(frame.outputs, role)
        _check_shape(frame, tensor, (1, anchors, values), "anchors", source)
        if tensor.dtype != "float32":
            raise BundleError(
                f"{source}: {frame.file} gives {role} as {tensor.dtype}, not float32; "
                "package the bundle again"
            )


def _check_labels(labels: Sequence[str], source: str) -> None:
    doubled = [label for label, count in Counter(labels).items() if count > 1]
    if doubled or UNSURE in labels:
        raise BundleError(
            f"{source}: labels: {(doubled or [UNSURE])[0]!r} stands twice, or for what has no "
            "answer; package the bundle again"
        )


def _check_roles(
    model: ModelFile, inputs: Sequence[str], outputs: Sequence[str], source: str
) -> None:
    for tensors, wanted, side in (
        (model.inputs, inputs, "inputs"),
        (model.outputs, outputs, "outputs"),
    ):
        if sorted(tensor.role for tensor in tensors) != sorted(wanted):
            raise BundleError(
                f"{source}: {model.file} must have {side} with the roles "
                f"{', '.join(sorted(wanted))}; package the bundle again"
            )
        if len({tensor.name for tensor in tensors}) != len(tensors):
            raise BundleError(
                f"{source}: {model.file} has two {side} of one name; package the bundle again"
            )
        for tensor in tensors:
            if (tensor.scale is None) != (tensor.dtype == "float32"):
                raise BundleError(
                    f"{source}: {model.file}: tensor {tensor.name!r}: integers have a scale, "
                    "floats have none; package the bundle again"
                )


def _check_states(manifest: StreamManifest, source: str) -> None:
    head = manifest.head
    inputs = {tensor.name: tensor for tensor in head.inputs if tensor.role == "state"}
    outputs = {tensor.name: tensor for tensor in head.outputs if tensor.role == "state"}
    for pair in manifest.states:
        # Each is paired once: what is left over would be given another tensor's value.
        into, out = inputs.pop(pair.input, None), outputs.pop(pair.output, None)
        if into is None or out is None:
            raise BundleError(
                f"{source}: states name {pair.input!r} and {pair.output!r}, which {head.file} "
                "does not have, or name them twice; package the bundle again"
            )
        if (into.shape, into.dtype, into.scale, into.zero_point) != (
            out.shape,
            out.dtype,
            out.scale,
            out.zero_point,
        ):
            raise BundleError(
                f"{source}: the state {pair.input!r} goes in and comes out quantised "
                "differently, so it would drift; quantise the head again"
            )


def _check_shape(
    model: ModelFile, tensor: TensorSpec, wanted: tuple[int, ...], why: str, source: str
) -> None:
    if tensor.shape != wanted:
        raise BundleError(
            f"{source}: {model.file}: tensor {tensor.name!r} has the shape {list(tensor.shape)}, "
            f"by {why} it has {list(wanted)}; package the bundle again"
        )


def _one(tensors: Sequence[TensorSpec], role: str) -> TensorSpec:
    return next(tensor for tensor in tensors if tensor.role == role)
