"""The figure of `convert.event_bench`: needless changes against delay, rule by rule."""

from __future__ import annotations

from itertools import groupby

from matplotlib.figure import Figure

from convert.event_record import EventsBench
from convert.plots import WIDTH, Theme


def draw(found: EventsBench, theme: Theme) -> Figure:
    """Draw a line through the margins of each hold, the front, and the presets."""
    figure = Figure(figsize=(WIDTH, WIDTH * 0.8), layout="constrained")
    axes = figure.subplots()
    for hold_s, some in groupby(found.grid, key=lambda each: each.hold_s):
        line = list(some)
        axes.plot([each.delay_s for each in line], [each.flicker for each in line], ".-",
                  color=theme.faint, linewidth=0.7, markersize=3)  # fmt: skip
        axes.annotate(f"{hold_s:g} s", (line[0].delay_s, line[0].flicker), (0, 5),
                      textcoords="offset points", color=theme.faint, fontsize=7)  # fmt: skip
    front = [found.grid[place] for place in found.front]
    axes.plot([each.delay_s for each in front], [each.flicker for each in front],
              color=theme.blue, linewidth=1.4)  # fmt: skip
    for name, preset in found.presets.items():
        chosen = preset.chosen
        axes.plot(chosen.delay_s, chosen.flicker, "D", color=theme.orange, markersize=6)
        axes.annotate(name, (chosen.delay_s, chosen.flicker), (7, 4), textcoords="offset points",
                      color=theme.orange, weight="bold")  # fmt: skip
    axes.text(0.98, 0.97, "grey: one hold each, along its margins\nblue: unbeaten", ha="right",
              va="top", color=theme.faint, fontsize=8, transform=axes.transAxes)  # fmt: skip
    axes.set(xlabel="mean delay of a change, s", ylabel="needless changes a minute")
    axes.set_ylim(bottom=0)
    return figure
