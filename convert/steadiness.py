"""How far answers wander while nothing changes: what a head learns besides being right.

Cross-entropy charges an answer for being wrong at a step, and nothing for having been another one
the step before: a head that is taught by it alone follows every disturbance that the frame model
cannot tell from an expression. Here the whole path of the probabilities is charged for, as total
variation is in denoising (Rudin, Osher and Fatemi, "Nonlinear total variation based noise removal
algorithms", 1992), with two differences.

- Only steps that show one still alone count: between stills the answer has to move.
- What the answer has to go anyway is free. The path within a still is charged less the straight
  way from its first step to its last, so that a head which changes its mind once, late or not,
  pays nothing for it, and one which goes there and back pays for both ways. Total variation as it
  is makes never changing the cheapest of all, and a head that was taught it answered too late.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edge.datatypes import Float32Array


class Spans(NamedTuple):
    """Which steps of streams belong together; of arrays, or of tensors in a compiled function.

    Attributes
    ----------
    goes_on : float32 array, [streams, steps]
        1 where the step shows the still of the step before, else 0.
    begun : int32 array, [streams, steps]
        The first step of the still that each step shows.
    ends : float32 array, [streams, steps]
        1 for the last step of each still, else 0.
    """

    goes_on: Float32Array
    begun: npt.NDArray[np.int32]
    ends: Float32Array

    def of(self, some: npt.NDArray[np.int64]) -> Spans:
        """Return those of some streams, by their number."""
        return Spans(self.goes_on[some], self.begun[some], self.ends[some])


def spans(stretch: npt.NDArray[np.int64]) -> Spans:
    """Find the stills in streams: `stretch` is that of `streams.Stream` at each step.

    Examples
    --------
    >>> found = spans(np.array([[0, 0, -1, 1, 1, 1]]))
    >>> found.goes_on[0].astype(int).tolist(), found.ends[0].astype(int).tolist()
    ([0, 1, 0, 0, 1, 1], [0, 1, 0, 0, 0, 1])
    >>> found.begun[0].tolist()
    [0, 0, 2, 3, 3, 3]
    """
    goes_on = np.zeros(stretch.shape, bool)
    goes_on[:, 1:] = (stretch[:, 1:] == stretch[:, :-1]) & (stretch[:, 1:] >= 0)
    begun = np.where(goes_on, 0, np.arange(stretch.shape[1]))
    ends = stretch >= 0
    ends[:, :-1] &= ~goes_on[:, 1:]
    return Spans(
        goes_on.astype(np.float32),
        np.maximum.accumulate(begun, axis=1).astype(np.int32),
        ends.astype(np.float32),
    )


def excess(probabilities: tf.Tensor, parts: Spans) -> tf.Tensor:
    """Return how much further than they had to probabilities went, a step within a still.

    Parameters
    ----------
    probabilities
        float32 [streams, steps, labels].
    parts
        Of the same streams.

    Returns
    -------
    float32 scalar
        Lengths are total variation distances, half the sum of absolute differences: from one
        label for certain to another is 1. Zero where no answer ever turns back.
    """
    steps = tf.reduce_sum(tf.abs(probabilities[:, 1:] - probabilities[:, :-1]), axis=2) / 2
    path = tf.reduce_sum(steps * parts.goes_on[:, 1:])
    start = tf.gather(probabilities, parts.begun, batch_dims=1)
    way = tf.reduce_sum(tf.abs(probabilities - start), axis=2) / 2
    straight = tf.reduce_sum(way * parts.ends)
    return (path - straight) / tf.maximum(tf.reduce_sum(parts.goes_on), 1.0)
