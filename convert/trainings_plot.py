"""The curves of `convert.trainings`: accuracy on `val` against the epoch, a line for each run."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convert.plots import Theme
from convert.trainings import Training, Trainings

WIDTH = 7.4
"""In inches."""
_LINES = 12
"""Beyond so many, names take a column of their own below one another in smaller letters."""


def draw(found: Trainings, theme: Theme) -> Figure:
    """Draw a panel for each policy, since accuracies under two do not compare."""
    policies = sorted({each.policy for each in found.runs})
    figure = Figure(figsize=(WIDTH, 3.6 * len(policies)), layout="constrained")
    panels = figure.subplots(len(policies), 1, squeeze=False).ravel()
    for panel, policy in zip(panels, policies, strict=True):
        runs = [each for each in found.runs if each.policy == policy]
        _lines(panel, runs, theme)
        panel.set_title(f"--policy {policy}", loc="left", weight="bold", fontsize=9)
    return figure


def _lines(panel: Axes, runs: list[Training], theme: Theme) -> None:
    shades = np.linspace(0.45, 1.0, max(1, len(runs) - 1))
    curves = [[figures["val_accuracy"] for figures in each.record.epochs] for each in runs]
    for index, (each, curve) in enumerate(zip(runs, curves, strict=True)):
        first = index == 0
        panel.plot(
            np.arange(1, len(curve) + 1), curve, label=each.name,
            color=theme.blue if first else theme.orange,
            alpha=1.0 if first else float(shades[index - 1]),
            linewidth=2.0 if first else 1.0,
            linestyle="-" if index < 1 else ("-", "--", ":", "-.")[index % 4],
        )  # fmt: skip
    # The first epochs are alike and would take most of the height.
    ends = [max(curve) for curve in curves]
    low = min(ends) - 0.6 * max(0.05, max(ends) - min(ends))
    panel.set_ylim(max(0.0, low - 0.03), min(1.0, max(ends) + 0.02))
    panel.set_xlabel("epoch", fontsize=8)
    ticks = panel.get_yticks()
    panel.set_yticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    panel.set_ylim(max(0.0, low - 0.03), min(1.0, max(ends) + 0.02))
    panel.grid(visible=True, color=theme.faint, linewidth=0.4, alpha=0.5)
    panel.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False,
        fontsize=7 if len(runs) <= _LINES else 6, labelcolor=theme.ink,
    )  # fmt: skip
