"""sd_notify, heard by a real datagram socket."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.liveness import Liveness
from edge.notify import Notifier


def listening(address: str) -> socket.socket:
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind("\0" + address[1:] if address.startswith("@") else address)
    ear.settimeout(5.0)
    return ear


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"@mien-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")


@pytest.fixture
def ear(address: str) -> Iterator[socket.socket]:
    with listening(address) as ear:
        yield ear


def test_each_message_is_one_datagram(address: str, ear: socket.socket) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.watchdog()
    notifier.status("door ok;\nbroker\taway")
    notifier.stopping()
    heard = [ear.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1", "WATCHDOG=1", "STATUS=door ok; broker away", "STOPPING=1"]
    notifier.close()
    notifier.close()
    notifier.ready()


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_watchdog_is_what_the_environment_says(
    environ: dict[str, str], watchdog_s: float | None
) -> None:
    assert Notifier.from_environment(environ).watchdog_s == watchdog_s


def test_without_a_service_manager_nothing_happens() -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}):
        notifier = Notifier.from_environment(environ)
        notifier.ready()
        notifier.close()


def test_an_address_of_another_kind_is_told_and_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1"}).ready()
    assert "vsock:2:1" in caplog.text


def test_a_manager_that_is_away_or_does_not_listen_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Notifier(str(tmp_path / "gone"))
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            gone.watchdog()
    assert len(caplog.records) == 1
    gone.close()

    caplog.clear()
    with listening(str(tmp_path / "full")) as ear:
        deaf = Notifier(str(tmp_path / "full"))
        # More than any queue of datagrams holds; a call that waited would never return.
        for _ in range(5000):
            deaf.watchdog()
        assert len(caplog.records) == 1
        assert ear.recv(100) == b"WATCHDOG=1"
        deaf.close()


def test_what_could_not_be_told_is_told_when_there_is_room(tmp_path: Path) -> None:
    with listening(str(tmp_path / "full")) as ear:
        notifier = Notifier(str(tmp_path / "full"), 3.0)
        while notifier.watchdog():
            pass
        liveness = Liveness(notifier, [])
        liveness.ready()
        liveness.say("door ok")
        ear.settimeout(0.0)
        assert drained(ear) == {"WATCHDOG=1"}
        liveness.beat(0.0)
        liveness.say("door ok")
        assert drained(ear) == {"READY=1", "STATUS=door ok"}
        liveness.beat(0.0)
        liveness.say("door ok")
        assert drained(ear) == set()
        notifier.close()


def drained(ear: socket.socket) -> set[str]:
    heard = set()
    with contextlib.suppress(BlockingIOError):
        while True:
            heard.add(ear.recv(4096).decode())
    return heard
