"""Measurements as figures, in colours that the colour-blind can tell apart and on two grounds.

Blue and orange are of Okabe and Ito, "Color universal design", 2008.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from convert.metrics import BINS, Bin, Scores, wilson

WIDTH = 5.2
"""In inches. On a phone a figure is shown about as wide as that, so its letters stay legible."""

PNG_DPI = 200
READABLE = 0.55
"""The share from which on a cell is so blue that ink is harder to read on it than ground."""


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a figure; `ground` is what it will stand on."""

    ground: str
    ink: str
    faint: str
    blue: str
    orange: str


LIGHT = Theme("#ffffff", "#1d1d1f", "#8b8b90", "#0072b2", "#d55e00")
DARK = Theme("#16171a", "#e6e6e3", "#85868c", "#56b4e9", "#e69f00")

Draw = Callable[[Scores, Theme], Figure]

Drawn = TypeVar("Drawn")
"""What a figure shows: `Scores`, or another measurement."""


def png(draw: Callable[[Drawn, Theme], Figure], scores: Drawn, *, dpi: float = PNG_DPI) -> bytes:
    """Return a figure as PNG on a light ground; the same scores give the same bytes."""
    return _saved(draw, scores, LIGHT, "png", dpi)


def svg(draw: Callable[[Drawn, Theme], Figure], scores: Drawn, theme: Theme) -> bytes:
    """Return a figure as SVG without a ground; the same scores give the same bytes."""
    return _saved(draw, scores, theme, "svg")


def _saved(
    draw: Callable[[Drawn, Theme], Figure],
    scores: Drawn,
    theme: Theme,
    form: Literal["png", "svg"],
    dpi: float = PNG_DPI,
) -> bytes:
    style = {
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        # Without it every file would have other names in it.
        "svg.hashsalt": "mien",
    }
    # The user's own style sheet must not change a report.
    with mpl.rc_context(mpl.rcParamsDefault), mpl.rc_context(style):
        figure, buffer = draw(scores, theme), io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(
            buffer, format=form, dpi=dpi, metadata=metadata,
            transparent=form == "svg", facecolor=theme.ground,
        )  # fmt: skip
    return buffer.getvalue()


def confusion(scores: Scores, theme: Theme) -> Figure:
    """Draw what is taken for what: each row the shares of a true label's pictures, in percent."""
    counts = np.array(scores.confusion, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    many = len(scores.names)
    figure = Figure(figsize=(WIDTH, WIDTH * 0.9), layout="constrained")
    axes = figure.subplots()
    ramp = LinearSegmentedColormap.from_list("ramp", [theme.ground, theme.blue])
    axes.pcolormesh(shares, cmap=ramp, vmin=0, vmax=1, edgecolor=theme.ground, linewidth=1.5)
    for row, column in np.ndindex(shares.shape):
        share = shares[row, column]
        axes.text(
            column + 0.5, row + 0.5, f"{100 * share:.0f}", ha="center", va="center",
            fontsize=min(9.5, 80 / many),
            weight="bold" if row == column else "normal",
            color=theme.ground if share > READABLE else theme.ink,
        )  # fmt: skip
    places = np.arange(many) + 0.5
    axes.set_xticks(places, scores.names, rotation=40, ha="left", rotation_mode="anchor")
    named = [f"{name}  " for name in scores.names]
    axes.set_yticks(places, named)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="answered", ylabel="in truth", aspect="equal")
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def by_label(scores: Scores, theme: Theme) -> Figure:
    """Draw recall, with its 95 % interval (Wilson), and precision of each label."""
    totals = [sum(row) for row in scores.confusion]
    order = sorted(range(len(totals)), key=lambda index: scores.recall[scores.names[index]])
    names = [scores.names[index] for index in order]
    figure = Figure(figsize=(WIDTH, 0.75 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    for y, index in enumerate(order):
        name, total = scores.names[index], totals[index]
        recall, precision = scores.recall[name], scores.precision[name]
        axes.plot([0, 1], [y, y], color=theme.faint, linewidth=0.4, alpha=0.5, zorder=0)
        if total:
            axes.plot(wilson(scores.confusion[index][index], total), [y, y], color=theme.blue,
                      linewidth=2.2, alpha=0.45, solid_capstyle="butt")  # fmt: skip
        axes.plot(recall, y, "o", color=theme.blue, markersize=6, clip_on=False)
        axes.plot(precision, y, "D", color=theme.orange, markersize=4.8, markerfacecolor="none",
                  markeredgewidth=1.4, clip_on=False)  # fmt: skip
        axes.text(1.04, y, f"{total:,}", va="center", ha="left", color=theme.faint, fontsize=8)
    _name_markers(axes, scores, names[-1], len(names) - 1, theme)
    axes.text(1.04, len(names) - 0.35, "pictures", color=theme.faint, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.1))
    _percent_axis(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure


def _name_markers(axes: Axes, scores: Scores, name: str, y: int, theme: Theme) -> None:
    """Write beside the markers of the topmost label what they are; the figure needs no key."""
    recall, precision = scores.recall[name], scores.precision[name]
    left = recall <= precision
    for share, word, colour, on_left in (
        (recall, "recall", theme.blue, left), (precision, "precision", theme.orange, not left),
    ):  # fmt: skip
        axes.text(
            share + (0.012 if not on_left else -0.012), y + 0.28, word, color=colour, fontsize=8,
            ha="right" if on_left else "left",
        )  # fmt: skip


def reliability(scores: Scores, theme: Theme) -> Figure:
    """Draw how often answers are right against how sure they are, and how many there are."""
    return reliability_of(scores.reliability, scores.ece, theme)


def reliability_of(bins: tuple[Bin, ...], error: float, theme: Theme) -> Figure:
    """Draw a reliability diagram (Guo et al., 2017, figure 1) of bins and their expected error."""
    figure = Figure(figsize=(WIDTH, WIDTH * 0.98), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    upper.plot([0, 1], [0, 1], color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)))
    upper.text(0.99, 0.02, "dashed: right as often as sure", color=theme.faint, fontsize=8,
               ha="right", transform=upper.transAxes)  # fmt: skip
    for each in bins:
        low, high = wilson(round(each.accuracy * each.count), each.count)
        upper.plot([each.confidence] * 2, [low, high], color=theme.blue, linewidth=2.2, alpha=0.35,
                   solid_capstyle="butt")  # fmt: skip
    upper.plot([each.confidence for each in bins], [each.accuracy for each in bins], "o-",
               color=theme.blue, markersize=5, linewidth=1)  # fmt: skip
    upper.text(0.02, 0.97, f"expected calibration error {error:.3f}", va="top", weight="bold",
               transform=upper.transAxes)  # fmt: skip
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    _percent_axis(upper, "y")
    _counts(lower, bins, theme)
    return figure


def _counts(axes: Axes, bins: tuple[Bin, ...], theme: Theme) -> None:
    most = max(each.count for each in bins)
    for each in bins:
        middle = (each.low + each.high) / 2
        axes.bar(middle, each.count, width=0.86 / BINS, color=theme.blue, alpha=0.45)
        axes.text(middle, each.count + 0.04 * most, f"{each.count:,}", ha="center", fontsize=7,
                  color=theme.ink)  # fmt: skip
    axes.set(ylim=(0, 1.2 * most), ylabel="answers", xlabel="confidence")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _percent_axis(axes, "x")


def _percent_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    places = np.linspace(0, 1, 6)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(places, [f"{100 * place:.0f} %" for place in places])


FIGURES: dict[str, Draw] = {
    "by-label": by_label,
    "confusion": confusion,
    "reliability": reliability,
}
"""What each figure's file is called, and what draws it."""
