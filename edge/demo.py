"""`mien demo`: the whole of it on one machine, without hardware, over in half a minute.

A real broker in this process (amqtt), the sample clip as a camera, the daemon as it is, and an
ordinary subscriber that prints what it receives.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from edge import daemon
from edge.broker import Broker
from edge.errors import MienError
from edge.settings import Camera, Events, Mqtt, Settings, Spool
from edge.subscriber import Subscriber
from edge.watch import Fleet, line

SAMPLE = Path(__file__).parent / "samples" / "portrait.webm"
_LOOPBACK = "127.0.0.1"
_QUIET_S = 1.0
_GOODBYE_S = 5.0


def run(stream: TextIO | None = None) -> int:
    """Run the demonstration and return the exit code.

    Raises
    ------
    MienError
        The extra `demo` is not installed.
    """
    stream = stream or sys.stdout
    with embedded_broker() as broker:
        settings = Settings(
            device_id="demo",
            camera=(Camera(uri=f"clip:{SAMPLE}", name="sample"),),
            mqtt=Mqtt(url=f"mqtt://{broker}", protocol="3.1.1"),
            # Often enough that a stranger sees something happen.
            events=Events(heartbeat_s=0.5),
            # Nothing of it is worth keeping, and nothing of before should be heard.
            spool=Spool(enabled=False),
        )
        _say(stream, f"a broker on {broker}; a subscriber to mien/demo/# hears:")
        with Subscriber(settings.mqtt, "mien/demo/#") as subscriber:
            printer = threading.Thread(target=_print, args=(subscriber, stream), daemon=True)
            printer.start()
            code = daemon.run(settings)
            printer.join(_GOODBYE_S)
    _say(
        stream,
        "That was a clip. With a camera and your own broker: mien run --camera URI --mqtt URL",
    )
    return code


@contextmanager
def embedded_broker() -> Iterator[Broker]:
    """Run an MQTT broker in a thread of this process, on a free port of the loopback address."""
    module = _amqtt()
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    address: Future[Broker] = Future()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(_serve(module, address, done)), daemon=True
    )
    thread.start()
    try:
        yield address.result()
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


async def _serve(module: ModuleType, address: Future[Broker], done: asyncio.Event) -> None:
    broker: Any = module.Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{_LOOPBACK}:0"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    try:
        await broker.start()
    except Exception as exc:  # noqa: BLE001  # handed over whole: `result` raises it
        address.set_exception(exc)
        return
    (server,) = broker._servers.values()  # noqa: SLF001  # it has no other way to tell its port
    port = server.instance.sockets[0].getsockname()[1]
    address.set_result(Broker(_LOOPBACK, port, tls=False))
    await done.wait()
    await broker.shutdown()


def _print(subscriber: Subscriber, stream: TextIO) -> None:
    """Print what a subscriber receives until the device says that it has gone."""
    fleet = Fleet()
    while True:
        for topic, payload in subscriber.messages(_QUIET_S):
            event = fleet.receive(topic, payload)
            if event is not None:
                _say(stream, line(event))
            if topic.endswith("/availability"):
                _say(stream, f"the device is {payload.decode()}")
                if payload == b"offline":
                    return


def _amqtt() -> ModuleType:
    try:
        return importlib.import_module("amqtt.broker")
    except ImportError as exc:
        raise MienError(
            "the demonstration needs a broker in this process: pip install 'mien[demo]'"
        ) from exc


def _say(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
