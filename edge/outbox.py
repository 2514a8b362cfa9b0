"""What waits for the broker: events, all of them and in order; of all else the newest.

The outbox keeps an event until the broker says that it has it. The board keeps what is retained,
one message a topic, so that a new connection can begin with how things stand.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, final

from edge.datatypes import Event


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish. All but the first three travel with MQTT 5 only; seconds, bytes."""

    topic: str
    payload: bytes
    retain: bool = False
    schema: str | None = None
    expiry_s: int | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that was received.

    `retained`: it is not new, the broker kept it. `duplicate`: the broker delivers it again.
    `correlation` is MQTT 5's.
    """

    topic: str
    payload: bytes
    retained: bool = False
    duplicate: bool = False
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """An event in an outbox; `number` rises by one from event to event."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an outbox keeps less than it promises.

    `code` is for programs, that of a problem in the health report; `text` is for people.
    """

    code: str
    text: str


class Outbox(Protocol):
    """Keeps events in order until they are acknowledged.

    One thread appends, another takes and acknowledges; an implementation is safe between them.
    """

    @property
    def depth(self) -> int:
        """How many events are neither acknowledged nor dropped."""
        ...

    @property
    def dropped(self) -> int:
        """How many events were given up because the outbox was full."""
        ...

    @property
    def last(self) -> int:
        """The number of the newest event ever appended; 0 before the first."""
        ...

    @property
    def unsaved(self) -> int:
        """How many of the events in it would be lost with the process."""
        ...

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What is the matter with it now."""
        ...

    def append(self, event: Event) -> None:
        """Take an event in. Must return soon, whatever a disk does."""
        ...

    def take(self, most: int) -> list[Held]:
        """Return the oldest events that were not taken yet, in order, `most` at most."""
        ...

    def acknowledge(self, number: int) -> None:
        """Forget an event that arrived; one that was dropped meanwhile is ignored."""
        ...

    def release(self) -> None:
        """Let all that was taken and not acknowledged be taken again, in order."""
        ...

    def close(self) -> None:
        """Save what can be saved and release what is held; what is asked afterwards is harmless."""
        ...


@final
class MemoryOutbox:
    """An outbox in memory. What it holds is lost with the process.

    A full outbox drops its oldest event and counts it, so that what is left is always the
    newest `size`. An event that was dropped while on its way to the broker may still arrive.

    Parameters
    ----------
    size
        How many events it holds.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        # Not a dict: taking the first of one again and again is slow, it scans the holes.
        self._events: OrderedDict[int, Event] = OrderedDict()
        self._last = 0
        self._taken = 0
        self._dropped = 0

    @property
    def depth(self) -> int:
        """How many events are neither acknowledged nor dropped."""
        return len(self._events)

    @property
    def dropped(self) -> int:
        """How many events were given up because the outbox was full."""
        return self._dropped

    @property
    def last(self) -> int:
        """The number of the newest event ever appended; 0 before the first."""
        return self._last

    @property
    def unsaved(self) -> int:
        """How many of the events in it would be lost with the process: all."""
        return self.depth

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Nothing: it promises little."""
        return ()

    def append(self, event: Event) -> None:
        """Take an event in, in place of the oldest where there is no room."""
        with self._lock:
            self._last += 1
            self._events[self._last] = event
            if len(self._events) > self._size:
                self._events.popitem(last=False)
                self._dropped += 1

    def take(self, most: int) -> list[Held]:
        """Return the oldest events that were not taken yet, in order, `most` at most."""
        with self._lock:
            # The taken ones are few (what may be in flight) and stand in front.
            waiting = (number for number in self._events if number > self._taken)
            numbers = list(islice(waiting, most))
            if numbers:
                self._taken = numbers[-1]
            return [Held(number, self._events[number]) for number in numbers]

    def acknowledge(self, number: int) -> None:
        """Forget an event that arrived; one that was dropped meanwhile is ignored."""
        with self._lock:
            self._events.pop(number, None)

    def release(self) -> None:
        """Let all that was taken and not acknowledged be taken again, in order."""
        with self._lock:
            self._taken = 0

    def close(self) -> None:
        """Do nothing: memory needs no closing."""


@final
class Board:
    """Retained messages by topic: the newest of each, and which are still to be sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: dict[str, Message] = {}
        self._turned: dict[str, None] = {}

    @property
    def full(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._turned)

    def put(self, message: Message) -> None:
        """Put a message up in place of the one on its topic."""
        with self._lock:
            self._messages[message.topic] = message
            self._turned[message.topic] = None

    def turn_all(self) -> None:
        """Let everything be sent again: information first, then status, states and the rest."""
        with self._lock:
            order = ("/info", "/status", "/state")
            ranked = sorted(
                self._messages,
                key=lambda topic: next(
                    (rank for rank, end in enumerate(order) if topic.endswith(end)), len(order)
                ),
            )
            self._turned = dict.fromkeys(ranked)

    def take(self) -> Message | None:
        """Return the next message to send, if any. An empty one is sent once and forgotten."""
        with self._lock:
            if not self._turned:
                return None
            topic = next(iter(self._turned))
            del self._turned[topic]
            message = self._messages[topic]
            if not message.payload:
                del self._messages[topic]
            return message
