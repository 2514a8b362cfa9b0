"""A composed stream as one sheet: a row of frames for each second, and the truth over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convert.plots import Theme
from convert.streams import Stream

WIDTH = 7.4
"""In inches, as of a page's widest figure."""

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8b8b90")
"""Of labels in turn: Okabe and Ito, "Color universal design", 2008."""

_MANY = 12
"""Frames in a row beyond which there is no room for words below each."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """What a sheet shows."""

    stream: Stream
    labels: tuple[str, ...]
    title: str


def draw(sheet: Sheet, theme: Theme) -> Figure:
    """Draw a stream; lost frames leave gaps, frames in which the face was missed are framed."""
    stream = sheet.stream
    across = max(1, round(stream.fps))
    rows = int(stream.times[-1]) + 1
    cell = WIDTH * 0.95 / across
    figure = Figure(figsize=(WIDTH, rows * cell + 1.5), layout="constrained")
    frames, truth = figure.subplots(2, 1, height_ratios=(rows * cell, 0.6))
    figure.suptitle(sheet.title, x=0.02, ha="left", fontsize=8.5, weight="bold")
    _frames(frames, sheet, across, rows, theme)
    _truth(truth, sheet, theme)
    return figure


def _frames(axes: Axes, sheet: Sheet, across: int, rows: int, theme: Theme) -> None:
    stream, side = sheet.stream, sheet.stream.pixels.shape[1]
    picture = np.full((rows * side, across * side), np.nan, np.float32)
    # A row's last frame may start a hair before the next second.
    places = np.rint(stream.times * stream.fps).astype(int)
    for number, place in enumerate(places):
        second = int(stream.times[number] + 1e-6)
        row, column = second, place - int(np.ceil(second * stream.fps - 1e-6))
        top, left = row * side, min(column, across - 1) * side
        picture[top : top + side, left : left + side] = stream.pixels[number]
        if not stream.present[number]:
            box = (left + 0.5, top + 0.5), side - 2, side - 2
            axes.add_patch(Rectangle(*box, fill=False, edgecolor=theme.orange, linewidth=1.2))
        if across <= _MANY:
            _name(axes, sheet, number, (left + 1.5, top + side - 3))
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks((np.arange(rows) + 0.5) * side - 0.5, [f"{row} s" for row in range(rows)])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _name(axes: Axes, sheet: Sheet, number: int, place: tuple[float, float]) -> None:
    """Write a frame's label on it; in a fade the one there is more of, and how much."""
    target = sheet.stream.targets[number]
    best = int(target.argmax())
    share = f" {100 * target[best]:.0f} %" if sheet.stream.stretch[number] < 0 else ""
    ground = {"facecolor": "black", "alpha": 0.45, "pad": 0.6, "linewidth": 0}
    axes.text(*place, sheet.labels[best] + share, color="white", fontsize=4.5, bbox=ground)


def _truth(axes: Axes, sheet: Sheet, theme: Theme) -> None:
    """Draw how much of each label there is, and mark frames in which the face was missed."""
    stream = sheet.stream
    for index, label in enumerate(sheet.labels):
        share = stream.targets[:, index]
        if share.any():
            axes.plot(stream.times, share, color=_COLOURS[index % len(_COLOURS)], linewidth=1.3)
            most = int(share.argmax())
            held = np.flatnonzero(share > share[most] - 0.01)
            middle = float(stream.times[held[0]] + stream.times[_run_end(held)]) / 2
            axes.text(middle, 1.06, label, ha="center", fontsize=7,
                      color=_COLOURS[index % len(_COLOURS)])  # fmt: skip
    missed = stream.times[~stream.present]
    axes.plot(missed, np.full(len(missed), -0.12), "s", color=theme.orange, markersize=2.5)
    axes.set(xlim=(0, stream.times[-1]), ylim=(-0.2, 1.25), yticks=(0, 1))
    axes.set_yticks([0, 1], ["0", "all"])
    axes.set_xlabel("seconds; orange: face missed by the detector; empty: frame lost", fontsize=7)
    axes.tick_params(length=0, labelsize=7)


def _run_end(held: np.ndarray) -> int:
    """Return the last of the first run of whole numbers that follow one another."""
    breaks = np.flatnonzero(np.diff(held) > 1)
    return int(held[breaks[0]] if breaks.size else held[-1])
