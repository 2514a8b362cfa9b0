"""Lines over time as SVG: what the soak draws."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from tools.chart import HEIGHT, Line, Panel, chart, thinned


def drawn(*panels: Panel) -> ET.Element:
    return ET.fromstring(chart(panels, "minutes"))  # noqa: S314  # our own


def texts(picture: ET.Element) -> list[str | None]:
    return [each.text for each in picture.iter() if each.tag.endswith("text")]


def test_every_line_is_drawn_below_its_title_and_beside_its_name() -> None:
    one = Panel("memory <MB>", [Line("resident", [0, 1, 2], [3.0, 5.0, 4.0])], limit=6.0)
    two = Panel("events", [Line("", [0, 1, 2], [0.0, 0.0, 0.0])])
    picture = drawn(one, two)
    assert sum(each.tag.endswith("polyline") for each in picture.iter()) == 2
    said = texts(picture)
    assert {"memory <MB>", "resident", "limit 6", "events", "minutes"} <= set(said)


def test_the_axis_begins_at_zero_and_a_higher_value_stands_higher() -> None:
    picture = drawn(Panel("", [Line("", [0, 1], [0.0, 120.0])]))
    (line,) = [each for each in picture.iter() if each.tag.endswith("polyline")]
    (_, floor), (_, top) = (map(float, each.split(",")) for each in line.attrib["points"].split())
    assert 0.0 < top < floor < HEIGHT


@pytest.mark.parametrize("highest", [0.013, 0.9, 1.0, 7.3, 60.0, 119.0, 120.0, 405.0, 99999.0])
def test_the_ticks_are_few_and_round(highest: float) -> None:
    said = texts(drawn(Panel("", [Line("", [0.0, 1.0], [0.0, highest])])))
    ticks = [float(each) for each in said[1:-1] if each]
    assert 4 <= len(ticks) <= 14
    assert 0.0 in ticks


def test_of_many_points_the_extremes_are_kept() -> None:
    y = [0.0] * 10_000
    y[4321], y[8765] = 7.0, -7.0
    line = thinned(Line("", list(range(10_000)), y))
    assert len(line.x) == len(line.y) <= 800
    assert (max(line.y), min(line.y)) == (7.0, -7.0)
    assert line.x == sorted(line.x)
    assert line.x[line.y.index(7.0)] == 4321
