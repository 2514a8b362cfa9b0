"""Which events wait for the broker and where each of them is: in memory, on disk, or both. Pure.

From the oldest to the newest they stand in three ranges:

    front     on disk and in memory: what is sent next
    between   on disk alone: there may be more than memory should hold
    tail      in memory alone: what is still to be written

While nothing is between, the tail follows the front and is sent too. So a disk that takes nothing
turns all this into a queue in memory, without anything having to be moved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import final

from edge.datatypes import Event
from edge.outbox import Held

BEFORE_ALL = -(2**62)
"""Less than every number."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event and when it was appended, on this boot's monotonic clock.

    One of an earlier boot may have been appended before that clock's zero.
    """

    event: Event
    appended_s: float


@final
class Ledger:
    """The order of events, each in the place described above. Not safe between threads.

    Numbers rise from event to event; 1 is the first one appended here, and what an earlier
    process left has numbers up to 0.

    Parameters
    ----------
    memory
        How many events the tail holds; beyond that its oldest is dropped.
    window
        How many events the front holds, and beyond that those which are on their way.
    """

    def __init__(self, memory: int, window: int) -> None:
        self._memory = memory
        self._window = window
        self._front: OrderedDict[int, Waiting] = OrderedDict()
        self._between = 0
        self._tail: OrderedDict[int, Waiting] = OrderedDict()
        self._flying: set[int] = set()
        # Acknowledged or dropped, and perhaps still on disk.
        self._gone: set[int] = set()
        self._writing_to = self._written_to = 0
        self._read_to = BEFORE_ALL
        self.last = 0
        self.dropped = 0

    @property
    def depth(self) -> int:
        """How many events are neither acknowledged nor dropped."""
        return len(self._front) + self._between + len(self._tail)

    @property
    def unwritten(self) -> int:
        """How many of them are in memory alone."""
        return len(self._tail)

    @property
    def full(self) -> bool:
        """Whether the next event will push out the oldest that is in memory alone."""
        return len(self._tail) >= self._memory

    @property
    def gone(self) -> frozenset[int]:
        """Events that need not be on disk any more."""
        return frozenset(self._gone)

    @property
    def wanted(self) -> tuple[int, int, int] | None:
        """What should be read from disk, if anything: after which number, up to which, how many."""
        if not self._between or len(self._front) > self._window // 2:
            return None
        return self._read_to, self._written_to, self._window - len(self._front)

    @property
    def read_to(self) -> int:
        """The newest event that is or was in the front: on disk alone are only newer ones."""
        return self._read_to

    @property
    def written_to(self) -> int:
        """The newest event that was ever on disk."""
        return self._written_to

    def is_unwritten(self, number: int) -> bool:
        """Whether an event is in memory alone."""
        return number in self._tail

    def append(self, event: Event, now_s: float) -> int:
        """Take an event in and return its number; drops the oldest of a tail that is full."""
        self.last += 1
        self._tail[self.last] = Waiting(event, now_s)
        if len(self._tail) > self._memory:
            number, _ = self._tail.popitem(last=False)
            self._forget(number)
            self.dropped += 1
        return self.last

    def take(self, most: int) -> list[Held]:
        """Return the oldest events that are in memory and not taken, in order."""
        ready = chain(self._front.items(), () if self._between else self._tail.items())
        untaken = (
            Held(number, waiting.event) for number, waiting in ready if number not in self._flying
        )
        taken = list(islice(untaken, most))
        self._flying.update(held.number for held in taken)
        return taken

    def release(self) -> None:
        """Let all that was taken be taken again."""
        self._flying.clear()

    def acknowledge(self, number: int) -> None:
        """Forget an event that arrived; one that was dropped meanwhile is ignored."""
        if self._front.pop(number, None) or self._tail.pop(number, None):
            self._forget(number)

    def batch(self, most: int) -> list[tuple[int, Waiting]]:
        """Return the oldest events of the tail, to be written now, `most` at most."""
        found = list(islice(self._tail.items(), most))
        if found:
            self._writing_to = found[-1][0]
        return found

    def written(self, numbers: Sequence[int], gone: Iterable[int]) -> None:
        """Take in that a batch is on disk now, and that `gone` is there no more."""
        self._gone.difference_update(gone)
        for number in numbers:
            self._written_to = number
            waiting = self._tail.pop(number, None)
            if waiting is None:
                continue  # acknowledged or dropped while it was written
            # What is on its way stays in memory: its acknowledgement must find it.
            if number not in self._flying and (self._between or len(self._front) >= self._window):
                self._between += 1
            else:
                self._front[number] = waiting
                self._read_to = number

    def unwritable(self) -> None:
        """Take in that a batch could not be written: nothing of it is on disk."""
        self._writing_to = self._written_to
        self._gone = {number for number in self._gone if number <= self._written_to}

    def read(self, found: Iterable[tuple[int, Waiting]]) -> None:
        """Put what was `wanted` and read from disk into the front, in order."""
        for number, waiting in found:
            self._read_to = number
            if number not in self._gone:
                self._front[number] = waiting
                self._between -= 1

    def given_up(self, numbers: Iterable[int]) -> None:
        """Take in that events were deleted from disk for lack of room, or for their age."""
        for number in numbers:
            if number in self._gone:
                self._gone.discard(number)  # it had arrived
            elif self._front.pop(number, None):
                self.dropped += 1
            elif number > self._read_to:
                self._between -= 1
                self.dropped += 1
            self._flying.discard(number)

    def recount(self, between: int) -> None:
        """Take in how many events newer than `read_to` the disk has; missing ones are dropped."""
        self.dropped += max(self._between - between, 0)
        self._between = between

    def start_afresh(self) -> None:
        """Take in that nothing is on disk any more: what is in memory is to be written again."""
        self.recount(0)
        self._tail = OrderedDict(chain(self._front.items(), self._tail.items()))
        self._front.clear()
        self._gone.clear()
        self._writing_to = self._written_to = self._read_to = next(iter(self._tail), 1) - 1

    def expire(self, before_s: float) -> None:
        """Drop the events of the tail that were appended before a time."""
        while self._tail:
            number, waiting = next(iter(self._tail.items()))
            if waiting.appended_s >= before_s:
                return
            del self._tail[number]
            self._forget(number)
            self.dropped += 1

    def _forget(self, number: int) -> None:
        self._flying.discard(number)
        if number <= self._writing_to:
            self._gone.add(number)
