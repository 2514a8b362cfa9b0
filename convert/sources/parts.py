"""What a reader hands on: networks in plain Keras layers, and how they must answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
