"""Says that the daemon is alive while it makes progress, and only then.

A process that turns in circles is not well. Progress means, for each camera: its frames are being
looked at, or it is being read or opened again on schedule, or it is paused on purpose, or its
recording is over. And the publisher's loop turns: a broker that is away is being retried. All of it
is measured by the monotonic clock; the wall clock may jump.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Protocol, final

from edge.capture import Capture
from edge.mqtt import Link
from edge.notify import Notifier

_log = logging.getLogger(__name__)

UNSEEN_S = 10.0
"""How long a camera may be `ok` without a frame of it being looked at."""

_SHARE = 1 / 3
"""Of the watchdog's time, from one sign of life to the next."""


class Turning(Protocol):
    """Something with a loop of its own: the publisher."""

    def turning(self, now_s: float) -> bool:
        """Whether the loop did in time what it should have done by now."""
        ...


@final
class Liveness:
    """What the service manager hears of the daemon. Used by the main thread only.

    Parameters
    ----------
    notifier
        The service manager.
    captures
        The cameras.
    publisher
        What publishes; None where nothing is published.
    """

    def __init__(
        self, notifier: Notifier, captures: Sequence[Capture], publisher: Turning | None = None
    ) -> None:
        self._notifier = notifier
        self._captures = captures
        self._publisher = publisher
        now_s = monotonic()
        self._inferred_s = {capture.name: now_s for capture in captures}
        self._next_s = now_s
        self._trouble: str | None = None
        self._words = ""
        self._ready = True

    def ready(self) -> None:
        """Say that start-up is over; `beat` says it again where nobody could be told."""
        self._ready = self._notifier.ready()

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` ends that."""
        self._notifier.reloading()

    def watch(self, captures: Sequence[Capture]) -> None:
        """Look at these cameras from now on."""
        now_s = monotonic()
        self._captures = captures
        self._inferred_s = {
            capture.name: self._inferred_s.get(capture.name, now_s) for capture in captures
        }

    def inferred(self, camera: str, now_s: float) -> None:
        """Take note that a frame of a camera has been looked at."""
        self._inferred_s[camera] = now_s

    def beat(self, now_s: float) -> None:
        """Say that there is progress, if there is and it is time to say so."""
        if not self._ready:
            self.ready()
        if self._notifier.watchdog_s is None or now_s < self._next_s:
            return
        trouble = self.trouble(now_s)
        if trouble != self._trouble and trouble is not None:
            _log.error("no progress: %s; the watchdog is left alone", trouble)
        self._trouble = trouble
        if trouble is None and self._notifier.watchdog():
            self._next_s = now_s + self._notifier.watchdog_s * _SHARE

    def trouble(self, now_s: float) -> str | None:
        """Return what makes no progress, in words; None where all is well."""
        for capture in self._captures:
            if capture.ended:
                continue
            situation = capture.situation
            if situation.condition == "ok":
                # A camera that has just begun to give pictures is owed a look from then on.
                seen_s = max(self._inferred_s[capture.name], situation.since_s)
                if now_s - seen_s > UNSEEN_S + capture.interval_s:
                    return f"camera {capture.name}: its frames are not looked at"
            if situation.condition != "paused" and not capture.on_schedule(now_s):
                return f"camera {capture.name}: its thread is lost"
        if self._publisher is not None and not self._publisher.turning(now_s):
            return "the publisher hangs"
        return None

    def say(self, text: str) -> None:
        """Tell in plain words how it stands, where that is news."""
        if text != self._words and self._notifier.status(text):
            self._words = text

    def stopping(self) -> None:
        """Say that the daemon ends."""
        self._notifier.stopping()
        self.say("stopping")


def words(captures: Sequence[Capture], link: Link | None) -> str:
    """Return how it stands with cameras and broker, for a person to read."""
    parts = []
    for capture in captures:
        situation = capture.situation
        if capture.ended:
            parts.append(f"{capture.name} ended")
        else:
            reason = f" ({situation.reason})" if situation.reason else ""
            parts.append(f"{capture.name} {situation.condition}{reason}")
    if link is not None:
        waiting = f", {link.depth} events wait" if link.depth else ""
        state = "connected" if link.connected else f"away ({link.trouble or 'connecting'})"
        parts.append(f"broker {state}{waiting}")
    return "; ".join(parts)
