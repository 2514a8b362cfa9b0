"""The last word on a source: what it became must answer as it did itself."""

from __future__ import annotations

import numpy as np

from convert.errors import SourceError
from convert.sources import graph
from convert.sources.parts import TOLERANCE, Parts, Reference
from edge.datatypes import Float32Array


def verify(parts: Parts) -> None:
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
                f"what it became answers differently (by {far:.2g}), so it is not used; "
                "see whether a layer mixes time steps or behaves as in training, or export it "
                "another way"
            )


def _replayed(parts: Parts, reference: Reference) -> list[Float32Array]:
    """Return the outputs after the last step."""
    if parts.head is None:
        return graph.run(parts.frame, [reference.seen[-1:]])
    widths = [each.shape[1] for each in parts.head.inputs[1:]]
    states = list(reference.states) or [np.zeros((1, width), np.float32) for width in widths]
    answers: list[Float32Array] = []
    for now in reference.seen:
        seen = now[None]
        if parts.frame is not None:
            seen = graph.run(parts.frame, [seen])[0]
        answers = graph.run(parts.head, [seen, *states])
        states = answers[1:]
    return answers
