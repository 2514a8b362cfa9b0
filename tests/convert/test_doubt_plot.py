"""The figures of a model card."""

from __future__ import annotations

import msgspec
import numpy as np

from convert import calibration, doubt_plot, plots
from convert.run import Doubt

MOST_BYTES = 60_000
"""A bundle travels in the wheel with its figures."""


def doubt_of(temperature: float = 1.0, seed: int = 1) -> Doubt:
    random = np.random.default_rng(seed)
    logits = (random.normal(0, 2, (40, 50, 7)) * temperature).astype(np.float32)
    labels = (logits + random.normal(0, 2, logits.shape)).argmax(axis=2)
    stretch = np.zeros(labels.shape, np.int64)
    return calibration.doubt(logits, logits, labels, stretch, np.arange(40) % 5)


def test_figures_are_small_and_repeat() -> None:
    found, other = doubt_plot.files(doubt_of()), doubt_plot.files(doubt_of(seed=2))
    assert list(found) == ["reliability.png", "coverage.png"]
    assert found == doubt_plot.files(doubt_of())
    for name, figure in found.items():
        assert figure.startswith(b"\x89PNG")
        assert len(figure) < MOST_BYTES
        assert figure != other[name]


def texts(doubt: Doubt) -> str:
    return " ".join(
        text.get_text() for text in doubt_plot.coverage(doubt, plots.LIGHT).axes[0].texts
    )


def test_the_chosen_threshold_is_written_beside_the_curve() -> None:
    doubt = doubt_of()
    assert f"unsure below {doubt.abstain_below:g}" in texts(doubt)


def test_thresholds_that_leave_nothing_answered_are_not_drawn() -> None:
    curve = ((0.2, 1.0, 0.5), (0.5, 0.4, 0.9), (0.9, 0.0, 0.0))
    doubt = msgspec.structs.replace(doubt_of(), curve=curve, abstain_below=0.5)
    said = texts(doubt)
    assert "0.5" in said
    assert "0.9" not in said
    assert "40 % answered, 90 % of them right" in said


def test_who_never_answers_is_drawn() -> None:
    doubt = msgspec.structs.replace(doubt_of(), curve=((0.2, 0.0, 0.0),), abstain_below=0.2)
    assert plots.png(doubt_plot.coverage, doubt)
