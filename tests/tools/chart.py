"""Lines over time, as SVG: nothing a device's test environment would have to install."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 900, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 130, 24, 14
_POINTS = 400
_COLOURS = ("#0b6e99", "#d9730d", "#6c757d")


@dataclass(frozen=True, slots=True)
class Line:
    """One series; without a name it has no legend."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over one axis, from zero up; `limit` is drawn across."""

    title: str
    lines: Sequence[Line]
    limit: float | None = None


def chart(panels: Sequence[Panel], axis: str) -> str:
    """Return panels below each other, all over the same time."""
    last = max(line.x[-1] for panel in panels for line in panel.lines)
    height = HEIGHT * len(panels) + 30
    size = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate(0 {number * HEIGHT})">{_panel(panel, last)}</g>')
    bottom = HEIGHT * len(panels) + 4
    for step in _steps(last):
        x = _across(step, last)
        parts.append(f'<text x="{x:.0f}" y="{bottom}" text-anchor="middle">{step:g}</text>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 18}" fill="#555">{escape(axis)}</text></svg>\n')
    return "\n".join(parts)


def thinned(line: Line) -> Line:
    """Return at most twice `_POINTS` points: of each stretch the least and the greatest."""
    size = math.ceil(len(line.x) / _POINTS)
    if size <= 2:
        return line
    kept: list[int] = []
    for begin in range(0, len(line.x), size):
        stretch = range(begin, min(begin + size, len(line.x)))
        ends = {min(stretch, key=line.y.__getitem__), max(stretch, key=line.y.__getitem__)}
        kept += sorted(ends)
    return Line(line.name, [line.x[index] for index in kept], [line.y[index] for index in kept])


def _panel(panel: Panel, last: float) -> str:
    highest = max([panel.limit or 0.0, *(max(line.y) for line in panel.lines)]) or 1.0
    right = WIDTH - _RIGHT
    parts = [f'<text x="{_LEFT}" y="{_TOP - 8}" font-weight="bold">{escape(panel.title)}</text>']
    for step in _steps(highest):
        y = _up(step, highest)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{step:g}</text>')
    if panel.limit is not None:
        y = _up(panel.limit, highest)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#c00" stroke-dasharray="5 4"/>')
        text = f"limit {panel.limit:g}"
        parts.append(f'<text x="{right + 8}" y="{y + 4:.1f}" fill="#c00">{text}</text>')
    for number, line in enumerate(map(thinned, panel.lines)):
        points = " ".join(
            f"{_across(x, last):.1f},{_up(y, highest):.1f}"
            for x, y in zip(line.x, line.y, strict=True)
        )
        colour, y = _COLOURS[number % len(_COLOURS)], _TOP + 34 + 16 * number
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts.append(f'<text x="{right + 8}" y="{y}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join(parts)


def _steps(highest: float) -> list[float]:
    """Return round numbers from 0 to at most `highest`, three to six of them."""
    power = 10.0 ** math.floor(math.log10(highest))
    sizes = (0.2, 0.25, 0.5, 1.0, 2.0)
    step = next(size * power for size in sizes if highest / (size * power) < 6.0)
    return [number * step for number in range(math.floor(highest / step) + 1)]


def _across(x: float, last: float) -> float:
    return _LEFT + x / last * (WIDTH - _LEFT - _RIGHT)


def _up(y: float, highest: float) -> float:
    return HEIGHT - _BOTTOM - y / highest * (HEIGHT - _TOP - _BOTTOM)
