"""When Home Assistant is told, by a clock of our own and over a real broker."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish
from realbroker import Cable, Ear, Mosquitto, eventually

from edge import announcer, mqtt
from edge.announcer import LOOK_S, Announcer
from edge.backoff import Backoff
from edge.homeassistant import Device, message
from edge.mqtt import Publisher
from edge.outbox import Heard, Message
from edge.payloads import CameraStatus
from edge.settings import HomeAssistant, Mqtt

TOPIC = "homeassistant/device/mien_kiosk/config"
STATUS = "homeassistant/status"
README = Path(__file__).parents[2] / "README.md"
TS = "2026-01-02T03:04:05.678Z"
DEVICE = Device(
    base="mien/kiosk",
    cameras=("door", "hall"),
    labels=("happy", "sad"),
    board="Test Board",
    version="0.1.0",
)
ON, OFF = HomeAssistant(), HomeAssistant(enabled=False)

BrokerMaker = Callable[..., Mosquitto]
EarMaker = Callable[..., Ear]
CableMaker = Callable[..., Cable]


def announced(settings: HomeAssistant = ON, device: Device = DEVICE) -> Announcer:
    """One that is connected and has waited two seconds for the pause after a start."""
    made = Announcer(pause=lambda: 2.0)
    made.announce(settings, device)
    made.connected()
    return made


def looked(settings: HomeAssistant = ON, kept: bytes = b"") -> Announcer:
    """One that has found `kept` on the broker."""
    made = announced(settings)
    made.topics(0.0)
    made.hear(Heard(TOPIC, kept, retained=True), 0.0)
    return made


def sent(made: Announcer, now_s: float) -> bytes:
    """What is published, and acknowledged."""
    due = made.due(now_s)
    assert due is not None
    assert due == Message(TOPIC, due.payload, retain=True)
    assert made.answered(TOPIC, None)
    return due.payload


def test_before_it_tells_it_looks_what_an_earlier_process_told() -> None:
    made = announced()
    assert made.topics(0.0) == {STATUS, TOPIC}
    assert made.due(0.0) is None
    earlier = message(replace(DEVICE, cameras=("door", "attic")))
    made.hear(Heard(TOPIC, earlier, retained=True), 0.1)
    assert sent(made, 0.1) == message(DEVICE, earlier)
    assert b"camera/attic/emotion" in message(DEVICE, earlier)
    assert made.topics(0.2) == {STATUS}


def test_where_nothing_was_told_before_it_waits_no_longer_than_that() -> None:
    made = announced()
    made.topics(0.0)
    assert made.due(LOOK_S - 0.1) is None
    made.topics(LOOK_S)
    assert sent(made, LOOK_S) == message(DEVICE)
    assert made.due(1e6) is None


def test_a_start_of_home_assistant_is_answered_after_a_pause() -> None:
    made = looked()
    sent(made, 0.0)
    made.hear(Heard(STATUS, b"online"), 10.0)
    assert made.due(11.9) is None
    assert sent(made, 12.0) == message(DEVICE)
    made.hear(Heard(STATUS, b"offline"), 20.0)
    assert made.due(30.0) is None


def test_several_devices_do_not_answer_at_the_same_moment() -> None:
    pauses = [announcer.at_random() for _ in range(100)]
    shortest, longest = announcer.PAUSE_S
    assert shortest <= min(pauses) < max(pauses) <= longest
    assert len(set(pauses)) > 90


def test_every_connection_begins_with_telling() -> None:
    made = looked()
    sent(made, 0.0)
    made.connected()
    assert made.topics(5.0) == {STATUS}
    assert sent(made, 5.0) == message(DEVICE)


def test_a_reload_removes_what_is_no_more_and_then_speaks_no_more_of_it() -> None:
    made = looked()
    before = sent(made, 0.0)
    after = replace(DEVICE, cameras=("hall",))
    made.announce(ON, after)
    assert sent(made, 1.0) == message(after, before) != message(after)
    made.connected()
    assert sent(made, 2.0) == message(after)


def test_switched_off_by_a_reload_it_takes_back_what_it_told() -> None:
    made = looked()
    sent(made, 0.0)
    made.announce(OFF, DEVICE)
    assert sent(made, 1.0) == b""
    assert made.topics(1.0) == frozenset()
    made.connected()
    assert made.due(2.0) is None


def test_switched_off_it_takes_back_what_an_earlier_process_told() -> None:
    made = announced(OFF)
    assert made.topics(0.0) == {TOPIC}
    made.hear(Heard(TOPIC, message(DEVICE), retained=True), 0.0)
    assert sent(made, 0.0) == b""
    assert made.due(1.0) is None


def test_switched_off_with_nothing_to_take_back_it_says_nothing() -> None:
    made = announced(OFF)
    made.topics(0.0)
    made.topics(LOOK_S)
    assert made.due(LOOK_S) is None
    assert made.topics(LOOK_S) == frozenset()


def test_another_prefix_moves_the_message() -> None:
    made = looked()
    sent(made, 0.0)
    made.announce(HomeAssistant(discovery_prefix="ha"), DEVICE)
    assert made.due(1.0) == Message(TOPIC, b"", retain=True)
    assert made.topics(1.0) == {STATUS, "ha/device/mien_kiosk/config"}
    made.topics(1.0 + LOOK_S)
    assert made.due(1.0 + LOOK_S) == Message(
        "ha/device/mien_kiosk/config", message(DEVICE), retain=True
    )


def test_a_message_whose_fate_is_unknown_is_looked_for_again() -> None:
    made = looked()
    assert made.due(0.0) is not None
    made.lost(0.1)
    made.connected()
    assert TOPIC in made.topics(1e6)


def test_a_refusal_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    made = looked()
    for _ in range(3):
        made.connected()
        assert made.due(1.0) is not None
        assert made.answered(TOPIC, "Not authorized")
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert said.getMessage() == (
        f"mqtt: the broker refuses {TOPIC} (Not authorized): Home Assistant will not find this "
        "device; let it write there, or set [homeassistant] enabled = false"
    )


def test_home_assistant_can_be_said_to_start_without_end_and_is_answered_once_a_pause() -> None:
    made = looked()
    sent(made, 0.0)
    times = [step / 10 for step in range(100)]
    for now_s in times:
        made.hear(Heard(STATUS, b"online"), now_s)
        due = made.due(now_s)
        assert (due is not None) == (now_s in {2.0, 4.1, 6.2, 8.3})


def test_that_nothing_can_be_taken_back_is_said_as_such(caplog: pytest.LogCaptureFixture) -> None:
    made = looked(OFF, message(DEVICE))
    assert made.due(0.0) is not None
    assert made.answered(TOPIC, "Not authorized")
    assert "Home Assistant keeps what it was told" in caplog.text


def test_what_others_publish_is_none_of_its_business() -> None:
    assert not looked().answered("mien/kiosk/health", None)


def test_a_broker_that_hangs_up_on_it_is_left_alone_longer_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, now_s = announced(), 0.0
    for hold_s in (60.0, 120.0, 240.0):
        assert made.topics(now_s)
        made.lost(now_s)
        made.connected()
        assert made.topics(now_s + hold_s - 1.0) == frozenset()
        assert made.due(now_s + hold_s - 1.0) is None
        now_s += hold_s
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "trying again in 4 min" in caplog.text


def test_a_connection_that_is_lost_later_has_nothing_to_do_with_it() -> None:
    made = looked()
    sent(made, 0.0)
    made.lost(1.0)
    made.connected()
    assert sent(made, 1.0) == message(DEVICE)


# Over a real broker


@pytest.fixture
def publishers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Publisher]]:
    """Makes publishers that wait for little; all of them close with the test."""
    monkeypatch.setattr(announcer, "LOOK_S", 0.3)
    monkeypatch.setattr(mqtt, "_TURN_S", 0.05)
    made: list[Publisher] = []

    def make(url: str, settings: HomeAssistant = ON, device: Device = DEVICE) -> Publisher:
        made.append(
            Publisher(
                Mqtt(url=url),
                "kiosk",
                device.cameras,
                announcer=Announcer(pause=lambda: 0.0),
                backoff=Backoff(shortest_s=0.05, longest_s=0.1),
            )
        )
        made[-1].announce(settings, device)
        made[-1].start()
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


PublisherMaker = Callable[..., Publisher]


def entities(payload: str) -> set[str]:
    found: dict[str, dict[str, Any]] = json.loads(payload)["components"]
    return {key for key, each in found.items() if len(each) > 1}


def kept(broker: Mosquitto, ears: EarMaker) -> list[str]:
    """What the broker hands to a Home Assistant that comes now."""
    ear = ears(broker, "homeassistant/#")
    ear.subscribed()
    publish.single("homeassistant/end", port=broker.port)
    ear.wait("homeassistant/end")
    return ear.texts(TOPIC)


def home_assistant_starts(broker: Mosquitto) -> None:
    publish.single(STATUS, "online", port=broker.port)


def test_the_message_waits_on_the_broker_for_home_assistant(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker, "homeassistant/#")
    publishers(broker.url)
    ear.wait(TOPIC)
    assert kept(broker, ears) == [message(DEVICE).decode()]


def test_it_is_sent_again_when_home_assistant_has_started(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker, TOPIC)
    publishers(broker.url)
    ear.wait(TOPIC)
    home_assistant_starts(broker)
    ear.wait(TOPIC, 2)
    home_assistant_starts(broker)
    ear.wait(TOPIC, 3)


def test_it_is_sent_again_to_a_broker_that_forgot(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker, TOPIC)
    publishers(broker.url)
    ear.wait(TOPIC)
    ear.forget()
    broker.kill()
    broker.start()
    ear.subscribed()
    ear.wait(TOPIC, 2)
    home_assistant_starts(broker)
    ear.wait(TOPIC, 3)


def test_cameras_that_come_and_go_with_a_reload_are_told_and_removed(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker, TOPIC)
    publisher = publishers(broker.url)
    ear.wait(TOPIC)
    publisher.announce(ON, replace(DEVICE, cameras=("hall", "attic")))
    ear.wait(TOPIC, 2)
    newest = ear.texts(TOPIC)[-1]
    assert {"camera/hall/emotion", "camera/attic/emotion"} < entities(newest)
    assert json.loads(newest)["components"]["camera/door/emotion"] == {"platform": "sensor"}


def test_switched_off_by_a_reload_the_broker_keeps_nothing(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker, TOPIC)
    publisher = publishers(broker.url)
    ear.wait(TOPIC)
    publisher.announce(OFF, DEVICE)
    ear.wait(TOPIC, 2)
    assert ear.texts(TOPIC)[-1] == ""
    assert kept(broker, ears) == []


def test_switched_off_what_a_former_run_told_is_taken_back(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    former = publishers(broker.url)
    eventually(lambda: kept(broker, ears) != [])
    former.close()
    publishers(broker.url, OFF)
    eventually(lambda: kept(broker, ears) == [])


def test_what_a_former_run_told_of_and_is_no_more_is_removed(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    publishers(broker.url).close()
    publish.single(TOPIC, message(DEVICE), qos=1, retain=True, port=broker.port)
    ear = ears(broker, TOPIC)
    ear.wait(TOPIC)
    publishers(broker.url, ON, replace(DEVICE, cameras=("hall",)))
    ear.wait(TOPIC, 2)
    newest = ear.texts(TOPIC)[-1]
    assert json.loads(newest)["components"]["camera/door/presence"] == {"platform": "binary_sensor"}


def still_heard(publisher: Publisher, ear: Ear) -> None:
    """What is published now arrives."""
    publisher.status(
        CameraStatus(camera="door", status="ok", since=TS, clock_synced=True, reason="")
    )
    told = "mien/kiosk/camera/door/status"
    eventually(lambda: any(each["status"] == "ok" for each in ear.json(told)))


@pytest.fixture
def narrow(brokers: BrokerMaker, tmp_path: Path) -> Mosquitto:
    """A broker that lets the device at its own topics alone."""
    (tmp_path / "acl").write_text("topic readwrite mien/#\n")
    return brokers(f"allow_anonymous true\nacl_file {tmp_path / 'acl'}")


def test_a_broker_that_refuses_it_still_takes_everything_else(
    narrow: Mosquitto,
    ears: EarMaker,
    publishers: PublisherMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ear = ears(narrow)
    publisher = publishers(narrow.url)
    eventually(lambda: "Home Assistant will not find this device" in caplog.text)
    still_heard(publisher, ear)
    assert publisher.link().refused == 0
    assert caplog.text.count("refuses") == 1


def test_the_access_list_of_the_readme_is_enough(
    brokers: BrokerMaker, publishers: PublisherMaker, tmp_path: Path
) -> None:
    (shown,) = re.findall(r"```\nuser lobby\n(.*?)```", README.read_text(), re.DOTALL)
    of_home_assistant = "topic write homeassistant/status\n"
    (tmp_path / "acl").write_text(shown.replace("lobby", "kiosk") + of_home_assistant)
    broker = brokers(f"allow_anonymous true\nacl_file {tmp_path / 'acl'}")
    publishers(broker.url)

    def told() -> int:
        return len(re.findall(rf"Received PUBLISH from mien-kiosk .*'{TOPIC}'", broker.log))

    eventually(lambda: told() == 1)
    home_assistant_starts(broker)
    eventually(lambda: told() == 2)
    assert "Denied" not in broker.log


def test_switched_off_a_broker_is_not_even_asked(
    narrow: Mosquitto, publishers: PublisherMaker, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = publishers(narrow.url, OFF)
    eventually(lambda: "UNSUBSCRIBE" in narrow.log and TOPIC in narrow.log)
    publisher.close()
    assert "homeassistant" not in caplog.text
    assert f"Denied PUBLISH from mien-kiosk (d0, q1, r1, m1, '{TOPIC}'" not in narrow.log


def test_a_broker_that_hangs_up_on_it_still_takes_everything_else(
    brokers: BrokerMaker, ears: EarMaker, cables: CableMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    cable = cables(broker, forbidden=b"homeassistant/")
    cable.plug()
    publisher = publishers(cable.url)
    eventually(lambda: cable.refused == 1, "a hang-up")
    eventually(lambda: publisher.link().connected)
    still_heard(publisher, ear)
    eventually(lambda: publisher.link().connected)
    assert cable.refused == 1
