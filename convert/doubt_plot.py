"""The figures of a model card: how far a bundle's doubt can be believed, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from convert import plots
from convert.plots import Theme
from convert.run import Doubt

_MARKS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds that are written beside the curve."""


def reliability(doubt: Doubt, theme: Theme) -> Figure:
    """Draw the head's reliability diagram on composed streams, cross-fitted."""
    return plots.reliability_of(doubt.head.reliability, doubt.head.ece, theme)


def coverage(doubt: Doubt, theme: Theme) -> Figure:
    """Draw how often answers are right against the share of steps that are answered.

    The risk/coverage curve of El-Yaniv and Wiener, "On the foundations of noise-free selective
    classification", 2010, with accuracy for risk.
    """
    figure = Figure(figsize=(plots.WIDTH, plots.WIDTH * 0.72), layout="constrained")
    axes = figure.subplots()
    some = [point for point in doubt.curve if point[1] > 0]
    axes.plot([each[1] for each in some], [each[2] for each in some], color=theme.blue,
              linewidth=1.4)  # fmt: skip
    for low, answered, right in some:
        if low in _MARKS:
            axes.plot(answered, right, "o", color=theme.blue, markersize=3.5)
            axes.annotate(f"{low:g}", (answered, right), (4, 4), textcoords="offset points",
                          color=theme.faint, fontsize=7.5)  # fmt: skip
    chosen = [point for point in some if point[0] == doubt.abstain_below]
    for low, answered, right in chosen:
        axes.plot(answered, right, "D", color=theme.orange, markersize=6)
        axes.annotate(
            f"unsure below {low:g}: {100 * answered:.0f} % answered, {100 * right:.0f} % of them "
            "right", (answered, right), (-8, -16), textcoords="offset points", ha="right",
            color=theme.orange, weight="bold",
        )  # fmt: skip
    least = min((each[2] for each in some), default=0.0)
    axes.set(xlim=(0, 1.02), ylim=(max(0.0, least - 0.12), 1.0), xlabel="steps answered",
             ylabel="of those, right")  # fmt: skip
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    return figure


FIGURES: dict[str, Callable[[Doubt, Theme], Figure]] = {
    "reliability.png": reliability,
    "coverage.png": coverage,
}
"""What each figure's file is called, and what draws it."""

_DPI = 120
"""The files travel with a bundle in the wheel: 30 to 50 kB each."""


def files(doubt: Doubt) -> dict[str, bytes]:
    """Return the figures as PNG, by the names of their files; the same doubt, the same bytes."""
    return {name: plots.png(draw, doubt, dpi=_DPI) for name, draw in FIGURES.items()}
