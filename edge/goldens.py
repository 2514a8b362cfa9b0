"""Golden vectors: what a bundle answered where it was made, to be compared where it runs.

`golden.npz` holds drawn faces, an order in which they are shown, and the stored (quantised)
outputs of every step. int8 arithmetic is not bit-equal on every processor, so each output has a
tolerance in steps of its own scale; recurrent state passes small differences on, so the head's
is wider.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, StreamManifest
from edge.datatypes import Float32Array, UInt8Array
from edge.errors import BundleError
from edge.networks import StreamNetworks

MOST_BYTES = 64_000_000
"""Of the arrays when unpacked; a few kilobytes of zeros can be packed from a terabyte."""


@dataclass(frozen=True, slots=True, eq=False)
class Goldens:
    """Inputs and expected outputs of one stream of `steps` steps.

    Attributes
    ----------
    faces : uint8 array, [faces, size, size]
    order : int array, [steps]
        Which face is shown at each step.
    resets : bool array, [steps]
        Whether the state starts afresh before the step.
    frame_logits, head_logits : float32 arrays, [faces, labels] and [steps, labels]
    frame_tolerance, head_tolerance : float
        The largest difference of a logit that is still the same answer.
    """

    faces: UInt8Array
    order: npt.NDArray[np.int32]
    resets: npt.NDArray[np.bool_]
    frame_logits: Float32Array
    head_logits: Float32Array
    frame_tolerance: float
    head_tolerance: float


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How far this machine's answers are from the golden ones, in logits."""

    steps: int
    frame_difference: float
    head_difference: float
    frame_tolerance: float
    head_tolerance: float
    same_label: float

    @property
    def passed(self) -> bool:
        """Whether every answer is within its tolerance."""
        return (
            self.frame_difference <= self.frame_tolerance
            and self.head_difference <= self.head_tolerance
        )


def replay(
    networks: StreamNetworks,
    faces: UInt8Array,
    order: npt.NDArray[np.int32],
    resets: npt.NDArray[np.bool_],
) -> tuple[Float32Array, Float32Array]:
    """Run the networks over a stream.

    Returns
    -------
    float32 arrays
        Frame logits, [faces, labels], and head logits, [steps, labels].
    """
    embeddings = [networks.embed(face) for face in faces]
    state = networks.initial_state()
    rows = []
    for index, reset in zip(order, resets, strict=True):
        if reset:
            state = networks.initial_state()
        logits, state = networks.step(embeddings[index], state)
        rows.append(logits)
    return np.stack([each.logits for each in embeddings]), np.stack(rows)


def read(bundle: Bundle, manifest: StreamManifest) -> Goldens:
    """Read a bundle's golden vectors.

    Raises
    ------
    BundleError
        The file is missing, altered, or not an archive of the arrays it should hold.
    """
    data = bundle.read(manifest.golden)
    try:
        goldens = _unpacked(data)
        _check_arrays(goldens, manifest)
    except Exception as exc:
        # zipfile, zlib and numpy raise whatever the damage leads them to.
        raise BundleError(
            f"{bundle.path / manifest.golden.file}: not golden vectors "
            f"({type(exc).__name__}: {exc}); package the bundle again"
        ) from exc
    return goldens


def _unpacked(data: bytes) -> Goldens:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # What an entry says of its size is as much of it as zipfile reads.
        if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes when unpacked")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Goldens(
            faces=arrays["faces"],
            order=arrays["order"],
            resets=arrays["resets"],
            frame_logits=arrays["frame_logits"],
            head_logits=arrays["head_logits"],
            frame_tolerance=float(arrays["frame_tolerance"]),
            head_tolerance=float(arrays["head_tolerance"]),
        )


def _check_arrays(goldens: Goldens, manifest: StreamManifest) -> None:
    """Hold the arrays against each other and against the bundle's networks.

    Raises
    ------
    ValueError
        They cannot be run, or nothing could be told from it.
    """
    size, labels = manifest.input.size, len(manifest.labels)
    faces, steps = len(goldens.faces), len(goldens.order)
    wanted = {
        "faces": ((faces, size, size), np.uint8),
        "order": ((steps,), np.integer),
        "resets": ((steps,), np.bool_),
        "frame_logits": ((faces, labels), np.floating),
        "head_logits": ((steps, labels), np.floating),
    }
    for name, (shape, kind) in wanted.items():
        array = getattr(goldens, name)
        if array.shape != shape or not np.issubdtype(array.dtype, kind):
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, not {list(shape)}")
    if not faces or not steps or goldens.order.min() < 0 or goldens.order.max() >= faces:
        raise ValueError("order names faces that are not there")
    numbers = (goldens.frame_logits, goldens.head_logits)
    tolerances = (goldens.frame_tolerance, goldens.head_tolerance)
    if not all(np.isfinite(each).all() for each in (*numbers, tolerances)) or min(tolerances) < 0:
        raise ValueError("logits or tolerances that are no numbers")


def check(networks: StreamNetworks, goldens: Goldens, *, steps: int | None = None) -> GoldenResult:
    """Run the first `steps` golden steps (all by default) and compare."""
    order, resets = goldens.order[:steps], goldens.resets[:steps]
    shown = np.unique(order)
    place = np.searchsorted(shown, order).astype(np.int32)
    frame, head = replay(networks, goldens.faces[shown], place, resets)
    wanted = goldens.head_logits[:steps]
    return GoldenResult(
        steps=len(order),
        frame_difference=float(np.abs(frame - goldens.frame_logits[shown]).max()),
        head_difference=float(np.abs(head - wanted).max()),
        frame_tolerance=goldens.frame_tolerance,
        head_tolerance=goldens.head_tolerance,
        same_label=float(np.mean(head.argmax(1) == wanted.argmax(1))),
    )
