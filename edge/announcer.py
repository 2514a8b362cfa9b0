"""Says when Home Assistant is told of the device, and what of the telling before has to be undone.

The message is retained: the broker hands it to a Home Assistant that comes later. It is sent at
every connection, when Home Assistant says that it has started, and when what it says changes. An
earlier process may have left one there, with entities that are no more, or although nothing is to
be told now; so the first thing done is to look.

These are the only topics outside the device's own. A broker may refuse them, or hang up on who
touches them: neither may keep events from being published.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from edge import homeassistant
from edge.homeassistant import Device
from edge.outbox import Heard, Message
from edge.settings import HomeAssistant

_log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How long to listen for the message of an earlier process; the broker mostly sends it at once."""

PAUSE_S = (0.5, 3.0)
"""Between these, at random, the message follows a start of Home Assistant, as its documentation
advises: every device hears of it at the same moment. Nor can anybody make a device repeat itself
faster."""

_FIRST_HOLD_S = 60.0
_LONGEST_HOLD_S = 86_400.0

_ONLINE = b"online"
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class _Notice:
    """What is to be told on a topic; without a device nothing, and what was told is taken back."""

    topic: str
    status_topic: str
    device: Device | None


@final
class Announcer:
    """Keeps Home Assistant informed. `announce` is for any thread, the rest for the network's.

    Parameters
    ----------
    pause
        Returns how long to wait after a start of Home Assistant, in seconds.
    """

    def __init__(self, pause: Callable[[], float] | None = None) -> None:
        self._pause = pause or at_random
        self._lock = threading.Lock()
        self._notice: _Notice | None = None
        self._left: list[str] = []
        self._looked = False
        self._look_until_s = _NEVER
        self._due_s = _NEVER
        # What the broker keeps, or may keep soon.
        self._kept = b""
        self._unanswered = 0
        self._refused = False
        self._hang_ups = 0
        self._held_until_s = 0.0

    def announce(self, settings: HomeAssistant, device: Device) -> None:
        """Tell this from now on."""
        notice = _Notice(
            homeassistant.topic(settings.discovery_prefix, device.base),
            settings.status_topic,
            device if settings.enabled else None,
        )
        with self._lock:
            before, self._notice = self._notice, notice
            self._due_s = 0.0
            if before is None or before.topic == notice.topic:
                return
            if self._kept:
                self._left.append(before.topic)
            self._looked, self._look_until_s, self._kept = False, _NEVER, b""

    def connected(self) -> None:
        """Take in that a connection begins: all that is to be told is told again."""
        with self._lock:
            self._due_s, self._look_until_s, self._unanswered = 0.0, _NEVER, 0

    def topics(self, now_s: float) -> frozenset[str]:
        """Return what is to be subscribed to at `now_s` (monotonic seconds)."""
        with self._lock:
            if self._notice is None or now_s < self._held_until_s:
                return frozenset()
            wanted = {self._notice.status_topic} if self._notice.device is not None else set()
            if not self._looked:
                self._look_until_s = min(self._look_until_s, now_s + LOOK_S)
                self._looked = now_s >= self._look_until_s
            if not self._looked:
                wanted.add(self._notice.topic)
            return frozenset(wanted)

    def hear(self, heard: Heard, now_s: float) -> None:
        """Take in a message on one of the topics."""
        with self._lock:
            notice = self._notice
            if notice is None:
                return
            if heard.topic == notice.topic and heard.retained:
                self._kept, self._looked = heard.payload, True
            elif heard.topic == notice.status_topic and heard.payload == _ONLINE:
                self._due_s = min(self._due_s, now_s + self._pause())

    def due(self, now_s: float) -> Message | None:
        """Return what is to be published at `now_s`, if anything."""
        with self._lock:
            if self._left:
                return Message(self._left.pop(), b"", retain=True)
            notice = self._notice
            if notice is None or not self._looked or now_s < max(self._due_s, self._held_until_s):
                return None
            self._due_s = _NEVER
            if notice.device is not None:
                self._kept = homeassistant.message(notice.device, self._kept)
            elif not self._kept:
                return None
            self._unanswered += 1
            return Message(notice.topic, self._kept if notice.device else b"", retain=True)

    def answered(self, topic: str, refusal: str | None) -> bool:
        """Take in that the broker took a message or refused it; return whether it was one of ours.

        A refusal is said once. Everything else is published as ever.
        """
        with self._lock:
            if self._notice is None or topic != self._notice.topic:
                return False
            self._unanswered, self._hang_ups = max(self._unanswered - 1, 0), 0
            if refusal is None:
                if self._notice.device is None and not self._unanswered:
                    self._kept = b""
            elif not self._refused:
                self._refused = True
                _log.warning("mqtt: the broker refuses %s (%s): %s", topic, refusal, self._cost())
            return True

    def _cost(self) -> str:
        if self._notice is None or self._notice.device is None:
            return "Home Assistant keeps what it was told; let this device write there once more"
        return (
            "Home Assistant will not find this device; let it write there, or set [homeassistant] "
            "enabled = false"
        )

    def lost(self, now_s: float) -> None:
        """Take in that the connection ended.

        If that was all the answer there was, it is not provoked again for a while, longer each
        time: some brokers hang up on who touches what is not theirs.
        """
        with self._lock:
            looking = not self._looked and self._look_until_s != _NEVER
            if self._notice is None or not (looking or self._unanswered):
                return
            # What was sent may have arrived all the same.
            self._looked, self._look_until_s, self._unanswered = False, _NEVER, 0
            hold_s = min(_FIRST_HOLD_S * 2.0**self._hang_ups, _LONGEST_HOLD_S)
            self._hang_ups += 1
            self._held_until_s = now_s + hold_s
            if self._hang_ups > 1:
                _log.warning(
                    "mqtt: the broker hangs up on %s: let this device read and write there, or set "
                    "[homeassistant] enabled = false; trying again in %.0f min",
                    self._notice.topic,
                    hold_s / 60,
                )


def at_random() -> float:
    """Return how long to wait before an answer that every device gives to the same message."""
    return random.uniform(*PAUSE_S)  # noqa: S311  # nobody gains from guessing it
