"""Who is who between frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.datatypes import Box, Detection, Keypoints, Point
from edge.tracker import Tracker, distance, moved


def face(x: float, y: float, size: float = 0.2) -> Detection:
    return Detection(
        Box(x - size / 2, y - size / 2, size, size), Keypoints(*[Point(x, y)] * 6), 0.9
    )


def tracker(confirm: int = 2, bridge_s: float = 0.5, most: int = 16) -> Tracker:
    return Tracker(confirm=confirm, bridge_s=bridge_s, most=most)


def test_a_face_is_told_when_it_was_detected_often_enough() -> None:
    faces = tracker(confirm=3)
    assert faces.detected([face(0.5, 0.5)], 0.0).present == ()
    assert faces.detected([face(0.5, 0.5)], 0.1).present == ()
    (track,) = faces.detected([face(0.5, 0.5)], 0.2).present
    assert track.number == 1
    assert track.first_seen_s == 0.0


def test_one_false_detection_is_never_told() -> None:
    faces = tracker()
    faces.detected([face(0.5, 0.5)], 0.0)
    assert faces.detected([], 0.1).present == ()
    assert faces.detected([face(0.5, 0.5)], 0.2).present == ()
    assert faces.finish() == ()


def test_a_moving_face_keeps_its_number() -> None:
    faces = tracker()
    numbers = {
        track.number
        for step in range(20)
        for track in faces.detected([face(0.1 + 0.04 * step, 0.5)], step / 10).present
    }
    assert numbers == {1}


def test_two_faces_that_pass_each_other_keep_their_numbers() -> None:
    faces = tracker()
    for step in range(21):
        left, right = face(0.2 + 0.03 * step, 0.35), face(0.8 - 0.03 * step, 0.65)
        present = faces.detected([right, left], step / 20).present
    upper = next(track for track in present if track.face.box.y < 0.5)
    assert upper.face.box.x > 0.5
    assert {track.number for track in present} == {1, 2}
    first = faces.detected([left, right], 1.1).present[0]
    assert first.number == 1


def test_a_short_loss_is_bridged() -> None:
    faces = tracker(bridge_s=0.5)
    faces.detected([face(0.5, 0.5)], 0.0)
    faces.detected([face(0.5, 0.5)], 0.1)
    lost = faces.detected([], 0.4)
    assert (lost.present, lost.ended) == ((), ())
    (track,) = faces.detected([face(0.5, 0.5)], 0.6).present
    assert track.number == 1


def test_a_long_loss_ends_the_track_once_and_its_number_is_not_reused() -> None:
    faces = tracker(bridge_s=0.5)
    faces.detected([face(0.5, 0.5)], 0.0)
    faces.detected([face(0.5, 0.5)], 0.1)
    assert faces.detected([], 0.6).ended == ()
    assert [track.number for track in faces.detected([], 0.7).ended] == [1]
    assert faces.detected([], 0.8).ended == ()
    faces.detected([face(0.5, 0.5)], 0.9)
    assert [track.number for track in faces.detected([face(0.5, 0.5)], 1.0).present] == [2]


def test_between_detections_a_face_is_where_its_motion_takes_it() -> None:
    faces = tracker()
    for step in range(10):
        faces.detected([face(0.2 + 0.02 * step, 0.5)], step / 10)
    (track,) = faces.predicted(1.0).present
    centre = track.face.box.x + track.face.box.width / 2
    assert abs(centre - 0.40) < 0.01
    assert abs(track.face.keypoints.mouth.x - 0.40) < 0.01


def test_a_face_that_grows_quickly_is_not_a_face_far_behind_it() -> None:
    assert distance(face(0.5, 0.5, 0.1).box, face(0.5, 0.5, 0.4).box) > 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.9)), max_size=12))
def test_a_crowd_that_stands_still_keeps_its_numbers(
    places: list[tuple[float, float, float]],
) -> None:
    apart = [
        place
        for index, place in enumerate(places)
        if all(distance(face(*place).box, face(*each).box) > 1 for each in places[:index])
    ]
    faces = tracker(confirm=1)
    first = faces.detected([face(*place) for place in apart], 0.0).present
    again = faces.detected([face(*place) for place in reversed(apart)], 0.1).present
    assert [track.face for track in first] == [track.face for track in again]


def test_finish_ends_every_told_track() -> None:
    faces = tracker()
    for time_s in (0.0, 0.1):
        faces.detected([face(0.2, 0.5), face(0.8, 0.5)], time_s)
    assert [track.number for track in faces.finish()] == [1, 2]
    assert faces.finish() == ()


spots = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 0.5)), max_size=5).map(
    lambda places: [face(*place) for place in places]
)


@given(st.lists(st.tuples(spots, st.booleans()), max_size=30), st.integers(1, 3))
def test_whatever_is_detected_tracks_are_born_once_live_on_and_die_once(
    frames: list[tuple[list[Detection], bool]], confirm: int
) -> None:
    faces = tracker(confirm=confirm)
    born: list[int] = []
    dead: list[int] = []
    for index, (detections, looks) in enumerate(frames):
        now = index / 5
        result = faces.detected(detections, now) if looks else faces.predicted(now)
        numbers = [track.number for track in result.present]
        assert len(set(numbers)) == len(numbers)
        assert not set(numbers) & set(dead)
        born += [number for number in numbers if number not in born]
        if looks:
            assert len(numbers) <= len(detections)
            assert all(track.face in detections for track in result.present)
        dead += [track.number for track in result.ended]
    dead += [track.number for track in faces.finish()]
    assert sorted(dead) == sorted(set(dead))
    assert born == sorted(born)
    assert set(born) <= set(dead)


@given(spots, st.floats(-1, 1), st.floats(-1, 1))
def test_a_moved_face_keeps_its_shape(faces: list[Detection], x: float, y: float) -> None:
    for each in faces:
        there = moved(each, x, y)
        assert (there.box.width, there.box.height) == (each.box.width, each.box.height)
        assert abs(there.box.x - each.box.x - x) < 1e-9
        assert abs(there.keypoints.nose_tip.y - each.keypoints.nose_tip.y - y) < 1e-9


# Crowds


def test_in_a_crowd_the_largest_are_followed() -> None:
    faces = tracker(confirm=1, most=2)
    crowd = [face(0.1, 0.5, 0.1), face(0.5, 0.5, 0.3), face(0.9, 0.5, 0.2)]
    present = faces.detected(crowd, 0.0).present
    assert [track.face.box.width for track in present] == [0.3, 0.2]
    assert faces.candidates == 2


def test_in_a_crowd_of_equals_nobody_takes_anothers_place() -> None:
    faces = tracker(most=4)
    ended = 0
    numbers = set()
    for step in range(50):
        # Who is largest is another at every look.
        crowd = [face(0.05 + 0.1 * i, 0.5, 0.05 + 0.01 * ((i + step) % 3)) for i in range(10)]
        tracking = faces.detected(crowd, step / 10)
        ended += len(tracking.ended)
        numbers |= {track.number for track in tracking.present}
    assert (numbers, ended) == ({1, 2, 3, 4}, 0)


def test_who_comes_close_is_followed_and_the_smallest_is_ended_at_once() -> None:
    faces = tracker(confirm=1, most=2)
    crowd = [face(0.1, 0.5, 0.1), face(0.3, 0.5, 0.11)]
    faces.detected(crowd, 0.0)
    tracking = faces.detected([*crowd, face(0.7, 0.5, 0.3)], 0.1)
    assert [track.number for track in tracking.ended] == [1]
    assert [track.number for track in tracking.present] == [2, 3]


def test_one_who_is_carried_over_keeps_his_place() -> None:
    faces = tracker(confirm=1, most=2, bridge_s=1.0)
    crowd = [face(0.1, 0.5, 0.1), face(0.3, 0.5, 0.1)]
    faces.detected(crowd, 0.0)
    faces.detected([crowd[0], face(0.7, 0.5, 0.1)], 0.1)
    present = faces.detected(crowd, 0.2).present
    assert [track.number for track in present] == [1, 2]


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.5)), max_size=12),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_no_more_are_ever_followed_and_each_ends_once(
    looks: list[list[tuple[float, float, float]]], most: int
) -> None:
    faces = tracker(confirm=1, most=most, bridge_s=0.15)
    begun: set[int] = set()
    ended: list[int] = []
    for step, look in enumerate(looks):
        tracking = faces.detected([face(*each) for each in look], step / 10)
        assert faces.candidates <= most
        begun |= {track.number for track in tracking.present}
        ended += [track.number for track in tracking.ended]
    ended += [track.number for track in faces.finish()]
    assert sorted(ended) == sorted(begun)
