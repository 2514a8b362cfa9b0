"""The outbox keeps order and its promise; the board keeps the newest."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.datatypes import Event, EventBox, Latency, TrackInfo
from edge.outbox import Board, MemoryOutbox, Message

FIRST = Event(
    id="boot-0",
    seq=1,
    boot_id="boot",
    type="start",
    camera="door",
    track=TrackInfo(id=1, age_ms=0),
    box=EventBox(x=0.0, y=0.0, width=1.0, height=1.0),
    emotion="happy",
    confidence=1.0,
    probs={"happy": 1.0},
    valence=0.8,
    ts="2026-01-02T03:04:05.678Z",
    clock_synced=False,
    latency_ms=Latency(capture=0.0, detect=0.0, crop=0.0, frame=0.0, head=0.0, total=0.0),
    bundle="test@1+0",
)


def event(seq: int) -> Event:
    return replace(FIRST, id=f"boot-{seq}", seq=seq)


def test_events_are_taken_once_in_order_and_stay_until_acknowledged() -> None:
    outbox = MemoryOutbox(10)
    for seq in (1, 2, 3):
        outbox.append(event(seq))
    assert [held.event.seq for held in outbox.take(2)] == [1, 2]
    assert [held.event.seq for held in outbox.take(2)] == [3]
    assert outbox.take(2) == []
    assert (outbox.depth, outbox.last) == (3, 3)
    outbox.acknowledge(2)
    assert outbox.depth == 2
    outbox.release()
    assert [held.event.seq for held in outbox.take(9)] == [1, 3]


def test_a_full_outbox_drops_the_oldest_even_one_on_its_way() -> None:
    outbox = MemoryOutbox(2)
    outbox.append(event(1))
    (first,) = outbox.take(1)
    outbox.append(event(2))
    outbox.append(event(3))
    assert (outbox.depth, outbox.dropped) == (2, 1)
    outbox.acknowledge(first.number)
    assert outbox.depth == 2
    assert [held.event.seq for held in outbox.take(9)] == [2, 3]


Step = tuple[Literal["append", "take", "acknowledge", "release"], int]
steps = st.lists(
    st.tuples(st.sampled_from(["append", "take", "acknowledge", "release"]), st.integers(0, 5)),
    max_size=120,
)


@given(steps, st.integers(1, 8))
def test_nothing_is_lost_uncounted_or_out_of_order(steps: list[Step], size: int) -> None:
    outbox = MemoryOutbox(size)
    flying: list[int] = []
    kept: list[int] = []
    seq = dropped = 0
    for step, choice in steps:
        if step == "append":
            outbox.append(event(seq := seq + 1))
            kept.append(seq)
            if len(kept) > size:
                kept.pop(0)
                dropped += 1
        elif step == "take":
            taken = outbox.take(choice)
            numbers = [held.number for held in taken]
            assert numbers == [held.event.seq for held in taken]
            assert numbers == [each for each in kept if each not in flying][:choice]
            flying += numbers
        elif step == "acknowledge" and flying:
            number = flying[choice % len(flying)]
            outbox.acknowledge(number)
            kept = [each for each in kept if each != number]
        elif step == "release":
            outbox.release()
            flying = []
        assert (outbox.depth, outbox.dropped, outbox.last) == (len(kept), dropped, seq)
    outbox.release()
    assert [held.number for held in outbox.take(size)] == kept


def text(board: Board) -> list[tuple[str, bytes]]:
    taken = iter(board.take, None)
    return [(message.topic, message.payload) for message in taken if message is not None]


def test_the_board_keeps_the_newest_of_each_topic() -> None:
    board = Board()
    assert not board.full
    board.put(Message("p/health", b"1"))
    board.put(Message("p/camera/a/state", b"1"))
    board.put(Message("p/health", b"2"))
    assert board.full
    assert text(board) == [("p/health", b"2"), ("p/camera/a/state", b"1")]
    assert not board.full
    assert board.take() is None


@pytest.mark.parametrize("before", [False, True])
def test_a_new_connection_begins_with_what_runs_then_the_cameras(before: bool) -> None:  # noqa: FBT001
    board = Board()
    for topic in ("health", "camera/a/state", "camera/a/status", "info"):
        board.put(Message(f"p/{topic}", b"x"))
    if before:
        text(board)
    board.turn_all()
    assert [topic for topic, _ in text(board)] == [
        "p/info",
        "p/camera/a/status",
        "p/camera/a/state",
        "p/health",
    ]


def test_what_is_cleared_is_cleared_once() -> None:
    board = Board()
    board.put(Message("p/camera/old/state", b""))
    assert text(board) == [("p/camera/old/state", b"")]
    board.turn_all()
    assert text(board) == []
