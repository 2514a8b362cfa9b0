"""The figure of `convert.filter_bench`: a panel for each frame rate, flicker against mean delay.

A line for each family of filters runs through its settings; the head is a star, with its intervals.
Shaded is where a head has to lie: under half the best filters' flicker, or before 70 % of their
delay.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convert.filter_front import DELAY_BAR, FLICKER_BAR, Front, front
from convert.filter_record import MOST_MISSED, Condition, Entry, Filters
from convert.plots import Theme

WIDTH = 7.4
ACROSS = 3

_COLOURS = ("#009e73", "#cc79a7", "#b09000", "#7f5539", "#6c6cff")
"""After the theme's two: green and purple of Okabe and Ito, a yellow dark enough for lines, and
brown and violet."""
_MARKERS = "os^vDP<"


def draw(found: Filters, theme: Theme) -> Figure:
    """Draw what each filter trades for what, at every frame rate."""
    down = -(-len(found.conditions) // ACROSS)
    figure = Figure(figsize=(WIDTH, 2.5 * down + 0.45), layout="constrained")
    panels = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
    entries = [each for condition in found.conditions for each in condition.entries]
    shown = [each for each in entries if each.missed <= MOST_MISSED or each.family == "head"]
    right = 1.05 * max(each.mean_s for each in shown)
    left = 0.9 * min(each.mean_s for each in shown)
    least = min(0.5 / each.unchanged_minutes for each in found.conditions)
    low = 0.4 * max(least, min(each.flicker for each in shown))
    high = 1.4 * max(least, *(each.flicker for each in shown))
    for index, panel in enumerate(panels):
        if index >= len(found.conditions):
            panel.set_visible(False)
            continue
        panel.set(yscale="log", xlim=(left, right), ylim=(low, high))
        _panel(panel, found.conditions[index], theme)
        panel.set_title(found.conditions[index].name, loc="left", weight="bold", fontsize=9)
        if index % ACROSS == 0:
            panel.set_ylabel("changes of answer a minute")
        if index >= len(found.conditions) - ACROSS:
            panel.set_xlabel("mean delay, s")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, [found.bundle if name == "head" else name for name in names],
        loc="outside lower center", ncols=4, frameon=False, fontsize=8,
    )  # fmt: skip
    return figure


def _panel(panel: Axes, condition: Condition, theme: Theme) -> None:
    least = 0.5 / condition.unchanged_minutes
    _goal(panel, condition, least, theme)
    colours = [theme.blue, theme.orange, *_COLOURS]
    families = dict.fromkeys(each.family for each in condition.entries[1:-1])
    for place, family in enumerate(families):
        some = [each for each in condition.entries if each.family == family]
        panel.plot(
            [each.mean_s for each in some], [max(each.flicker, least) for each in some],
            color=colours[place % len(colours)], linewidth=0.9, label=family,
            marker=_MARKERS[place % len(_MARKERS)], markersize=2.6,
        )  # fmt: skip
    alone = condition.entries[0]
    panel.plot(
        alone.mean_s, max(alone.flicker, least), "x", color=theme.ink, markersize=6,
        label="no smoothing", linestyle="none",
    )  # fmt: skip
    _head(panel, condition.head, least, theme)


def _head(panel: Axes, head: Entry, least: float, theme: Theme) -> None:
    """Draw the head with the 95 % intervals of both its figures."""
    flicker = max(head.flicker, least)
    ends = np.maximum(head.flicker_interval, least)
    panel.plot(head.mean_interval, (flicker, flicker), color=theme.ink, linewidth=0.9)
    panel.plot((head.mean_s, head.mean_s), ends, color=theme.ink, linewidth=0.9)
    panel.plot(
        head.mean_s, flicker, "*", color=theme.ink, markersize=10, label="head", linestyle="none"
    )


def _goal(panel: Axes, condition: Condition, least: float, theme: Theme) -> None:
    """Shade where a head has to lie."""
    best = _front(condition, least)
    left, right = panel.get_xlim()
    delays = np.linspace(left, right, 200)
    halved = [FLICKER_BAR * best.at_delay(float(delay))[0] for delay in delays]
    sooner = np.interp(delays / DELAY_BAR, best.delay_s, best.log_flicker)
    low = panel.get_ylim()[0]
    # Sooner than 70 % of the soonest, any flicker up to the soonest's own will do.
    panel.fill_between(
        delays, low, np.maximum(halved, np.exp(sooner)), color=theme.faint, alpha=0.16, linewidth=0
    )


def _front(condition: Condition, least: float) -> Front:
    others = condition.entries[:-1]
    return front(
        np.array([each.mean_s for each in others]),
        np.maximum([each.flicker for each in others], least),
        np.array([each.accuracy for each in others]),
    )
