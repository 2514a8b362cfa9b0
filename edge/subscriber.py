"""An ordinary MQTT subscriber, as anyone would write one: what `mien watch` and `mien demo` use.

It speaks 3.1.1, which every broker does, and knows nothing of Mien but the topic it was given.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType

from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.access import read_access, why_hung_up, why_unconnected
from edge.errors import MienError
from edge.settings import Mqtt

_CONNECT_TIMEOUT_S = 5.0
_LEAVE_TIMEOUT_S = 3.0
_MOST_WAITING = 10_000


class Subscriber:
    """Messages of one topic filter, in the order they came. A context manager.

    Parameters
    ----------
    settings
        Where to connect and as whom, as the daemon would; certificates are always checked.
    topic
        The topic filter.

    Raises
    ------
    MienError
        The broker cannot be reached, or refuses the connection.
    """

    def __init__(self, settings: Mqtt, topic: str) -> None:
        access = read_access(settings, "watch")
        self._broker = access.broker
        self._topic = topic
        self._messages: queue.Queue[MQTTMessage] = queue.Queue(_MOST_WAITING)
        self._answers: queue.Queue[str] = queue.Queue()
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv311)
        client.username_pw_set(access.username, access.password)
        if access.tls is not None:
            client.tls_set_context(access.tls)
        client.on_connect = self._connected
        client.on_socket_close = self._disconnected
        client.on_subscribe = lambda *_: self._answers.put("")
        client.on_message = lambda _client, _data, message: self._messages.put(message)
        self._client = client
        # paho's own thread would be woken by way of a socket that listens, if only for a moment.
        self._thread = threading.Thread(target=client.loop_forever, name="subscriber", daemon=True)

    def __enter__(self) -> Subscriber:
        """Connect and subscribe; messages published from now on are not missed."""
        try:
            self._client.connect(self._broker.host, self._broker.port)
        except OSError as exc:
            raise MienError(
                f"broker {self._broker}: cannot be reached ({why_unconnected(exc)}); start it, or "
                "name another with --mqtt URL"
            ) from exc
        self._thread.start()
        try:
            refusal = self._answers.get(timeout=_CONNECT_TIMEOUT_S)
        except queue.Empty:
            refusal = "it did not answer"
        if refusal:
            self._leave()
            raise MienError(f"broker {self._broker}: refused the connection: {refusal}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self._leave()

    def messages(self, timeout_s: float) -> Iterator[tuple[str, bytes]]:
        """Yield topics and payloads until none has come for `timeout_s` seconds."""
        while True:
            try:
                message = self._messages.get(timeout=timeout_s)
            except queue.Empty:
                return
            yield message.topic, bytes(message.payload)

    def _leave(self) -> None:
        self._client.disconnect()
        self._thread.join(_LEAVE_TIMEOUT_S)

    def _disconnected(self, _client: Client, _data: object, sock: object) -> None:
        if (why := why_hung_up(sock)) is not None:
            self._answers.put(why)

    def _connected(
        self, client: Client, _data: object, _flags: object, reason: ReasonCode, *_: object
    ) -> None:
        if reason.is_failure:
            self._answers.put(str(reason))
        else:
            # On every connection: a broker that was restarted has forgotten the subscription.
            client.subscribe(self._topic, qos=1)
