"""What is heard goes where it belongs, and nothing is cleared that is not ours."""

from __future__ import annotations

from typing import Any

import pytest

from edge.announcer import Announcer
from edge.commands import Inbox
from edge.listener import Listener
from edge.outbox import Heard, Message

BASE = "mien/kiosk"


class Line:
    """A connection over which these messages came."""

    deaf = False

    def __init__(self, *messages: Heard) -> None:
        self._messages = messages

    def received(self) -> tuple[Heard, ...]:
        return self._messages


def answers(*messages: Heard, inbox: Inbox | None = None) -> list[Message]:
    line: Any = Line(*messages)
    return Listener(BASE, inbox, Announcer()).hear(line, ("door",))


@pytest.mark.parametrize("name", ["status", "state"])
def test_what_is_kept_of_a_camera_that_is_gone_is_cleared(name: str) -> None:
    gone = f"{BASE}/camera/attic/{name}"
    assert answers(Heard(gone, b"{}", retained=True)) == [Message(gone, b"", retain=True)]


@pytest.mark.parametrize(
    "heard",
    [
        Heard(f"{BASE}/camera/door/state", b"{}", retained=True),
        Heard(f"{BASE}/camera/attic/state", b"{}"),
        Heard(f"{BASE}/camera/attic/state", b"", retained=True),
        Heard("homeassistant/status", b"online", retained=True),
        Heard("homeassistant/device/mien_kiosk/config", b"{}", retained=True),
        Heard("mien/kiosk-2/camera/attic/state", b"{}", retained=True),
    ],
    ids=lambda heard: f"{heard.topic} {heard.payload!r} {heard.retained}",
)
def test_nothing_else_is_cleared(heard: Heard) -> None:
    assert answers(heard) == []


def test_a_command_is_answered_or_waits() -> None:
    inbox = Inbox(BASE, "kiosk", "boot")
    (refusal,) = answers(
        Heard(f"{BASE}/cmd/pause", b"not JSON"), Heard(f"{BASE}/cmd/pause", b""), inbox=inbox
    )
    assert (refusal.topic, refusal.retain) == (f"{BASE}/cmd/result", False)
    request = inbox.take()
    assert request is not None
    assert request.command == "pause"
    assert inbox.take() is None
