"""An ordinary subscriber."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.publish import single
from realbroker import Mosquitto, free_port

from edge.errors import MienError
from edge.settings import Mqtt
from edge.subscriber import Subscriber


def test_messages_come_in_order_and_then_no_more(brokers: Callable[..., Mosquitto]) -> None:
    broker = brokers()
    with Subscriber(Mqtt(url=broker.url), "mien/#") as subscriber:
        for number in range(3):
            single(f"mien/{number}", b"x", qos=1, hostname="127.0.0.1", port=broker.port)
        heard = []
        for topic, payload in subscriber.messages(5.0):
            heard.append((topic, payload))
            if len(heard) == 3:
                break
        assert heard == [("mien/0", b"x"), ("mien/1", b"x"), ("mien/2", b"x")]
        assert list(subscriber.messages(0.01)) == []


def test_a_broker_that_is_not_there_is_named() -> None:
    port = free_port()
    with pytest.raises(MienError, match=f"broker 127.0.0.1:{port}: cannot be reached"):
        Subscriber(Mqtt(url=f"mqtt://127.0.0.1:{port}"), "mien/#").__enter__()


def test_a_refusal_is_named(brokers: Callable[..., Mosquitto], tmp_path: Path) -> None:
    (tmp_path / "users").write_text("")
    broker = brokers(f"allow_anonymous false\npassword_file {tmp_path / 'users'}")
    with pytest.raises(MienError, match="refused the connection"):
        Subscriber(Mqtt(url=broker.url), "mien/#").__enter__()


def test_it_listens_nowhere_not_even_for_a_moment(
    brokers: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = brokers()
    with monkeypatch.context() as forbidden:
        forbidden.setattr(socket.socket, "listen", lambda *_: pytest.fail("a socket listens"))
        with Subscriber(Mqtt(url=broker.url), "mien/#"):
            pass
