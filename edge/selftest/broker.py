"""From a picture to the broker's acknowledgement, and back through a second subscription.

The connection has a client id of its own, so that it does not put the daemon's out, and no last
will, so that its end says nothing of the device. Probes go to `<prefix>/<device_id>/selftest/probe`
and are not retained.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic

import msgspec

from edge.access import Access, read_access
from edge.connection import ANSWER_TIMEOUT_S, PROBE_TIMEOUT_S, Bell, Connection, LinkError, Protocol
from edge.errors import MienError
from edge.outbox import Message
from edge.payloads import SelfTest, SelfTestCheck
from edge.selftest.latency import Runs, percentiles
from edge.selftest.subject import Subject, at_most
from edge.settings import Settings
from edge.subscriber import Subscriber

PROBES = 20
PUBACK_MS = 250.0
"""What the broker's acknowledgement may take on top of the board's budget for a picture."""

BACK_MS = 500.0
"""What the whole way back may take on top of it."""

PATIENCE_S = 5.0
"""After how long a message counts as lost."""

_PROBE = "mien-selftest-probe/1"


def round_trip(subject: Subject) -> Iterator[SelfTestCheck]:
    """Send what a picture would make the device send, and wait for it to come back."""
    if subject.models is None:
        return
    settings, runs = subject.settings, Runs(subject.settings, subject.models)
    topic = f"{settings.mqtt.prefix}/{settings.device_id}/selftest/probe"
    acknowledged, back = [], []
    with Subscriber(settings.mqtt, topic) as ear, connected(settings) as (connection, bell):
        for number in range(PROBES):
            body = {"schema": _PROBE, "id": f"{secrets.token_hex(8)}-{number}"}
            message = Message(topic, msgspec.json.encode(body), schema=_PROBE)
            begun_s = monotonic()
            runs.once()
            deliver(connection, bell, message)
            acknowledged.append(monotonic() - begun_s)
            if not any(payload == message.payload for _, payload in ear.messages(PATIENCE_S)):
                raise MienError(
                    f"{topic}: what the broker acknowledged does not come back; let the user "
                    "publish and read below it"
                )
            back.append(monotonic() - begun_s)
    path_ms = subject.board.idle_ms["total"]
    slow = "the broker or the network to it is slow; events are late by as much"
    for name, seconds, extra_ms in (
        ("broker-puback", acknowledged, PUBACK_MS),
        ("broker-round-trip", back, BACK_MS),
    ):
        found = percentiles(seconds)
        budget_ms = path_ms + extra_ms
        yield at_most(name, found.p95, budget_ms, "ms", cure=slow, percentiles=found)


def publish(settings: Settings, report: SelfTest) -> None:
    """Publish a report, retained, over a connection of its own.

    Raises
    ------
    MienError
        The broker does not take it.
    """
    topic = f"{settings.mqtt.prefix}/{settings.device_id}/selftest"
    body = msgspec.json.encode(report)
    with connected(settings) as (connection, bell):
        deliver(connection, bell, Message(topic, body, retain=True, schema=report.schema))


@contextmanager
def connected(settings: Settings) -> Iterator[tuple[Connection, Bell]]:
    """Connect as the daemon would: by MQTT 5, then by 3.1.1, where nothing else is configured.

    Raises
    ------
    MienError
        The broker cannot be reached, or refuses us; or the connection is lost meanwhile.
    """
    access = read_access(settings.mqtt, f"{settings.device_id}-selftest")
    wanted = settings.mqtt.protocol
    bell = Bell()
    try:
        with _accepted(access, ("5", "3.1.1") if wanted == "auto" else (wanted,), bell) as found:
            yield found, bell
            found.disconnect(1.0)
    except LinkError as exc:
        raise MienError(f"broker {access.broker}: {exc}") from exc
    finally:
        bell.close()


def _accepted(access: Access, versions: Sequence[Protocol], bell: Bell) -> Connection:
    """Return a connection that the broker has accepted, by the first version that it takes."""
    version, *others = versions
    answer_s = PROBE_TIMEOUT_S if others else ANSWER_TIMEOUT_S
    try:
        with ExitStack() as stack:
            connection = Connection(access, version, None, answer_s=answer_s)
            stack.push(connection)
            while not connection.accepted:
                connection.poll(answer_s, bell)
            stack.pop_all()
            return connection
    except LinkError as exc:
        if not others or exc.fault not in ("protocol", "silent"):
            raise
    return _accepted(access, others, bell)


def deliver(connection: Connection, bell: Bell, message: Message) -> None:
    """Publish one message and wait until the broker has acknowledged it.

    Raises
    ------
    MienError
        The broker refuses the message, or says nothing.
    """
    connection.publish(message)
    until_s = monotonic() + PATIENCE_S
    while connection.in_flight:
        if monotonic() > until_s:
            raise MienError(f"{message.topic}: no PUBACK within {PATIENCE_S:g} s")
        connection.poll(0.1, bell)
    refusals = [each.refusal for each in connection.acknowledged() if each.refusal is not None]
    if refusals:
        raise MienError(f"{message.topic}: the broker refuses it ({refusals[0]})")
