"""A real mosquitto for tests, somebody who listens to it, and a cable that can be pulled."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE_S = 15.0
"""How long a test waits for what must happen; it mostly happens in milliseconds."""


def program(name: str, package: str) -> str:
    """A program of the system's; a newcomer's machine need not have it, CI's must."""
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if found is None:
        assert os.environ.get("CI") != "true", f"CI must have {name}: apt install {package}"
        pytest.skip(f"{name} is missing: apt install {package}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(
    condition: Callable[[], bool], what: str = "the condition", patience_s: float = PATIENCE_S
) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.01)


def figure(text: str) -> None:
    """Print what a test counted, for docs/reliability.md; `pytest -rP` shows it."""
    sys.stdout.write(f"{text}\n")


class Mosquitto:
    """A broker on a port of its own; `lines` are added to its listener's configuration."""

    def __init__(self, binary: str, folder: Path, lines: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / f"mosquitto-{self.port}.conf"
        # As root it would become a user who may not read the tests' folders.
        self._config.write_text(f"user root\nlistener {self.port} 127.0.0.1\n{lines}\n")
        self._binary = binary
        self._log = folder / f"mosquitto-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "-v", "-c", str(self._config)], stdout=log, stderr=log
            )
        eventually(self._listens, f"mosquitto {self.log}")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Ear:
    """Hears all of a broker, reconnecting where it has to.

    With `qos` 0 it acknowledges nothing, and so reads to its end what a broker that was killed had
    sent it: an acknowledgement that fails would end the connection before.
    """

    def __init__(
        self, port: int, topics: str = "mien/#", *, version: int = 5, qos: int = 1
    ) -> None:
        self.heard: list[MQTTMessage] = []
        self._topics = topics
        self._qos = qos
        self._subscribed = threading.Event()
        protocol = MQTTProtocolVersion.MQTTv5 if version == 5 else MQTTProtocolVersion.MQTTv311
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.subscribed()

    def _on_connect(self, client: Client, *_: object) -> None:
        # Told of retained messages, and told truly: a live one has no retain flag of its own.
        asked: dict[str, Any] = {"qos": self._qos}
        if client.protocol == MQTTProtocolVersion.MQTTv5:
            asked = {"options": SubscribeOptions(qos=self._qos, retainAsPublished=True)}
        client.subscribe(self._topics, **asked)

    def on(self, topic: str) -> list[MQTTMessage]:
        return [message for message in list(self.heard) if message.topic == topic]

    def texts(self, topic: str) -> list[str]:
        return [message.payload.decode() for message in self.on(topic)]

    def json(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.on(topic)]

    def say(
        self,
        topic: str,
        payload: bytes | str,
        *,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """Publish with QoS 1, and wait until the broker has it."""
        sent = self._client.publish(topic, payload, 1, retain, properties)
        sent.wait_for_publish(PATIENCE_S)
        assert sent.is_published()

    def wait(self, topic: str, count: int = 1) -> None:
        eventually(lambda: len(self.on(topic)) >= count, f"{count} messages on {topic}")

    def forget(self) -> None:
        """Do not take the present subscription for the one after the broker's restart."""
        self._subscribed.clear()

    def subscribed(self) -> None:
        assert self._subscribed.wait(PATIENCE_S)

    def leave(self) -> None:
        """Hear out a broker that has gone, and do not come back."""
        eventually(lambda: not self._client.is_connected(), "the end of the connection")
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Cable:
    """Lies between a client and a broker, and can be pulled out.

    With `older`, MQTT 5 is answered with those bytes and hung up on, as an older broker does
    (mosquitto learnt to refuse it by a setting only in 2.1). With `forbidden`, who sends those
    bytes is hung up on, as some brokers do with topics that are not a client's.
    """

    def __init__(
        self, port: int, older: bytes | None = None, forbidden: bytes | None = None
    ) -> None:
        self._broker = port
        self._older = older
        self._forbidden = forbidden
        self.refused = 0
        self._plugged = False
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def plug(self) -> None:
        self._plugged = True

    def pull(self) -> None:
        """Break what is connected, in the midst of whatever is on its way."""
        with self._lock:
            self._plugged = False
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._ends.clear()

    def close(self) -> None:
        self.pull()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._older is not None and near.recv(64, socket.MSG_PEEK).find(b"MQTT\x05") >= 0:
                self.refused += 1
                near.recv(4096)
                near.sendall(self._older)
                near.close()
                continue
            with self._lock:
                try:
                    assert self._plugged
                    far = socket.create_connection(("127.0.0.1", self._broker))
                except (AssertionError, OSError):
                    near.close()
                    continue
                self._ends += [near, far]
            shut = threading.Barrier(2)
            for ends in ((near, far), (far, near)):
                thread = threading.Thread(target=self._carry, args=(*ends, shut), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _carry(self, source: socket.socket, target: socket.socket, shut: threading.Barrier) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if self._forbidden is not None and self._forbidden in data:
                    self.refused += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        shut.wait()
        source.close()


STOP, CONTINUE = signal.SIGSTOP, signal.SIGCONT
