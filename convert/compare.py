"""A head beside the frame model it follows, on composed streams; numbers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert import metrics
from convert.run import StreamReport
from convert.streams import STEP_HZ
from edge.datatypes import Float32Array
from edge.networks import softmax

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.6)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Streams as a frame model sees them at each step of the head; see `streams.Ticks`.

    Attributes
    ----------
    embeddings : float32 array, [streams, steps, width]
    frame_logits : float32 array, [streams, steps, labels]
    targets : float32 array, [streams, steps, labels]
    stretch : int64 array, [streams, steps]
        As in `streams.Stream`.
    """

    embeddings: Float32Array
    frame_logits: Float32Array
    targets: Float32Array
    stretch: npt.NDArray[np.int64]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label that most of the picture shows, [streams, steps]."""
        return np.asarray(np.argmax(self.targets, axis=2), dtype=np.int64)


def compare(seen: Embedded, logits: Float32Array, temperature: float | None = None) -> StreamReport:
    """Measure the head's logits beside the frame model's; fit the temperature unless given."""
    steady = seen.stretch >= 0
    truth = seen.labels
    answers, alone = logits.argmax(axis=2), seen.frame_logits.argmax(axis=2)
    if temperature is None:
        temperature = metrics.fit_temperature(logits[steady], truth[steady])
    probabilities = softmax(logits[steady], temperature)
    before = softmax(logits[steady], 1.0)
    return StreamReport(
        streams=len(truth),
        steps=truth.shape[1],
        frame_accuracy=float((alone == truth)[steady].mean()),
        head_accuracy=float((answers == truth)[steady].mean()),
        frame_flips_a_minute=metrics.flips_a_minute(alone, seen.stretch, STEP_HZ),
        head_flips_a_minute=metrics.flips_a_minute(answers, seen.stretch, STEP_HZ),
        temperature=temperature,
        ece_before=metrics.calibration_error(before, truth[steady]),
        ece=metrics.calibration_error(probabilities, truth[steady]),
        coverage=metrics.coverage(probabilities, truth[steady], THRESHOLDS),
    )
