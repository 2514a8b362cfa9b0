"""Publishes what is seen and how the device is doing.

Callers only leave things here: events in the outbox, everything else on a board where the newest
of each topic wins. One thread connects, publishes and waits, so that no network is ever between
the pipeline and its next frame. An event leaves the outbox when the broker acknowledges it; after
a reconnect the rest is sent again, in order (at least once: subscribers deduplicate on `id`). What
was made before the connection it is sent over is marked `replayed`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import final

import msgspec

from edge import clock, payloads
from edge.access import Access, read_access
from edge.announcer import Announcer
from edge.backoff import Backoff
from edge.commands import Inbox
from edge.connection import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    PROBE_TIMEOUT_S,
    Bell,
    Connection,
    LinkError,
    Protocol,
)
from edge.datatypes import Event
from edge.dialogue import Dialogue
from edge.errors import ConfigError
from edge.homeassistant import Device
from edge.listener import Listener
from edge.outbox import Board, MemoryOutbox, Message, Outbox, Trouble
from edge.payloads import CameraState, CameraStatus, Health, Info, SelfTest
from edge.settings import HomeAssistant, Mqtt

_log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 2.0
"""How long `close` takes at most to hand over what is left and to say goodbye."""

_MOST_ANSWERS = 16
"""How many results of commands wait for a connection; then the oldest are forgotten."""

_TURN_S = 1.0
"""How often the thread looks at its clocks while nothing happens."""

_STEP_S = 60.0
"""How long one step of the thread may take before it counts as hanging: connecting is the longest,
for a name server that is away makes the resolver wait, and it cannot be interrupted."""


@dataclass(frozen=True, slots=True)
class Link:
    """How it stands with the broker.

    `protocol` is the MQTT version, None before the first connection. `depth` events wait,
    `dropped` were given up for lack of room, `refused` were not taken by the broker. `trouble`
    says why there is no connection; None while there is one. `troubles` are the outbox's.
    """

    connected: bool
    protocol: Protocol | None
    depth: int
    dropped: int
    refused: int
    trouble: str | None
    troubles: tuple[Trouble, ...]


@final
class Publisher:
    """A sink for events that also publishes how the device and its cameras are.

    Nothing is connected before `start`; what is published before it is sent with the birth.

    Parameters
    ----------
    settings
        The broker, and who we are to it.
    device_id
        Below `settings.prefix`, the first level of every topic.
    cameras
        Their names. What the broker retains for any other camera of this device is cleared.
    outbox
        Where events wait; in memory unless given. `close` closes it.
    inbox
        Where commands go; without one, nothing is subscribed to for them.
    announcer
        When Home Assistant is told of the device; nothing is before `announce`.
    backoff
        How long to wait between attempts to connect.

    Raises
    ------
    ConfigError
        A file that the settings name cannot be used.
    """

    def __init__(
        self,
        settings: Mqtt,
        device_id: str,
        cameras: Sequence[str],
        *,
        outbox: Outbox | None = None,
        inbox: Inbox | None = None,
        announcer: Announcer | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._settings = settings
        self._device_id = device_id
        self._cameras = tuple(cameras)
        self._base = f"{settings.prefix}/{device_id}"
        self._outbox: Outbox = outbox or MemoryOutbox(settings.queue)
        self._answers: deque[Message] = deque(maxlen=_MOST_ANSWERS)
        self._announcer = announcer or Announcer()
        self._listener = Listener(self._base, inbox, self._announcer)
        access = read_access(settings, device_id)
        self._access: Access | None = access
        self._board = Board()
        self._bell = Bell()
        self._closing = threading.Event()
        self._close_by_s = float("inf")
        self._dialogue = Dialogue(
            str(access.broker),
            backoff or Backoff(),
            None if settings.protocol == "auto" else settings.protocol,
        )
        self._connected = False
        self._refused = 0
        self._backlog = 0
        self._defect: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._over_s = monotonic() + _STEP_S
        self._reset(self._cameras)

    def start(self) -> None:
        """Connect, and stay connected, in the background."""
        self._thread.start()

    def send(self, event: Event) -> None:
        """Take one event; returns at once.

        Raises
        ------
        Exception
            A defect of the publishing thread, raised here so that it is not lost there.
        """
        if self._defect is not None:
            raise self._defect
        self._outbox.append(event)
        self._bell.ring()

    def info(self, info: Info) -> None:
        """Publish what runs here."""
        self._retain("info", info)

    def configure(self, cameras: Sequence[str], begun: Collection[str]) -> None:
        """Publish for these cameras from now on.

        Parameters
        ----------
        cameras
            All of them. What is retained for those that are gone is cleared.
        begun
            Those that begin anew.
        """
        gone = set(self._cameras) - set(cameras)
        self._cameras = tuple(cameras)
        for camera in sorted(gone):
            for name in ("status", "state"):
                topic = f"{self._base}/camera/{camera}/{name}"
                self._board.put(Message(topic, b"", retain=True))
        self._reset([camera for camera in cameras if camera in begun])

    def health(self, health: Health) -> None:
        """Publish a health report."""
        self._retain("health", health)

    def selftest(self, report: SelfTest) -> None:
        """Publish what a self-test found."""
        self._retain("selftest", report)

    def answer(self, result: Message) -> None:
        """Publish what became of a command, once; who asked meanwhile may ask again."""
        self._answers.append(result)
        self._bell.ring()

    def announce(self, settings: HomeAssistant, device: Device) -> None:
        """Tell Home Assistant of the device, or take back what it was told."""
        self._announcer.announce(settings, device)
        self._bell.ring()

    def status(self, status: CameraStatus) -> None:
        """Publish whether a camera gives pictures."""
        self._retain(f"camera/{status.camera}/status", status)

    def state(self, state: CameraState) -> None:
        """Publish who is in view of a camera."""
        self._retain(f"camera/{state.camera}/state", state)

    def link(self) -> Link:
        """Return how it stands with the broker."""
        return Link(
            connected=self._connected,
            protocol=self._dialogue.settled,
            depth=self._outbox.depth,
            dropped=self._outbox.dropped,
            refused=self._refused,
            trouble=None if self._connected else self._dialogue.trouble,
            troubles=self._outbox.troubles + self._listener.troubles,
        )

    def turning(self, now_s: float) -> bool:
        """Whether the thread did in time what it should have done by now (monotonic seconds)."""
        return now_s <= self._over_s

    def close(self) -> None:
        """Hand over what is left, as far as the broker takes it in time, and say `offline`."""
        if self._closing.is_set():
            return
        self._close_by_s = monotonic() + CLOSE_TIMEOUT_S
        self._closing.set()
        self._bell.ring()
        if self._thread.is_alive():
            # A name that does not resolve cannot be interrupted; the process can still end.
            self._thread.join(CLOSE_TIMEOUT_S + 0.5)
        if not self._thread.is_alive():
            self._bell.close()
        self._outbox.close()
        self._account()
        if self._defect is not None:
            raise self._defect

    def _account(self) -> None:
        """Say what becomes of the events that were not delivered."""
        lost = self._outbox.unsaved
        if lost:
            _log.warning("mqtt: %d events were not delivered", lost)
        if self._outbox.depth > lost:
            kept = self._outbox.depth - lost
            _log.info("mqtt: %d events wait on disk for the next start", kept)

    def _reset(self, cameras: Iterable[str]) -> None:
        """Put in place of what an earlier process left what is true at the start."""
        ts, synchronised = clock.utc(monotonic()), clock.synchronised()
        for camera in cameras:
            self.status(
                CameraStatus(
                    camera=camera,
                    status="reconnecting",
                    since=ts,
                    clock_synced=synchronised,
                    reason="starting",
                )
            )
            self.state(payloads.state(camera, ts=ts, clock_synced=synchronised))

    def _retain(
        self, name: str, payload: Info | Health | CameraStatus | CameraState | SelfTest
    ) -> None:
        body = msgspec.json.encode(payload)
        self._board.put(Message(f"{self._base}/{name}", body, retain=True, schema=payload.schema))
        self._bell.ring()

    def _run(self) -> None:
        try:
            self._keep_connected()
        except Exception as exc:  # noqa: BLE001  # handed over whole: `send` and `close` raise it
            self._defect = exc

    def _keep_connected(self) -> None:
        while True:
            last = self._closing.is_set()
            failure = self._attempt()
            if failure is None:
                return
            self._connected = False
            wait_s = self._dialogue.failed(failure)
            if wait_s is None:
                continue
            if last:
                return
            # Woken by `close`, one attempt remains: the broker may be back.
            self._over_s = monotonic() + wait_s + _STEP_S
            self._closing.wait(wait_s)

    def _attempt(self) -> LinkError | None:
        """Connect and publish until closed; return what came in between, if something did."""
        try:
            with self._connect() as connection:
                self._serve(connection)
        except LinkError as exc:
            self._announcer.lost(monotonic())
            return exc
        return None

    def _connect(self) -> Connection:
        self._over_s = monotonic() + _STEP_S
        access, self._access = self._access, None
        if access is None:
            try:
                access = read_access(self._settings, self._device_id)
            except ConfigError as exc:
                raise LinkError(str(exc), "credentials") from exc
        left_s = self._close_by_s - monotonic()
        if left_s <= 0.0:
            raise LinkError("it is not there in time", "unreachable")
        return Connection(
            access,
            self._dialogue.protocol,
            self._availability(payloads.OFFLINE),
            timeout_s=min(CONNECT_TIMEOUT_S, left_s),
            answer_s=PROBE_TIMEOUT_S if self._dialogue.probing else ANSWER_TIMEOUT_S,
        )

    def _serve(self, connection: Connection) -> None:
        """Publish over a connection until it fails or the publisher is closed."""
        while not connection.accepted:
            self._poll(connection)
            if monotonic() > self._close_by_s:
                raise LinkError("it does not answer in time", "lost")
        self._begin(connection)
        while not self._finished(connection):
            self._hand_over(connection)
            self._poll(connection)
            self._settle(connection)
            self._hear(connection)
            self._listener.announce(connection)
        self._leave(connection)

    def _poll(self, connection: Connection) -> None:
        self._over_s = monotonic() + _STEP_S
        connection.poll(0.05 if self._closing.is_set() else _TURN_S, self._bell)

    def _begin(self, connection: Connection) -> None:
        """Say that we are here, and begin again with all that was not acknowledged."""
        self._outbox.release()
        self._backlog = self._outbox.last
        self._board.turn_all()
        connection.publish(self._availability(payloads.ONLINE))
        self._listener.begin(connection)
        self._dialogue.succeeded(self._outbox.dropped)
        self._connected = True

    def _hand_over(self, connection: Connection) -> None:
        """Give the connection what it has room for: the board, results, then the oldest events."""
        while connection.room and (message := self._board.take()) is not None:
            connection.publish(message)
        # After the board: a self-test's report is there when its result is heard.
        while connection.room and self._answers and not self._board.full:
            connection.publish(self._answers.popleft())
        for held in self._outbox.take(connection.room):
            event = held.event
            if held.number <= self._backlog:
                event = replace(event, replayed=True)
            message = Message(
                f"{self._base}/camera/{event.camera}/event",
                msgspec.json.encode(event),
                schema=event.schema,
                expiry_s=self._settings.event_expiry_s,
            )
            connection.publish(message, held.number)

    def _settle(self, connection: Connection) -> None:
        for acknowledged in connection.acknowledged():
            if self._announcer.answered(acknowledged.topic, acknowledged.refusal):
                continue
            if acknowledged.number is not None:
                self._outbox.acknowledge(acknowledged.number)
                self._refused += acknowledged.refusal is not None
            self._dialogue.answered(acknowledged.refusal)

    def _hear(self, connection: Connection) -> None:
        """Take in what was heard: what clears a topic is the board's, all else is said once."""
        for answer in self._listener.hear(connection, self._cameras):
            if answer.retain:
                self._board.put(answer)
            else:
                self._answers.append(answer)

    def _availability(self, payload: bytes) -> Message:
        return Message(f"{self._base}/availability", payload, retain=True)

    def _finished(self, connection: Connection) -> bool:
        if not self._closing.is_set():
            return False
        nothing_left = not (
            self._outbox.depth or self._board.full or self._answers or connection.in_flight
        )
        # The last quarter belongs to the goodbye.
        return nothing_left or monotonic() > self._close_by_s - CLOSE_TIMEOUT_S / 4

    def _leave(self, connection: Connection) -> None:
        self._connected = False
        connection.publish(self._availability(payloads.OFFLINE))
        while connection.in_flight and monotonic() < self._close_by_s:
            self._poll(connection)
            self._settle(connection)
        connection.disconnect(max(self._close_by_s - monotonic(), 0.0))
