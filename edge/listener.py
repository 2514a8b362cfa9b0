"""What the publisher hears: commands, Home Assistant, and what earlier configurations left behind.

Each has topics of its own. All are asked for at every connection, for a broker may have forgotten,
and knows no session of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import monotonic
from typing import final

from edge.announcer import Announcer
from edge.commands import Inbox
from edge.connection import Connection
from edge.outbox import Heard, Message, Trouble

_log = logging.getLogger(__name__)

SWEEP_S = 2.0
"""How long to listen for what earlier configurations left behind."""

_DEAF = Trouble(
    "commands-refused",
    "the broker does not let us hear commands: let our user read <prefix>/<device_id>/cmd/+, or "
    "switch [commands] off",
)


@final
class Listener:
    """Passes on what is heard. For the network's thread.

    Parameters
    ----------
    base
        `<prefix>/<device_id>`.
    inbox
        Where commands go; without one, nothing is subscribed to for them.
    announcer
        Hears when Home Assistant has started, and knows what to tell it.
    """

    def __init__(self, base: str, inbox: Inbox | None, announcer: Announcer) -> None:
        self._cameras = f"{base}/camera/"
        self._left_behind = tuple(f"{self._cameras}+/{name}" for name in ("status", "state"))
        self._inbox = inbox
        self._announcer = announcer
        self._announced: frozenset[str] = frozenset()
        self._sweep_until_s: float | None = None
        self._swept = False
        self._deaf = False

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Why less is heard than should be."""
        return (_DEAF,) if self._deaf else ()

    def begin(self, connection: Connection) -> None:
        """Ask for everything on a connection that was just accepted."""
        if not self._swept:
            connection.subscribe(*self._left_behind)
            self._sweep_until_s = monotonic() + SWEEP_S
        if self._inbox is not None:
            connection.subscribe_to_news(*self._inbox.topics)
        self._announcer.connected()
        self._announced = frozenset()

    def hear(self, connection: Connection, cameras: Collection[str]) -> list[Message]:
        """Pass on what came, and return what is to be published in answer.

        Parameters
        ----------
        connection
            Where it came from.
        cameras
            Those there are. What the broker retains for any other is answered by what clears it.
        """
        if connection.deaf and not self._deaf:
            _log.warning("mqtt: %s", _DEAF.text)
        self._deaf = connection.deaf
        answers = [self._heard(heard, cameras) for heard in connection.received()]
        if self._sweep_until_s is not None and monotonic() > self._sweep_until_s:
            self._sweep_until_s, self._swept = None, True
            connection.unsubscribe(*self._left_behind)
        return [answer for answer in answers if answer is not None]

    def announce(self, connection: Connection) -> None:
        """Tell Home Assistant what is due, and listen where that is of interest now."""
        now_s = monotonic()
        topics, before = self._announcer.topics(now_s), self._announced
        self._announced = topics
        if topics - before:
            connection.subscribe(*sorted(topics - before))
        if before - topics:
            connection.unsubscribe(*sorted(before - topics))
        while connection.room and (message := self._announcer.due(now_s)) is not None:
            connection.publish(message)

    def _heard(self, heard: Heard, cameras: Collection[str]) -> Message | None:
        if self._inbox is not None and heard.topic in self._inbox.topics:
            return self._inbox.hear(heard, monotonic())
        # What Home Assistant's topics retain may still come when they are no longer listened to.
        if not heard.topic.startswith(self._cameras):
            self._announcer.hear(heard, monotonic())
            return None
        camera = heard.topic.removeprefix(self._cameras).split("/")[0]
        if heard.retained and heard.payload and camera not in cameras:
            return Message(heard.topic, b"", retain=True)
        return None
