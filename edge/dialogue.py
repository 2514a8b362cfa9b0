"""What was learnt of the broker, when to try it again, and what of it is worth a log line."""

from __future__ import annotations

import logging
from time import monotonic
from typing import final

from edge.backoff import Backoff
from edge.connection import LinkError, Protocol

_log = logging.getLogger(__name__)

_STEADY_S = 10.0
"""A connection that lasted this long was a good one: the next wait is short again."""


@final
class Dialogue:
    """What is remembered from connection to connection.

    MQTT 5 is tried first; a broker that refuses it, or that has no answer to it before any
    version has ever worked, is tried with 3.1.1, and what worked is kept. Each trouble is said
    once an outage, however often it recurs; refused credentials are tried again slowly.

    Parameters
    ----------
    broker
        How it is named in the log.
    backoff
        How long to wait between attempts.
    only
        The one protocol to try, if it is known.

    Attributes
    ----------
    protocol : "5" or "3.1.1"
        What to try next.
    settled : "5", "3.1.1" or None
        What worked last.
    trouble : str or None
        Why there is no connection; None while there is one.
    """

    def __init__(self, broker: str, backoff: Backoff, only: Protocol | None = None) -> None:
        self._broker = broker
        self._backoff = backoff
        self._said: set[str] = set()
        self._dropped = 0
        self._refusing = False
        self._since_s: float | None = None
        self._only = only
        self.protocol: Protocol = only or "5"
        self.settled: Protocol | None = None
        self.trouble: str | None = None

    @property
    def probing(self) -> bool:
        """Whether the next attempt may be in a protocol the broker does not know."""
        return self._only is None and self.settled is None and self.protocol == "5"

    def failed(self, error: LinkError) -> float | None:
        """Take in that a connection failed.

        Returns
        -------
        float or None
            The seconds to wait; None for trying the other protocol at once.
        """
        self.trouble = str(error)
        since_s, self._since_s = self._since_s, None
        if since_s is not None and monotonic() - since_s >= _STEADY_S:
            self._backoff.reset()
        unsettled = error.fault == "silent" and self.settled is None
        if self._only is None and (error.fault == "protocol" or unsettled):
            self.protocol = "3.1.1" if self.protocol == "5" else "5"
            if self.protocol == "3.1.1":
                return None
        refused = error.fault == "credentials"
        if self.trouble not in self._said:
            self._said.add(self.trouble)
            level = logging.ERROR if refused else logging.WARNING
            _log.log(level, "mqtt: %s: %s; trying again", self._broker, self.trouble)
        return self._backoff.slow_s() if refused else self._backoff.next_s()

    def succeeded(self, dropped: int) -> None:
        """Take in that the broker let us in; `dropped` events were lost since the beginning."""
        if self.settled != self.protocol or self._said:
            older = self.protocol == "3.1.1" and self._only is None
            why = "; the broker takes no MQTT 5" if older else ""
            _log.info("mqtt: %s: connected with MQTT %s%s", self._broker, self.protocol, why)
        if dropped > self._dropped:
            lost = dropped - self._dropped
            _log.warning("mqtt: %d events were dropped while the queue was full", lost)
        self.settled, self.trouble, self._since_s = self.protocol, None, monotonic()
        self._dropped = dropped
        self._said.clear()

    def answered(self, refusal: str | None) -> None:
        """Take in that the broker took a message, or why it did not."""
        if refusal is not None and not self._refusing:
            _log.error("mqtt: %s: it refuses what is published: %s", self._broker, refusal)
        self._refusing = refusal is not None
