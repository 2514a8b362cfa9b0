"""The figure of `convert.robustness`: a panel for each corruption, a line for each model.

Below each panel a drawn face shows what its strengths look like.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convert.corruptions import CORRUPTIONS, STRENGTHS, Corruption
from convert.golden import draw_face
from convert.plots import Theme
from convert.robustness import Robustness, Row

WIDTH = 7.4
"""In inches: three panels beside one another, and the names of the models."""
ACROSS = 3

_COLOURS = ("#009e73", "#cc79a7", "#b09000")
"""After the theme's two: green and purple of Okabe and Ito, and a yellow dark enough for lines."""
_MARKERS = "oDs^v<>p"
_SEED = 3


def draw(found: Robustness, theme: Theme) -> Figure:
    """Draw accuracy against strength, with 95 % intervals."""
    down = -(-len(CORRUPTIONS) // ACROSS)
    figure = Figure(figsize=(WIDTH, 2.15 * down + 0.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.06, wspace=0.03, hspace=0.04)
    panels = figure.subplots(down, ACROSS, sharey=True, squeeze=False).ravel()
    highest = max(share.interval[1] for row in found.rows for share in row.shares.values())
    always = max(found.data.counts, key=lambda name: found.data.counts[name])
    chance = found.data.counts[always] / found.data.n
    for index, (panel, corruption) in enumerate(zip(panels, CORRUPTIONS, strict=True)):
        rows = [row for row in found.rows if row.corruption in ("clean", corruption.name)]
        _ground(panel, chance, max(highest, chance), theme)
        _lines(panel, found, rows, theme)
        _faces(panel, corruption, found.size, theme)
        panel.set_title(corruption.name, loc="left", weight="bold", fontsize=9)
        if index % ACROSS == ACROSS - 1:
            _names(panel, found, rows[-1], theme)
    panels[0].text(
        0.03, chance, f"always “{always}”", color=theme.faint, fontsize=7, va="bottom",
        transform=panels[0].get_yaxis_transform(),
    )  # fmt: skip
    return figure


def _colours(theme: Theme) -> list[str]:
    return [theme.blue, theme.orange, *_COLOURS]


def _ground(panel: Axes, chance: float, highest: float, theme: Theme) -> None:
    panel.axhline(chance, color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)))
    top = min(1.0, highest + 0.06)
    ticks = np.arange(0, top + 0.001, 0.2)
    for tick in ticks:
        panel.axhline(tick, color=theme.faint, linewidth=0.4, alpha=0.5, zorder=0)
    panel.set_yticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    panel.set(xlim=(-0.35, len(STRENGTHS) + 0.35), ylim=(0, top))
    panel.set_xticks([])
    panel.tick_params(axis="y", length=0)
    panel.spines[["left", "bottom"]].set_visible(False)


def _lines(panel: Axes, found: Robustness, rows: list[Row], theme: Theme) -> None:
    colours, places = _colours(theme), [row.strength for row in rows]
    for index, each in enumerate(found.models):
        shares = [row.shares[each.name] for row in rows]
        low, high = zip(*(share.interval for share in shares), strict=True)
        colour = colours[index % len(colours)]
        panel.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
        panel.plot(
            places, [share.accuracy for share in shares], color=colour, linewidth=1.3,
            marker=_MARKERS[index % len(_MARKERS)], markersize=4, clip_on=False,
        )  # fmt: skip


def _names(panel: Axes, found: Robustness, last: Row, theme: Theme) -> None:
    """Write each model's name where its line ends, as near as the others' names allow."""
    colours = _colours(theme)
    ends = [last.shares[each.name].accuracy for each in found.models]
    order = sorted(range(len(ends)), key=ends.__getitem__)
    apart = 0.1 * panel.get_ylim()[1]
    heights = [ends[index] for index in order]
    wanted = float(np.mean(heights))
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + apart)
    # They were pushed apart upwards only, away from the lines.
    too_high = float(np.mean(heights)) - wanted
    for index, height in zip(order, heights, strict=True):
        panel.text(
            len(STRENGTHS) + 0.3, height - too_high, found.models[index].name, va="center",
            fontsize=8, color=colours[index % len(colours)],
        )  # fmt: skip


def _faces(panel: Axes, corruption: Corruption, side: int, theme: Theme) -> None:
    """Show a drawn face below the axis, clean and at each strength."""
    face = draw_face(np.random.default_rng(_SEED), side)
    shown = [face, *(corruption(face, strength) for strength in STRENGTHS)]
    left, right = panel.get_xlim()
    for place, picture in enumerate(shown):
        middle = (place - left) / (right - left)
        inset = panel.inset_axes((middle - 0.11, -0.36, 0.22, 0.3))
        inset.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        inset.set_axis_off()
        inset.text(
            0.5, -0.06, str(place) if place else "clean", ha="center", va="top", fontsize=7,
            color=theme.ink, transform=inset.transAxes,
        )  # fmt: skip
