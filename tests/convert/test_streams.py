"""Composed streams."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drawn import draw_tiles
from hypothesis import given, settings
from hypothesis import strategies as st

from convert import streams
from convert.data import Tiles
from convert.streams import LEARNING, SCORING, Stream, StreamSettings

TILES = Tiles(draw_tiles(14), np.arange(14) % 7)
CALM = dataclasses.replace(LEARNING, misses=0.0, missed_covers=0.0, dropped=0.0)


def compose(seed: int, how: StreamSettings = LEARNING, fps: float = 10.0) -> Stream:
    return streams.compose(TILES, how, np.random.default_rng(seed), fps=fps)


def seen(times: list[float], present: list[int]) -> Stream:
    """A stream of which only the times matter."""
    return Stream(
        times=np.array(times),
        pixels=np.zeros((len(times), 8, 8), np.uint8),
        present=np.array(present, bool),
        targets=np.zeros((len(times), 2), np.float32),
        stretch=np.zeros(len(times), np.int64),
        fps=10.0,
    )


def test_a_seed_decides_a_stream() -> None:
    first, again, other = compose(1), compose(1), compose(2)
    for field in dataclasses.fields(Stream):
        assert np.array_equal(getattr(first, field.name), getattr(again, field.name))
    assert first.pixels.shape != other.pixels.shape or (first.pixels != other.pixels).any()


@pytest.mark.parametrize("fps", [5.0, 7.5, 10.0, 15.0, 30.0])
def test_a_stream_lasts_as_long_as_asked_at_any_rate(fps: float) -> None:
    stream = compose(1, dataclasses.replace(CALM, seconds=4.0), fps)
    assert stream.times == pytest.approx(np.arange(4 * fps) / fps)
    assert (stream.pixels.shape, stream.pixels.dtype) == ((4 * fps, 48, 48), np.uint8)
    assert (stream.targets.shape, stream.targets.dtype) == ((4 * fps, 7), np.float32)
    assert stream.stretch.shape == stream.present.shape == (4 * fps,)
    assert stream.fps == fps


def test_the_frame_rate_does_not_change_what_is_told() -> None:
    slow, fast = compose(4, CALM, 5.0), compose(4, CALM, 30.0)
    assert slow.times == pytest.approx(fast.times[::6])
    assert slow.targets == pytest.approx(fast.targets[::6], abs=2e-4)
    assert (slow.stretch == fast.stretch[::6]).all()


def test_lost_frames_are_absent() -> None:
    stream = compose(3, dataclasses.replace(CALM, dropped=0.5))
    assert 20 <= len(stream.times) < 80
    assert stream.times[0] == 0
    assert np.diff(stream.times).max() > 0.15
    assert stream.times * 10 == pytest.approx(np.rint(stream.times * 10))


def test_the_detector_misses_the_face_now_and_then_but_never_first() -> None:
    often = dataclasses.replace(CALM, misses=60.0)
    found = [compose(seed, often).present for seed in range(10)]
    assert all(present[0] for present in found)
    assert 0.1 < 1 - np.mean(np.concatenate(found)) < 0.4
    assert compose(0, CALM).present.all()


def test_what_hides_the_face_makes_the_detector_miss_it() -> None:
    webcam = dataclasses.replace(CALM.webcam, covers=60.0)
    hidden = dataclasses.replace(CALM, webcam=webcam, missed_covers=1.0)
    assert not all(compose(seed, hidden).present.all() for seed in range(5))


@settings(max_examples=40)  # each composes a stream
@given(seed=st.integers(0, 10_000), fps=st.sampled_from([5.0, 10.0, 12.5]))
def test_targets_say_what_is_in_the_picture(seed: int, fps: float) -> None:
    stream = compose(seed, dataclasses.replace(SCORING, seconds=6.0), fps)
    assert stream.targets.sum(axis=1) == pytest.approx(1.0)
    alone = stream.stretch >= 0
    assert (stream.targets[alone].max(axis=1) == 1).all()
    assert (stream.targets[~alone].max(axis=1) < 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_each_still_has_another_label_than_the_one_before(seed: int) -> None:
    stream = compose(seed)
    labels = stream.targets.argmax(axis=1)
    shown = [labels[stream.stretch == number][0] for number in range(stream.stretch.max() + 1)]
    assert all(one != next_ for one, next_ in zip(shown, shown[1:], strict=False))


def test_a_fade_takes_its_time_from_one_label_to_the_next() -> None:
    fades = dataclasses.replace(CALM, shortest_fade=0.5, longest_fade=0.6, longest_hold=2.0)
    stream = compose(5, fades, 30.0)
    fading = np.flatnonzero(stream.stretch < 0)
    first = fading[: int(np.argmax(np.append(np.diff(fading), 2) > 1)) + 1]
    assert 0.4 < len(first) / 30 < 0.65
    coming = int(stream.targets[first[-1] + 1].argmax())
    assert (np.diff(stream.targets[first, coming]) > 0).all()


def test_a_still_moves_but_a_little() -> None:
    stream = compose(3, CALM)
    held = stream.pixels[stream.stretch == 0].astype(float)
    steps = np.abs(np.diff(held, axis=0)).mean(axis=(1, 2))
    assert (steps > 0).all()
    assert steps.mean() < 25


def test_light_and_motion_run_through_a_change_of_still() -> None:
    """One camera sees all of a stream: its frames are no darker after a fade than before."""
    dark, bright = np.full((1, 48, 48), 60, np.uint8), np.full((1, 48, 48), 200, np.uint8)
    grain = np.random.default_rng(0).integers(-30, 30, (1, 48, 48))
    pixels = (np.concatenate([dark, bright]) + grain).astype(np.uint8)
    two = Tiles(pixels, np.array([0, 1]))
    stream = streams.compose(two, CALM, np.random.default_rng(1))
    means = stream.pixels.mean(axis=(1, 2))
    assert stream.stretch.max() > 0
    assert np.abs(np.diff(means)).max() < 60


def test_tiles_of_one_label_do_for_a_stream() -> None:
    same = Tiles(draw_tiles(3), np.zeros(3, np.int64))
    stream = streams.compose(same, LEARNING, np.random.default_rng(0))
    assert (stream.targets[:, 0] == 1).all()


@pytest.mark.parametrize("side", [20, 24, 64])
def test_tiles_may_have_any_side(side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, side, side)).astype(np.uint8)
    tiles = Tiles(pixels, np.arange(4))
    stream = streams.compose(tiles, SCORING, np.random.default_rng(0), 4)
    assert stream.pixels.shape[1:] == (side, side)


def test_no_range_of_scoring_is_one_the_head_learned_from() -> None:
    for part in ("motion", "webcam"):
        learned, scored = getattr(LEARNING, part), getattr(SCORING, part)
        names = [field.name for field in dataclasses.fields(learned)]
        same = [name for name in names if getattr(learned, name) == getattr(scored, name)]
        assert same in ([], ["shortest_cover"])
    assert LEARNING.features != SCORING.features
    assert LEARNING.steps == SCORING.steps == 80


def test_at_the_heads_own_rate_each_step_sees_its_frame() -> None:
    when = streams.ticks(compose(1, CALM), 80)
    assert (when.seen == np.arange(80)).all()
    assert (when.shown == np.arange(80)).all()


def test_a_step_whose_face_was_missed_sees_the_frame_before() -> None:
    when = streams.ticks(seen([0, 0.1, 0.2, 0.3, 0.4], [1, 1, 0, 0, 1]), 5)
    assert when.seen.tolist() == [0, 1, 1, 1, 4]
    assert when.shown.tolist() == [0, 1, 2, 3, 4]


def test_a_lost_frame_is_neither_seen_nor_shown() -> None:
    when = streams.ticks(seen([0, 0.1, 0.3], [1, 1, 1]), 5)
    assert when.seen.tolist() == [0, 1, 1, 2, 2]
    assert when.shown.tolist() == [0, 1, 1, 2, 2]


def test_frames_between_two_steps_are_not_seen() -> None:
    when = streams.ticks(seen([index / 30 for index in range(9)], [1] * 9), 3)
    assert when.seen.tolist() == [0, 3, 6]


@given(
    present=st.lists(st.booleans(), min_size=1, max_size=40),
    fps=st.sampled_from([5.0, 7.5, 10.0, 12.0, 30.0]),
)
def test_steps_see_what_the_device_steps_on(present: list[bool], fps: float) -> None:
    """The device's own code, with networks that only note what they were given."""
    present[0] = True
    stream = seen([index / fps for index in range(len(present))], [int(each) for each in present])
    stepped = list[int]()
    ticks_done, newest = 0, 0
    for frame in np.flatnonzero(stream.present).tolist():
        # As edge.emotion counts them.
        due = int(np.floor((stream.times[frame] + 1e-6) / 0.1)) + 1
        stepped += [newest] * (due - ticks_done - 1)
        if due > ticks_done:
            stepped.append(frame)
        ticks_done, newest = due, frame
    assert streams.ticks(stream, len(stepped)).seen.tolist() == stepped


def test_the_heads_looks_are_one_for_each_step() -> None:
    seen_ = streams.looks(TILES, SCORING, np.random.default_rng(2), 7)
    assert seen_.shape == (80, 48, 48)
