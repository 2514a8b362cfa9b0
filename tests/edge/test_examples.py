"""The examples for subscribers do what they say, with a real broker and a real run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt import MQTTException
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.publish import single
from realbroker import Ear, Mosquitto, eventually, program

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
USERS = ("lobby", "dashboard", "operator", "homeassistant", "stranger")
WITNESS = "witness"
"""A user of the test's own, who may hear and say everything."""


@contextmanager
def running(*command: str, cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(file: Path) -> str:
    """Let the daemon run through the sample; return its log."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", "--config", str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def configured(
    folder: Path, broker: Mosquitto, more: str = "", *, options: str = "?pace=fast"
) -> Path:
    file = folder / "mien.toml"
    file.write_text(
        'device_id = "lobby"\n[spool]\nenabled = false\n'
        f'[[camera]]\nname = "door"\nuri = "clip:{SAMPLE}{options}"\n'
        f'[mqtt]\nurl = "{broker.url}"\n{more}'
    )
    return file


def test_the_python_subscriber_has_ten_lines_and_tells_each_event_once(
    tmp_path: Path, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    source = EXAMPLES / "subscriber.py"
    _, *lines = [line for line in source.read_text().splitlines() if line.strip()]
    assert len(lines) == 10
    broker = brokers()
    ear = ears(broker)
    with running(sys.executable, str(source), "127.0.0.1", str(broker.port)) as subscriber:
        eventually(lambda: "Sending SUBACK to auto-" in broker.log, "the subscription")
        run(configured(tmp_path, broker))
        topic = "mien/lobby/camera/door/event"
        eventually(lambda: len([e for e in ear.json(topic) if e["type"] == "end"]) == 2, "the end")
        events = ear.json(topic)
        # The last one comes again, as after a lost acknowledgement, and then a stranger's.
        last = {**events[-1], "id": "another", "camera": "another"}
        for payload in (events[-1], last):
            single(topic, json.dumps(payload), qos=1, port=broker.port)
        assert subscriber.stdout is not None
        told = [subscriber.stdout.readline().split() for _ in range(len(events) + 1)]
    assert told[:-1] == [[e["ts"], e["camera"], e["type"], e["emotion"]] for e in events]
    assert told[-1][1] == "another"


@pytest.fixture
def guarded(tmp_path: Path, brokers: Callable[..., Mosquitto]) -> Mosquitto:
    """A broker with the example's access list, whose users have their names for passwords."""
    users, rules = tmp_path / "passwd", tmp_path / "acl"
    tool = program("mosquitto_passwd", "mosquitto")
    users.touch()
    for name in (*USERS, WITNESS):
        subprocess.run([tool, "-b", users, name, name], check=True, capture_output=True)
    rules.write_text((EXAMPLES / "mosquitto" / "acl").read_text() + "\nuser witness\ntopic #\n")
    return brokers(f"allow_anonymous false\npassword_file {users}\nacl_file {rules}")


class Person:
    """A user of the guarded broker, who hears what comes on every topic."""

    def __init__(self, name: str, port: int) -> None:
        self.heard: list[str] = []
        self.refused: dict[int, bool] = {}
        self._subscribed = False
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(name, name)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _c, _d, message: self.heard.append(message.topic)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        eventually(lambda: self._subscribed, f"the subscription of {name}")

    def may_publish(self, topic: str) -> bool:
        number = self._client.publish(topic, b"{}", qos=1).mid
        eventually(lambda: number in self.refused, f"an answer on {topic}")
        return not self.refused[number]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_subscribe(self, *_: object) -> None:
        self._subscribed = True

    def _on_publish(
        self, _client: object, _data: object, mid: int, reason: object, *_: object
    ) -> None:
        self.refused[mid] = bool(getattr(reason, "is_failure", False))


@pytest.fixture
def people(guarded: Mosquitto) -> Iterator[dict[str, Person]]:
    everybody = {name: Person(name, guarded.port) for name in (*USERS, WITNESS)}
    yield everybody
    for person in everybody.values():
        person.close()


OWN = (
    "availability", "info", "health", "selftest", "selftest/probe", "cmd/result",
    "camera/door/status", "camera/door/state", "camera/door/event",
)  # fmt: skip
COMMANDS = ("cmd/selftest", "cmd/pause", "cmd/resume", "cmd/reload")
DISCOVERY = "homeassistant/device/mien_lobby/config"
TOPICS = (
    *(f"mien/lobby/{name}" for name in (*OWN, *COMMANDS)),
    *(f"mien/other/{name}" for name in (*OWN, *COMMANDS)),
    DISCOVERY, "homeassistant/device/mien_other/config", "homeassistant/status", "else/where",
)  # fmt: skip


def may_write(name: str) -> set[str]:
    """What each user is meant to be allowed to publish."""
    commands = {f"mien/{device}/{each}" for device in ("lobby", "other") for each in COMMANDS}
    return {
        "lobby": {*(f"mien/lobby/{each}" for each in OWN), DISCOVERY},
        "operator": commands,
        "homeassistant": {
            *(topic for topic in TOPICS if topic.startswith("homeassistant/")),
            *(topic for topic in commands if topic.endswith("selftest")),
        },
    }.get(name, set())


def may_read(name: str) -> set[str]:
    """What each user is meant to hear."""
    every = {topic for topic in TOPICS if topic.startswith("mien/")}
    return {
        "lobby": {
            *(topic for topic in TOPICS if topic.startswith("mien/lobby/")),
            DISCOVERY,
            "homeassistant/status",
        },
        "dashboard": every,
        "operator": every,
        "homeassistant": every | {t for t in TOPICS if t.startswith("homeassistant/")},
    }.get(name, set())


@pytest.mark.parametrize("name", USERS)
def test_the_access_list_lets_each_user_say_what_it_should_and_nothing_else(
    name: str, people: dict[str, Person]
) -> None:
    allowed = {topic for topic in TOPICS if people[name].may_publish(topic)}
    assert allowed == may_write(name)
    people[WITNESS].may_publish("the/end")
    eventually(lambda: "the/end" in people[WITNESS].heard, "what comes last")
    assert set(people[WITNESS].heard) - {"the/end"} == allowed, "what was refused is not delivered"


@pytest.mark.parametrize("name", USERS)
def test_the_access_list_lets_each_user_hear_what_it_should_and_nothing_else(
    name: str, people: dict[str, Person]
) -> None:
    for topic in TOPICS:
        assert people[WITNESS].may_publish(topic)
    eventually(lambda: may_read(name) <= set(people[name].heard), f"what {name} may hear")
    eventually(lambda: len(people[WITNESS].heard) == len(TOPICS), "what everybody could hear")
    assert set(people[name].heard) == may_read(name)


@pytest.mark.slow
def test_a_device_has_all_the_rights_it_needs_and_the_operator_is_obeyed(
    tmp_path: Path, guarded: Mosquitto
) -> None:
    (tmp_path / "password").write_text("lobby")
    login = f'username = "lobby"\npassword_file = "{tmp_path / "password"}"\n'
    file = configured(tmp_path, guarded, f"{login}[commands]\nenabled = true\n", options="")
    operator, dashboard = (Person(name, guarded.port) for name in ("operator", "dashboard"))
    with running(sys.executable, "-m", "edge", "run", "--config", str(file)) as process:
        eventually(lambda: "mien/lobby/camera/door/event" in dashboard.heard, "an event")
        assert not dashboard.may_publish("mien/lobby/cmd/resume")
        assert operator.may_publish("mien/lobby/cmd/resume")
        eventually(lambda: "mien/lobby/cmd/result" in operator.heard, "the result")
        _, log = process.communicate()
    operator.close()
    dashboard.close()
    assert process.returncode == 0, log
    assert "refuses" not in log
    assert operator.heard.count("mien/lobby/cmd/result") == 1
    tested = subprocess.run(
        [sys.executable, "-m", "edge", "selftest", "--config", str(file), "--json",
         *(part for name in ("idle", "busy", "memory", "camera") for part in ("--skip", name))],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    names = {each["name"] for each in json.loads(tested.stdout)["checks"]}
    assert "broker-round-trip" in names, tested.stdout
    assert "not published" not in tested.stderr
    assert "Denied PUBLISH from mien-lobby" not in guarded.log


def test_nobody_without_a_password_is_let_in(guarded: Mosquitto) -> None:
    with pytest.raises(MQTTException, match="Not authorized"):
        single("mien/lobby/health", b"{}", qos=1, port=guarded.port)
