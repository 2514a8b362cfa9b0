"""The two networks of an expression bundle, wired as its manifest says.

The frame model turns a tile into an embedding; the head turns an embedding and the state of
the step before into logits and a new state. State is an ordinary value: whoever follows a face
keeps it, so one pair of interpreters serves every face (compare `equinox.nn.GRUCell`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.bundle import Bundle, StreamManifest, TensorSpec
from edge.datatypes import Float32Array, UInt8Array
from edge.errors import BundleError
from edge.runtime import Array, Library, Model, dequantise, pixel_reader, quantise
from edge.runtime import rescale_table as rescaler

State = tuple[Array, ...]
"""One array for each pair in the manifest's `states`, as the head stores it."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What the frame model says of one tile.

    `vector` is already quantised as the head takes it; `stored_logits` are as the frame model
    gave them.
    """

    vector: Array
    stored_logits: Array
    logits_spec: TensorSpec

    @property
    def logits(self) -> Float32Array:
        """The frame model's own logits, [labels], for an answer without a head."""
        logits: Float32Array = dequantise(self.stored_logits, self.logits_spec)[0]
        return logits


class StreamNetworks:
    """Runs a bundle's frame model and head. Keeps nothing between calls.

    Raises
    ------
    BundleError
        The manifest does not describe its files.
    ModelError
        The runtime is missing or refuses a file.
    """

    def __init__(
        self,
        bundle: Bundle,
        manifest: StreamManifest,
        *,
        threads: int = 1,
        library: Library = "ai-edge-litert",
    ) -> None:
        frame, head = manifest.frame, manifest.head
        self.frame = Model(bundle.read(frame), frame, threads=threads, library=library)
        """The frame model on the CPU."""
        self._run_frame: Callable[..., tuple[Array, ...]] = self.frame
        self._head = Model(bundle.read(head), head, threads=threads, library=library)
        face = frame.inputs[0]
        self._face_shape = face.shape
        self._read_pixels = pixel_reader(manifest.input.mean, manifest.input.std, face)
        self._embedding = _position(frame.outputs, "embedding")
        self._frame_logits = _position(frame.outputs, "logits")
        self._head_logits = _position(head.outputs, "logits")
        into = head.inputs[_position(head.inputs, "embedding")]
        out = frame.outputs[self._embedding]
        if into.shape != out.shape:
            raise BundleError(
                f"{bundle.path}: the frame model gives an embedding of shape {out.shape}, the "
                f"head takes {into.shape}; package a head that was trained for this frame model"
            )
        self._hand_over = rescaler(out, into)
        names_in = [tensor.name for tensor in head.inputs]
        names_out = [tensor.name for tensor in head.outputs]
        self._state_inputs = [names_in.index(pair.input) for pair in manifest.states]
        self._state_outputs = [names_out.index(pair.output) for pair in manifest.states]
        self._embedding_input = _position(head.inputs, "embedding")
        self._initial = tuple(
            quantise(np.zeros(head.inputs[index].shape), head.inputs[index])
            for index in self._state_inputs
        )

    @property
    def invoked_s(self) -> float:
        """Seconds spent inside `invoke()` so far, both networks together."""
        return self.frame.invoked_s + self._head.invoked_s

    def use(self, frame: Callable[..., tuple[Array, ...]] | None) -> None:
        """Run the frame model by something else, with `Model`'s call; None is the CPU again."""
        self._run_frame = self.frame if frame is None else frame

    def embed(self, tile: UInt8Array) -> Embedding:
        """Run the frame model on one tile, uint8 [size, size]."""
        outputs = self._run_frame(self._read_pixels(tile).reshape(self._face_shape))
        return Embedding(
            self._hand_over(outputs[self._embedding]),
            outputs[self._frame_logits],
            self.frame.spec.outputs[self._frame_logits],
        )

    def initial_state(self) -> State:
        """Return the state of a face that was never seen: zero."""
        return self._initial

    def step(self, embedding: Embedding, state: State) -> tuple[Float32Array, State]:
        """Run the head once.

        Returns
        -------
        float32 array, [labels]
            The logits.
        State
            To be given to the next step.
        """
        inputs: list[Array] = [embedding.vector] * len(self._head.spec.inputs)
        for index, value in zip(self._state_inputs, state, strict=True):
            inputs[index] = value
        outputs = self._head(*inputs)
        logits = dequantise(outputs[self._head_logits], self._head.spec.outputs[self._head_logits])
        return logits[0], tuple(outputs[index] for index in self._state_outputs)


def softmax(logits: Float32Array, temperature: float) -> Float32Array:
    """Return probabilities of logits, [..., labels], softened by a temperature."""
    scaled = logits / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def _position(tensors: tuple[TensorSpec, ...], role: str) -> int:
    return next(index for index, tensor in enumerate(tensors) if tensor.role == role)
