"""What passes from a camera's thread to the main thread: its newest frame, and how it stands.

The main thread infers; it must never look at an old picture when a newer one exists. So what is
not fetched in time is dropped and counted, except where a source asks that every frame be looked
at (a clip played fast): then the thread waits for the slot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import final

from edge.datatypes import Frame
from edge.payloads import Condition


@dataclass(frozen=True, slots=True)
class Situation:
    """How it stands with a camera; see `payloads.CameraStatus`. `since_s` is monotonic."""

    condition: Condition
    reason: str
    since_s: float


@final
class Mailbox:
    """One slot for frames, then the end of the stream: its mere end, or the error that ended it.

    Beside it lie the changes of the camera's situation that nobody has read yet. Safe between
    one thread that puts and one that takes.

    Parameters
    ----------
    bell
        What rings when something is put; shared by all the mailboxes one thread waits for.
    situation
        How it stands to begin with.
    """

    def __init__(
        self, bell: threading.Condition | None = None, situation: Situation | None = None
    ) -> None:
        self._bell = threading.Condition() if bell is None else bell
        self._slot: Frame | None = None
        self._error: Exception | None = None
        self._finished = False
        self._told = False
        self._closed = False
        self._dropped = 0
        self._situation = situation or Situation("reconnecting", "starting", monotonic())
        self._changes: list[Situation] = []

    @property
    def dropped(self) -> int:
        """How many frames were replaced by newer ones before anyone took them."""
        return self._dropped

    @property
    def closed(self) -> bool:
        """Whether the taker wants no more."""
        return self._closed

    @property
    def ready(self) -> bool:
        """Whether `take` has news: a frame, or an end it has not told of yet."""
        return self._slot is not None or (self._finished and not self._told)

    @property
    def changed(self) -> bool:
        """Whether `changes` has news."""
        return bool(self._changes)

    @property
    def ended(self) -> bool:
        """Whether the stream is over, every frame of it taken and its end told."""
        return self._told

    @property
    def situation(self) -> Situation:
        """How it stands with the camera now."""
        return self._situation

    def put(self, frame: Frame) -> bool:
        """Leave a frame, in place of one that was not taken. False where the box is closed."""
        with self._bell:
            self._dropped += self._slot is not None
            return self._leave(frame)

    def put_waiting(self, frame: Frame) -> bool:
        """Wait until the slot is empty, then leave a frame. False where the box is closed."""
        with self._bell:
            self._bell.wait_for(lambda: self._slot is None or self._closed)
            return self._leave(frame)

    def note(self, condition: Condition, reason: str = "") -> bool:
        """Say how it stands with the camera; whether that is news."""
        known = self._situation
        if self._closed or (known.condition == condition and known.reason == reason):
            return False
        with self._bell:
            since_s = known.since_s if known.condition == condition else monotonic()
            self._situation = Situation(condition, reason, since_s)
            self._changes.append(self._situation)
            self._bell.notify_all()
        return True

    def changes(self) -> list[Situation]:
        """Return the situations noted since the last call, the oldest first."""
        if not self._changes:
            return []
        with self._bell:
            changes, self._changes = self._changes, []
        return changes

    def inherit(self, untold: list[Situation]) -> None:
        """Take over what another mailbox, closed by now, was noted and nobody has read."""
        with self._bell:
            self._changes = untold + self._changes

    def finish(self, error: Exception | None = None) -> None:
        """Say that no frame will follow and, where something went wrong, what."""
        with self._bell:
            self._finished, self._error = True, error
            self._bell.notify_all()

    def take(self, timeout_s: float | None = 0.0) -> Frame | None:
        """Take the frame.

        Parameters
        ----------
        timeout_s
            How long to wait for news, in seconds; None waits for ever.

        Returns
        -------
        Frame or None
            None where no frame came in time, and at the end: then `ended` is true.

        Raises
        ------
        Exception
            The error that ended the stream, after the last frame and from then on.
        """
        with self._bell:
            self._bell.wait_for(lambda: self.ready or self._told or self._closed, timeout_s)
            frame, self._slot = self._slot, None
            if frame is not None:
                self._bell.notify_all()
                return frame
            self._told = self._finished
            if self._error is not None:
                raise self._error
            return None

    def wait(self, timeout_s: float | None, until: Callable[[], bool] = lambda: False) -> None:
        """Let the thread that puts wait: for a time, for `until`, or until the box is closed."""
        with self._bell:
            self._bell.wait_for(lambda: self._closed or until(), timeout_s)

    def close(self) -> None:
        """Want no more: what is in the slot is dropped and whoever waits is let go."""
        with self._bell:
            self._closed, self._slot = True, None
            self._bell.notify_all()

    def _leave(self, frame: Frame) -> bool:
        if self._closed:
            return False
        self._slot = frame
        self._bell.notify_all()
        return True
