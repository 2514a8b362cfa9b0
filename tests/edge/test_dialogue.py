"""When a broker is tried again, with what, and what is said about it."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import dialogue
from edge.backoff import Backoff
from edge.connection import LinkError
from edge.dialogue import Dialogue


def test_waits_double_up_to_the_longest_and_begin_again() -> None:
    backoff = Backoff(dice=lambda: 1.0)
    assert [backoff.next_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.next_s() == 1
    assert backoff.slow_s() == 60
    assert backoff.next_s() == 60


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_waits_are_spread_over_the_whole_interval(throws: list[float]) -> None:
    dice = iter(throws)
    backoff = Backoff(1.0, 60.0, dice=lambda: next(dice))
    for number, throw in enumerate(throws):
        assert backoff.next_s() == pytest.approx(throw * min(2.0**number, 60.0))


def fresh() -> Dialogue:
    return Dialogue("broker:1883", Backoff(dice=lambda: 1.0))


def test_each_trouble_is_said_once_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    talk = fresh()
    for text in ("no route", "refused", "no route", "refused"):
        talk.failed(LinkError(text, "unreachable"))
    talk.succeeded(dropped=0)
    talk.failed(LinkError("no route", "lost"))
    assert caplog.messages == [
        "mqtt: broker:1883: no route; trying again",
        "mqtt: broker:1883: refused; trying again",
        "mqtt: broker:1883: connected with MQTT 5",
        "mqtt: broker:1883: no route; trying again",
    ]


def test_a_connection_that_breaks_at_once_is_no_reason_to_hurry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(dialogue, "monotonic", lambda: now)
    talk = fresh()
    waits = []
    for lasted_s in (0.0, 0.0, 9.0, 11.0):
        talk.succeeded(dropped=0)
        now += lasted_s
        waits.append(talk.failed(LinkError("lost", "lost")))
    assert waits == [1, 2, 4, 1]


def test_refused_credentials_are_tried_again_slowly(caplog: pytest.LogCaptureFixture) -> None:
    talk = fresh()
    assert [talk.failed(LinkError("it refuses us", "credentials")) for _ in range(3)] == [60] * 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_the_older_protocol_is_tried_at_once_and_the_newer_again_after_a_wait() -> None:
    talk = fresh()
    hung_up = LinkError("it hangs up", "silent")
    assert talk.protocol == "5"
    assert talk.failed(hung_up) is None
    assert talk.protocol == "3.1.1"
    assert talk.failed(hung_up) == 1
    assert talk.protocol == "5"


def test_a_protocol_that_worked_is_kept_until_it_is_refused_outright() -> None:
    talk = fresh()
    talk.succeeded(dropped=0)
    assert talk.failed(LinkError("it hangs up", "silent")) == 1
    assert (talk.protocol, talk.settled) == ("5", "5")
    assert talk.failed(LinkError("it refuses MQTT 5", "protocol")) is None
    assert talk.protocol == "3.1.1"


def test_a_protocol_that_is_set_is_the_only_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    talk = Dialogue("broker:1883", Backoff(dice=lambda: 1.0), "3.1.1")
    assert not talk.probing
    assert talk.failed(LinkError("it refuses MQTT 3.1.1", "protocol")) == 1
    assert talk.protocol == "3.1.1"
    talk.succeeded(dropped=0)
    assert caplog.messages[-1] == "mqtt: broker:1883: connected with MQTT 3.1.1"


def test_what_was_dropped_is_said_when_the_broker_is_back(caplog: pytest.LogCaptureFixture) -> None:
    talk = fresh()
    for dropped in (0, 3, 3, 8):
        talk.succeeded(dropped=dropped)
    assert caplog.messages == [
        "mqtt: 3 events were dropped while the queue was full",
        "mqtt: 5 events were dropped while the queue was full",
    ]


def test_refused_messages_are_said_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    talk = fresh()
    for refusal in (None, "Not authorized", "Not authorized", None, "Quota exceeded"):
        talk.answered(refusal)
    assert caplog.messages == [
        "mqtt: broker:1883: it refuses what is published: Not authorized",
        "mqtt: broker:1883: it refuses what is published: Quota exceeded",
    ]
