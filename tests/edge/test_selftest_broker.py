"""From a picture to a real broker and back, and the report where subscribers find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from realbroker import Cable, Ear, Mosquitto

from edge import clock, selftest
from edge.boards import UNKNOWN
from edge.errors import MienError
from edge.payloads import SelfTestCheck
from edge.pipeline import load_models
from edge.selftest import broker as examined
from edge.selftest.subject import Subject
from edge.settings import Mqtt, Settings

SUBJECT = Subject(Settings(), UNKNOWN, load_models(Settings()))
REFUSED_5 = bytes((0x20, 2, 0, 1))
"""CONNACK of 3.1.1: unacceptable protocol version."""


def settings(url: str) -> Settings:
    return Settings(device_id="lobby", mqtt=Mqtt(url=url))


def tried(url: str) -> list[SelfTestCheck]:
    return list(examined.round_trip(replace(SUBJECT, settings=settings(url))))


def test_the_way_to_the_broker_and_back_is_measured(
    brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    ear = ears(broker)
    puback, back = tried(broker.url)
    assert [puback.name, back.name] == ["broker-puback", "broker-round-trip"]
    assert {puback.verdict, back.verdict} == {"passed"}, (puback, back)
    assert puback.percentiles is not None
    assert back.percentiles is not None
    assert 0 < puback.percentiles.p50 <= back.percentiles.p50
    heard = ear.json("mien/lobby/selftest/probe")
    assert len({each["id"] for each in heard}) == examined.PROBES
    assert not any(each.retain for each in ear.on("mien/lobby/selftest/probe"))
    assert "as mien-lobby-selftest (p5" in broker.log, "the daemon's own id is left alone"


def test_a_report_is_retained_for_those_who_come_later(
    brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    report = selftest.summed_up(SUBJECT, [], begun_s=0.0)
    examined.publish(settings(broker.url), report)
    late = ears(broker)
    late.wait("mien/lobby/selftest")
    (message,) = late.on("mien/lobby/selftest")
    assert message.retain
    assert message.payload == msgspec.json.encode(report)
    assert clock.utc(0.0)[:4] == report.ts[:4]


def test_an_older_broker_is_spoken_to_in_its_own_version(
    brokers: Callable[..., Mosquitto], cables: Callable[..., Cable]
) -> None:
    broker = brokers()
    cable = cables(broker, REFUSED_5)
    cable.plug()
    assert {check.verdict for check in tried(cable.url)} == {"passed"}
    assert cable.refused == 1


def test_a_broker_that_is_away_is_named() -> None:
    with pytest.raises(MienError, match=r"127\.0\.0\.1:1\b.*cannot be reached"):
        tried("mqtt://127.0.0.1:1")
    with pytest.raises(MienError, match=r"broker 127\.0\.0\.1:1: .*refused"):
        examined.publish(
            settings("mqtt://127.0.0.1:1"), selftest.summed_up(SUBJECT, [], begun_s=0.0)
        )


@pytest.mark.parametrize(
    ("allowed", "what"),
    [("topic read mien/#", "the broker refuses it"), ("topic write mien/#", "does not come back")],
)
def test_rights_that_are_missing_are_named(
    allowed: str,
    what: str,
    tmp_path: Path,
    brokers: Callable[..., Mosquitto],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examined, "PATIENCE_S", 0.5)
    rights = tmp_path / "acl"
    rights.write_text(f"{allowed}\n")
    rights.chmod(0o600)
    broker = brokers(f"allow_anonymous true\nacl_file {rights}")
    with pytest.raises(MienError, match=what):
        tried(broker.url)


def test_without_models_there_is_nothing_to_send() -> None:
    assert not list(examined.round_trip(replace(SUBJECT, models=None)))
