"""From a tile to an estimate, at any frame rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import bundle
from edge.datatypes import UNSURE
from edge.emotion import EmotionModel, Memory
from edge.networks import Embedding, StreamNetworks, softmax

BUNDLE, MANIFEST = bundle.load_stream("mien-fer2013")
LOGITS = next(tensor for tensor in MANIFEST.frame.outputs if tensor.role == "logits")
STEP_S = 1 / MANIFEST.step_hz


class Recorder:
    """Networks whose state is the list of tiles they stepped on, so that time can be read off."""

    def embed(self, tile: str) -> Embedding:
        return Embedding(tile, np.zeros((1, 7), np.int8), LOGITS)  # type: ignore[arg-type]

    def initial_state(self) -> tuple[Any, ...]:
        return ((),)

    def step(self, embedding: Embedding, state: tuple[Any, ...]) -> tuple[Any, Any]:
        return np.zeros(7, np.float32), ((*state[0], embedding.vector),)


def recorded(looks: list[tuple[float, Any]]) -> tuple[Any, ...]:
    """Look at tiles at times, and return the tiles the state has stepped on."""
    model = EmotionModel(Recorder(), MANIFEST)  # type: ignore[arg-type]
    memory: Memory | None = None
    for time_s, tile in looks:
        memory = model.look(tile, memory, time_s).memory
    assert memory is not None
    return tuple(memory.state[0])


@pytest.mark.parametrize("frames_per_second", [5, 10, 15, 30, 60])
def test_the_state_advances_at_the_same_pace_at_every_frame_rate(frames_per_second: int) -> None:
    frames = [(index / frames_per_second, "face") for index in range(2 * frames_per_second + 1)]
    assert len(recorded(frames)) == 2 * MANIFEST.step_hz + 1


def test_fast_frames_are_looked_at_but_only_ticks_are_remembered() -> None:
    thirds = [(index * STEP_S / 3, index) for index in range(7)]
    assert recorded(thirds) == (0, 3, 6)


def test_ticks_between_slow_frames_see_what_was_newest_then() -> None:
    slow = [(index * STEP_S * 3, index) for index in range(3)]
    assert recorded(slow) == (0, 0, 0, 1, 1, 1, 2)


def test_after_a_gap_the_past_is_forgotten() -> None:
    gap = MANIFEST.reset_after_s
    assert recorded([(0.0, "before"), (gap + 0.01, "after")]) == ("after",)
    assert recorded([(0.0, "before"), (gap, "after")])[0] == "before"


@given(st.lists(st.floats(0, 0.9), min_size=1, max_size=40))
def test_whatever_the_times_ticks_never_run_ahead_or_fall_behind(gaps: list[float]) -> None:
    times = np.cumsum([0.0, *(gap * MANIFEST.reset_after_s for gap in gaps)])
    steps = recorded([(float(time_s), time_s) for time_s in times])
    assert len(steps) == int(np.floor((times[-1] + 1e-6) / STEP_S)) + 1
    assert list(steps) == sorted(steps)


def seen_in_turn(count: int, gap_s: float) -> list[Any]:
    """Look at drawn tiles, as far apart as told, and return the looks."""
    model = EmotionModel(StreamNetworks(BUNDLE, MANIFEST), MANIFEST)
    size = MANIFEST.input.size
    tiles = np.random.default_rng(3).integers(0, 256, (count, size, size), dtype=np.uint8)
    looks: list[Any] = []
    for index, tile in enumerate(tiles):
        looks.append(model.look(tile, looks[-1].memory if looks else None, index * gap_s))
    return looks


def test_frames_between_ticks_have_the_answer_of_the_last_tick() -> None:
    looks = seen_in_turn(9, STEP_S / 4)
    for look in looks[1:4]:
        assert look.estimate == looks[0].estimate
        assert look.memory.state is looks[0].memory.state
        assert look.frame_s > 0
    assert looks[4].estimate != looks[3].estimate
    assert looks[7].estimate == looks[4].estimate


def test_the_first_frame_and_every_slow_one_is_answered_from_its_own_picture() -> None:
    networks = StreamNetworks(BUNDLE, MANIFEST)
    looks = seen_in_turn(4, 2.5 * STEP_S)
    first = looks[0].memory
    alone, state = networks.step(first.newest, networks.initial_state())
    assert (first.logits == alone).all()
    # The second frame comes at 2.5 ticks: it is the third tick's, and the second sees the first's.
    for newest in (first.newest, looks[1].memory.newest):
        after, state = networks.step(newest, state)
    assert (looks[1].memory.logits == after).all()
    assert len({look.estimate for look in looks}) == len(looks)


def test_a_face_that_was_forgotten_is_answered_anew() -> None:
    model = EmotionModel(StreamNetworks(BUNDLE, MANIFEST), MANIFEST)
    tile = np.random.default_rng(5).integers(0, 256, [MANIFEST.input.size] * 2, dtype=np.uint8)
    first = model.look(tile, None, 0.0)
    later = model.look(tile, model.look(tile[::-1], first.memory, STEP_S).memory, 60.0)
    assert later.estimate == first.estimate
    assert later.memory.ticks == 1


def test_a_frame_older_than_the_last_tick_steps_nothing() -> None:
    model = EmotionModel(Recorder(), MANIFEST)  # type: ignore[arg-type]
    memory: Memory | None = None
    for time_s in (0.0, 3 * STEP_S, STEP_S, 3.5 * STEP_S):
        memory = model.look("face", memory, time_s).memory  # type: ignore[arg-type]
    assert memory is not None
    assert memory.ticks == len(memory.state[0]) == 4


def test_an_embedding_made_elsewhere_is_taken_in_as_a_look_is() -> None:
    networks = StreamNetworks(BUNDLE, MANIFEST)
    model = EmotionModel(networks, MANIFEST)
    tiles = np.random.default_rng(6).integers(0, 256, (9, *[MANIFEST.input.size] * 2), np.uint8)
    memories: tuple[Memory | None, Memory | None] = (None, None)
    for index, tile in enumerate(tiles):
        time_s = index * STEP_S * 0.7
        look = model.look(tile, memories[0], time_s)
        logits, memory = model.advance(networks.embed(tile), memories[1], time_s)
        assert model.estimate(logits) == look.estimate
        memories = look.memory, memory


def test_two_faces_do_not_hear_of_each_other() -> None:
    model = EmotionModel(StreamNetworks(BUNDLE, MANIFEST), MANIFEST)
    size = MANIFEST.input.size
    rng = np.random.default_rng(4)
    tiles = rng.integers(0, 256, (2, 10, size, size), dtype=np.uint8)

    def alone(faces: np.ndarray) -> list[Any]:
        memory, answers = None, []
        for index, tile in enumerate(faces):
            look = model.look(tile, memory, index * STEP_S)
            memory = look.memory
            answers.append(look.estimate)
        return answers

    apart = [alone(faces) for faces in tiles]
    memories: list[Memory | None] = [None, None]
    together: list[list[Any]] = [[], []]
    for index in range(10):
        for who in (0, 1):
            look = model.look(tiles[who, index], memories[who], index * STEP_S)
            memories[who] = look.memory
            together[who].append(look.estimate)
    assert together == apart


def test_an_answer_nobody_can_trust_is_unsure() -> None:
    model = EmotionModel(Recorder(), MANIFEST)  # type: ignore[arg-type]
    flat = model.estimate(np.zeros(7, np.float32))
    assert flat.emotion == UNSURE
    sure = np.zeros(7, np.float32)
    sure[3] = 20
    assert model.estimate(sure).emotion == MANIFEST.labels[3]


@given(st.lists(st.floats(-50, 50), min_size=7, max_size=7), st.floats(0.1, 10))
def test_probabilities_sum_to_one(logits: list[float], temperature: float) -> None:
    shares = softmax(np.array(logits, np.float32), temperature)
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert (shares >= 0).all()
