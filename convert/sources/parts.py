"""What a reader hands on: networks in plain Keras layers, and how they must answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convert.errors import SourceError
from edge.datatypes import Float32Array

TOLERANCE = 1e-4
"""How far an answer may lie from the source's own, as a share of the largest score above 1."""

STEPS = 6
"""How many steps a sequence has that is only shown to compare answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the source itself answered, in its own framework, before anything was changed.

    Attributes
    ----------
    seen : float32 array, [time, height, width, channels] or [time, width]
        What it was shown, one sample a step.
    states : tuple of float32 arrays, [1, width]
        Where it began; empty for zero.
    answers : tuple of float32 arrays, [1, ...]
        Its outputs at the last step.
    """

    seen: Float32Array
    states: tuple[Float32Array, ...]
    answers: tuple[Float32Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a source consists of.

    Attributes
    ----------
    frame : keras.Model or None
        From a picture to its scores, to (embedding, scores), or, where a head follows, to the
        embedding alone.
    head : keras.Model or None
        From (embedding, states) to (scores, states).
    cut : str or None
        The layer of the frame model to take the embedding from, if that is still to be done.
    notes : tuple of str
        What was changed, for the record.
    reference : Reference or None
    """

    frame: Any
    head: Any
    cut: str | None = None
    notes: tuple[str, ...] = ()
    reference: Reference | None = None


def verify(parts: Parts, what: str) -> None:
    """Run what a source became against what the source answered.

    Raises
    ------
    SourceError
        It answers differently; the message says by how much.
    """
    reference = parts.reference
    if reference is None:
        return
    answers = _replayed(parts, reference)
    for given, wanted in zip(answers, reference.answers, strict=False):
        far = float(np.max(np.abs(given.ravel() - wanted.ravel()))) if (
            given.size == wanted.size) else np.inf  # fmt: skip
        if not far <= TOLERANCE * max(1.0, float(np.max(np.abs(wanted)))):
            raise SourceError(
                f"{what}: what it became answers differently (by {far:.2g}), so it is not used; "
                "see whether a layer mixes time steps or behaves as in training, or export it "
                "another way"
            )


def _replayed(parts: Parts, reference: Reference) -> list[Float32Array]:
    """Return the outputs after the last step."""
    if parts.head is None:
        return _outputs(parts.frame, [reference.seen[-1:]])
    widths = [each.shape[1] for each in parts.head.inputs[1:]]
    states = list(reference.states) or [np.zeros((1, width), np.float32) for width in widths]
    answers: list[Float32Array] = []
    for now in reference.seen:
        seen = now[None]
        if parts.frame is not None:
            seen = _outputs(parts.frame, [seen])[0]
        answers = _outputs(parts.head, [seen, *states])
        states = answers[1:]
    return answers


def _outputs(network: Any, inputs: list[Float32Array]) -> list[Float32Array]:  # noqa: ANN401  # a Keras model
    given = network(inputs if len(inputs) > 1 else inputs[0], training=False)
    several = given if isinstance(given, list | tuple) else [given]
    return [np.asarray(each, np.float32) for each in several]
