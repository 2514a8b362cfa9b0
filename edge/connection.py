"""One connection to an MQTT broker, from TCP connect to its end.

paho remembers unacknowledged messages and sends them again when its client reconnects; the
outbox would do so too, and subscribers got both. So every connection has a paho client of its own,
which is thrown away with it: the outbox alone decides what is sent again. The caller's thread
polls, so that everything about a connection happens in that one thread.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections import deque
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, Literal, final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.access import Access, why_hung_up, why_unconnected
from edge.errors import MienError
from edge.outbox import Heard, Message

Protocol = Literal["5", "3.1.1"]
Fault = Literal["unreachable", "protocol", "silent", "credentials", "lost"]

ANSWER_TIMEOUT_S = 10.0
"""How long a broker may take to answer the first packet."""

PROBE_TIMEOUT_S = 3.0
"""How long it may take where it is not yet known whether it understands the question: a broker of
3.1.1 may take a last will of MQTT 5 for the beginning of something longer, and wait."""

CONNECT_TIMEOUT_S = 5.0
"""How long the TCP connection, and then the TLS handshake, may take."""

MOST_PACKET_BYTES = 65_536
"""The longest packet a broker of MQTT 5 may send us: what is retained for a camera with 256 faces
is shorter. An older broker has a limit of its own (mosquitto: `message_size_limit`)."""

_MOST_IN_FLIGHT = 20
"""Messages on their way without an acknowledgement; a broker of MQTT 5 may ask for fewer."""

_VERSIONS: dict[Protocol, MQTTProtocolVersion] = {
    "5": MQTTProtocolVersion.MQTTv5,
    "3.1.1": MQTTProtocolVersion.MQTTv311,
}
# Reason codes of MQTT 5, section 2.4; paho translates the return codes of 3.1.1 into them.
_BAD_PROTOCOL = {0x81, 0x82, 0x84}
_BAD_CREDENTIALS = {0x86, 0x87, 0x8C}

_UNREADABLE = (OSError, ValueError, LookupError, AssertionError, struct.error)
"""What paho raises while it decodes a packet that is none, by version: 2.2 catches them itself."""


class LinkError(MienError):
    """A connection could not be made, was refused, or is lost.

    `fault` says what kind it is: `unreachable` (network, name, certificate), `protocol` (the
    broker refuses the MQTT version), `silent` (it hangs up or does not answer: it refuses so, or
    is going down), `credentials`, or `lost`.
    """

    def __init__(self, text: str, fault: Fault) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker has taken a message, or refused it for the reason `refusal`.

    `topic` and `number` are what `publish` was given.
    """

    topic: str
    number: int | None
    refusal: str | None


@final
class Bell:
    """Wakes a thread that polls a connection. Any thread may ring."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.settimeout(0.0)
        self._far.settimeout(0.0)

    def ring(self) -> None:
        """Let `poll` return at once, now or the next time."""
        try:
            self._far.send(b"!")
        except OSError:
            return  # full: it is ringing already; or closed: nobody listens

    def hush(self) -> None:
        """Forget what rang."""
        try:
            self._near.recv(4096)
        except BlockingIOError:
            return

    def fileno(self) -> int:
        """Return what `select` waits for."""
        return self._near.fileno()

    def close(self) -> None:
        """Release the sockets."""
        self._near.close()
        self._far.close()


@final
class Connection:
    """A connection and its messages in flight; all of them are sent with QoS 1.

    A context manager, which closes the socket. For one thread.

    Parameters
    ----------
    access
        Where the broker is and who connects.
    protocol
        The MQTT version.
    will
        What the broker publishes when the connection ends otherwise than by `disconnect`; None
        for nothing.
    timeout_s
        How long connecting may take, name resolution not counted.
    answer_s
        How long the broker may then take to answer.

    Raises
    ------
    LinkError
        The broker cannot be reached. Its answer is heard by `poll`.
    """

    def __init__(
        self,
        access: Access,
        protocol: Protocol,
        will: Message | None,
        *,
        timeout_s: float = CONNECT_TIMEOUT_S,
        answer_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.protocol: Protocol = protocol
        self._answer: tuple[ReasonCode, Properties | None] | None = None
        self._goodbye: ReasonCode | None = None
        self._connected: object = None
        self._in_flight: dict[int, tuple[str, int | None]] = {}
        self._acknowledged: deque[Acknowledged] = deque()
        self._received: deque[Heard] = deque()
        self._news: int | None = None
        self._deaf = False
        self._most = _MOST_IN_FLIGHT
        self._client = self._made(access, will, timeout_s)
        try:
            self._client.connect(
                access.broker.host,
                access.broker.port,
                access.keepalive_s,
                properties=self._terms(),
            )
        except OSError as exc:
            raise LinkError(why_unconnected(exc), "unreachable") from exc
        self._answer_by_s = monotonic() + answer_s

    def __enter__(self) -> Connection:
        """Return the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the socket. Without `disconnect` before, the broker publishes the will."""
        open_socket = self._client.socket()
        if open_socket is not None:
            open_socket.close()

    @property
    def accepted(self) -> bool:
        """Whether the broker has let us in."""
        return self._answer is not None and not self._answer[0].is_failure

    @property
    def in_flight(self) -> int:
        """How many messages are published and not acknowledged."""
        return len(self._in_flight)

    @property
    def room(self) -> int:
        """How many messages may be published now.

        None while the socket does not take what was written, so that a broker that hangs does
        not fill our memory.
        """
        return 0 if self._client.want_write() else max(self._most - len(self._in_flight), 0)

    def publish(self, message: Message, number: int | None = None) -> None:
        """Send a message with QoS 1; `number` comes back with its acknowledgement.

        Raises
        ------
        LinkError
            The connection is lost.
        """
        properties = self._properties(message, PacketTypes.PUBLISH)
        info = self._client.publish(
            message.topic, message.payload, qos=1, retain=message.retain, properties=properties
        )
        self._check(info.rc)
        self._in_flight[info.mid] = message.topic, number

    def subscribe(self, *topics: str) -> None:
        """Ask for messages on `topics`; those that are refused just never come."""
        self._check(self._client.subscribe([(topic, 0) for topic in topics])[0])

    def subscribe_to_news(self, *topics: str) -> None:
        """Ask for what is published on `topics` from now on; see `deaf`.

        By MQTT 5 nothing that was retained before is sent, and what is retained now is said to be.
        With QoS 1, strangers could silence mosquitto 2.0: what it drops for being longer than we
        take stays in flight there, and after 20 of them it sends nothing any more.
        """
        options: Any = 0
        if self.protocol == "5":
            options = SubscribeOptions(
                qos=0, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
            )
        code, self._news = self._client.subscribe([(topic, options) for topic in topics])
        self._check(code)

    @property
    def deaf(self) -> bool:
        """Whether the broker refuses a topic of `subscribe_to_news`."""
        return self._deaf

    def unsubscribe(self, *topics: str) -> None:
        """Ask for no more messages on `topics`."""
        self._check(self._client.unsubscribe(list(topics))[0])

    def poll(self, timeout_s: float, bell: Bell) -> None:
        """Read and write what there is, waiting for it or for the bell.

        Raises
        ------
        LinkError
            The broker refuses us, does not answer, or the connection is lost.
        """
        sock = self._socket()
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            timeout_s = 0.0  # it has been read and decrypted: select would not see it
        writing = [sock] if self._client.want_write() else []
        readable, writable, _ = select.select([sock, bell], writing, [], timeout_s)
        if bell in readable:
            bell.hush()
        if sock in readable or timeout_s == 0.0:
            self._read()
        if writable and self._client.socket() is not None:
            self._client.loop_write()
        self._check(self._client.loop_misc())
        if self._answer is None and monotonic() > self._answer_by_s:
            raise LinkError("it takes the connection and does not answer", "silent")

    def acknowledged(self) -> list[Acknowledged]:
        """Return what was acknowledged since the last call."""
        found = list(self._acknowledged)
        self._acknowledged.clear()
        return found

    def received(self) -> list[Heard]:
        """Return what was received since the last call."""
        found = list(self._received)
        self._received.clear()
        return found

    def disconnect(self, timeout_s: float) -> None:
        """Take leave, so that the broker does not publish the will.

        Waits `timeout_s` at most for a broker that reads slowly.
        """
        by_s = monotonic() + timeout_s
        self._client.disconnect()
        while (sock := self._client.socket()) is not None and monotonic() < by_s:
            select.select([], [sock], [], max(by_s - monotonic(), 0.0))
            self._client.loop_write()

    def _made(self, access: Access, will: Message | None, timeout_s: float) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=access.client_id,
            protocol=_VERSIONS[self.protocol],
            reconnect_on_failure=False,
        )
        client.connect_timeout = timeout_s
        client.max_inflight_messages_set(_MOST_IN_FLIGHT)
        if access.username is not None:
            client.username_pw_set(access.username, access.password)
        if access.tls is not None:
            client.tls_set_context(access.tls)
        if will is not None:
            properties = self._properties(will, PacketTypes.WILLMESSAGE)
            client.will_set(
                will.topic, will.payload, qos=1, retain=will.retain, properties=properties
            )
        # Only note what happens: paho calls these in the midst of its own work.
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _properties(self, message: Message, kind: int) -> Properties | None:
        if self.protocol != "5":
            return None
        properties = Properties(kind)  # type: ignore[no-untyped-call]  # paho's omission
        if message.schema is not None:
            properties.ContentType = "application/json"
            properties.UserProperty = ("schema", message.schema)
        if message.expiry_s is not None:
            properties.MessageExpiryInterval = message.expiry_s
        if message.correlation is not None:
            properties.CorrelationData = message.correlation
        return properties

    def _terms(self) -> Properties | None:
        """Return what we ask of a broker of MQTT 5."""
        if self.protocol != "5":
            return None
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # as above
        properties.MaximumPacketSize = MOST_PACKET_BYTES
        return properties

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except _UNREADABLE as exc:
            raise LinkError("it sends something that is not MQTT", "lost") from exc
        if self._answer is not None and self._answer[0].is_failure:
            raise self._refused(self._answer[0])

    def _socket(self) -> Any:  # noqa: ANN401  # paho's type is what select takes
        sock = self._client.socket()
        if sock is None:
            raise self._gone()
        return sock

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._client.socket() is None:
            raise self._gone()

    def _gone(self) -> LinkError:
        if self._answer is None and (why := why_hung_up(self._connected)) is not None:
            return LinkError(why, "credentials")
        if self._answer is None:
            return LinkError("it hangs up instead of answering", "silent")
        if self._goodbye is None or not self._goodbye.is_failure:
            return LinkError("the connection is closed", "lost")
        return LinkError(f"the connection is lost ({self._goodbye})", "lost")

    def _refused(self, reason: ReasonCode) -> LinkError:
        if reason.value in _BAD_PROTOCOL:
            return LinkError(f"it refuses MQTT {self.protocol} ({reason})", "protocol")
        if reason.value in _BAD_CREDENTIALS:
            return LinkError(
                f"it refuses us ({reason}): set [mqtt] username and password_file", "credentials"
            )
        return LinkError(f"it refuses the connection ({reason})", "unreachable")

    def _on_socket_open(self, _client: Client, _userdata: object, sock: object) -> None:
        self._connected = sock

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._answer = (reason, properties)
        most = getattr(properties, "ReceiveMaximum", _MOST_IN_FLIGHT)
        self._most = min(most, _MOST_IN_FLIGHT)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._goodbye = reason

    def _on_publish(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        refusal = str(reason) if reason.is_failure else None
        topic, number = self._in_flight.pop(mid, ("", None))
        self._acknowledged.append(Acknowledged(topic, number, refusal))

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties,
    ) -> None:
        if mid == self._news:
            self._deaf = any(reason.is_failure for reason in reasons)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self._received.append(
            Heard(
                message.topic,
                bytes(message.payload),
                retained=message.retain,
                duplicate=message.dup,
                correlation=getattr(message.properties, "CorrelationData", None),
            )
        )
