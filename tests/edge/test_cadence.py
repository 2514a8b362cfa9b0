"""How often a camera is looked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cadence import COOLER_BY, Cadence, Heat
from edge.settings import Cadence as Settings

RULES = Settings(idle_after_s=30.0, idle_fps=4.0, hot_celsius=80.0, hot_fps=5.0)


def at(cadence: Cadence, time_s: float, *, candidates: int = 0, tracks: int = 0) -> float:
    cadence.saw(candidates=candidates, tracks=tracks, time_s=time_s)
    return cadence.interval_s(hot=False)


def test_an_empty_room_is_looked_at_less_often_after_the_time_set() -> None:
    cadence = Cadence(RULES)
    assert at(cadence, 100.0) == 0.0
    assert at(cadence, 129.9) == 0.0
    assert cadence.pace(hot=False) == "full"
    assert at(cadence, 130.0) == 0.25
    assert cadence.pace(hot=False) == "idle"


def test_the_first_sight_of_a_face_is_enough_to_look_at_every_frame() -> None:
    cadence = Cadence(RULES)
    at(cadence, 0.0)
    assert at(cadence, 60.0) == 0.25
    assert at(cadence, 60.2, candidates=1) == 0.0
    assert at(cadence, 60.3, candidates=1, tracks=1) == 0.0
    assert at(cadence, 90.2) == 0.0
    assert at(cadence, 90.3) == 0.25


def test_a_mistake_of_the_detector_is_looked_at_once_and_no_longer() -> None:
    cadence = Cadence(RULES)
    at(cadence, 0.0)
    assert at(cadence, 60.0, candidates=1) == 0.0
    assert at(cadence, 60.1) == 0.25


def test_a_hot_board_looks_less_often_even_at_faces() -> None:
    cadence = Cadence(RULES)
    at(cadence, 0.0, candidates=1, tracks=1)
    assert cadence.interval_s(hot=True) == 0.2
    assert cadence.pace(hot=True) == "hot"
    at(cadence, 60.0)
    assert cadence.interval_s(hot=True) == 0.25


def test_a_stream_whose_time_begins_again_is_not_idle() -> None:
    cadence = Cadence(RULES)
    at(cadence, 1000.0)
    assert at(cadence, 5.0) == 0.0
    assert at(cadence, 34.0) == 0.0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0.0, 20.0))))
def test_a_face_in_view_is_never_kept_waiting(looks: list[tuple[int, int, float]]) -> None:
    cadence, time_s = Cadence(RULES), 0.0
    for candidates, tracks, wait_s in looks:
        time_s += wait_s
        interval_s = at(cadence, time_s, candidates=candidates + tracks, tracks=tracks)
        assert interval_s in (0.0, 0.25)
        if candidates + tracks:
            assert interval_s == 0.0


@pytest.mark.parametrize(
    ("celsius", "hot"),
    [
        ([79.9], False),
        ([80.0], True),
        ([85.0, 79.0, 75.0], True),
        ([85.0, 80.0 - COOLER_BY - 0.1], False),
        ([85.0, None], False),
        ([None], False),
    ],
)
def test_a_board_is_hot_until_it_is_plainly_cooler(
    celsius: list[float | None], *, hot: bool
) -> None:
    heat = Heat(80.0)
    for each in celsius:
        heat.feel(each)
    assert heat.hot is hot
