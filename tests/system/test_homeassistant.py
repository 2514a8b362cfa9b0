"""Mien in a real Home Assistant, over a real mosquitto: what appears there, is true, and goes.

Each test has a device of its own, whose camera shows the person of the sample clip or nobody.
Home Assistant's log must be free of complaints after each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish
from realbroker import Ear, Mosquitto, eventually, program
from realhome import ROOT, SAMPLE, Home, SampleCamera, within

import edge
from edge.homeassistant import Device, message

pytestmark = [pytest.mark.system, pytest.mark.slow]

OF_A_CAMERA = {
    "sensor": ("emotion", "confidence", "valence", "faces", "frame_rate"),
    "binary_sensor": ("presence",),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    made = Mosquitto(program("mosquitto", "mosquitto"), tmp_path_factory.mktemp("broker"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def running(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("home"), broker.port)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def home(running: Home) -> Iterator[Home]:
    """Home Assistant, which has nothing to complain of at the end of the test."""
    running.complaints()
    yield running
    assert running.complaints() == []


@pytest.fixture
def camera() -> Iterator[SampleCamera]:
    made = SampleCamera()
    yield made
    made.close()


@dataclass
class Mien:
    """A `mien run` with a camera called `door`, and what is to be heard of it."""

    name: str
    folder: Path
    broker: Mosquitto
    camera: SampleCamera
    ear: Ear
    process: subprocess.Popen[bytes] | None = None
    topic: str = field(init=False)

    def __post_init__(self) -> None:
        self.topic = f"homeassistant/device/mien_{self.name}/config"

    def configure(self, extra: str = "", *, door: bool = True) -> None:
        door_table = f'[[camera]]\nname = "door"\nuri = "{self.camera.uri}"\nfrozen_s = 0\n'
        (self.folder / "mien.toml").write_text(
            f'device_id = "{self.name}"\n{door_table if door else ""}{extra}\n'
            f'[mqtt]\nurl = "{self.broker.url}"\n[events]\nheartbeat_s = 0.5\n'
            "[recovery]\nstalled_s = 1.0\nretry_longest_s = 0.5\n"
        )

    def start(self, extra: str = "") -> None:
        self.configure(extra)
        with (self.folder / "mien.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--config", self.folder / "mien.toml"],
                stdin=subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.send(number)
            self.process.wait(30)
            self.process = None

    def newest(self, topic: str) -> dict[str, Any]:
        """The newest payload below the device's topics."""
        heard = self.ear.json(f"mien/{self.name}/{topic}")
        return heard[-1] if heard else {}


@pytest.fixture
def mien(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    broker: Mosquitto,
    camera: SampleCamera,
    home: Home,  # noqa: ARG001  # it is there before the device is
) -> Iterator[Mien]:
    number = list(request.session.items).index(request.node)
    made = Mien(f"lobby{number}", tmp_path, broker, camera, Ear(broker.port, "#"))
    yield made
    made.stop()
    made.ear.close()


def entity(mien: Mien, key: str, kind: str = "sensor") -> str:
    return f"{kind}.mien_{mien.name}_{key}"


def of_camera(mien: Mien, camera: str) -> set[str]:
    return {
        entity(mien, f"{camera}_{key}", kind) for kind, keys in OF_A_CAMERA.items() for key in keys
    }


def shown(home: Home, mien: Mien, camera: str = "door") -> None:
    """Wait until Home Assistant shows somebody."""
    home.becomes(entity(mien, f"{camera}_presence", "binary_sensor"), "on")


def test_the_device_finds_itself_with_all_its_entities(home: Home, mien: Mien) -> None:
    mien.start()
    shown(home, mien)
    of_the_device = {entity(mien, "latency"), entity(mien, "problem", "binary_sensor")}
    if mien.newest("health").get("celsius") is not None:
        of_the_device.add(entity(mien, "temperature"))
    within(
        lambda: home.states(mien.name).keys() == of_camera(mien, "door") | of_the_device,
        f"exactly its entities, of {sorted(home.states(mien.name))}",
    )
    emotion = entity(mien, "door_emotion")
    assert home.attributes(emotion)["friendly_name"] == f"Mien {mien.name} Door emotion"
    assert home.device(emotion, "name") == f"Mien {mien.name}"
    assert home.device(emotion, "manufacturer") == "Mien"
    assert home.device(emotion, "sw_version") == edge.__version__
    assert home.device(emotion, "model") == mien.newest("info")["board"]


def test_what_it_shows_is_what_is_published(home: Home, mien: Mien) -> None:
    mien.start()
    home.becomes(entity(mien, "door_emotion"), "happy")

    def agrees() -> bool:
        state, states = mien.newest("camera/door/state"), home.states(mien.name)
        told = {
            "emotion": state["emotion"],
            "faces": str(state["faces"]),
            "confidence": str(round(state["confidence"] * 100, 1)),
            "valence": str(state["valence"]),
        }
        return all(states[entity(mien, f"door_{key}")] == value for key, value in told.items())

    within(agrees, "what is published")
    assert float(home.state(entity(mien, "door_confidence")) or 0) > 50
    assert float(home.state(entity(mien, "door_valence")) or 0) > 0
    within(lambda: bool(mien.newest("health")), "a health report")
    home.becomes(entity(mien, "problem", "binary_sensor"), "on", "off")
    health = mien.newest("health")
    frame_rate = home.state(entity(mien, "door_frame_rate"))
    latency = home.state(entity(mien, "latency"))
    assert (frame_rate, latency) == (
        str(health["fps"]["door"]),
        str(health["latency_ms"]["total"]["p95"]),
    )


def test_who_comes_and_goes_is_seen_to(home: Home, mien: Mien) -> None:
    mien.start()
    shown(home, mien)
    mien.camera.person = False
    home.becomes(entity(mien, "door_presence", "binary_sensor"), "off")
    home.becomes(entity(mien, "door_faces"), "0")
    for key in ("emotion", "confidence", "valence"):
        home.becomes(entity(mien, f"door_{key}"), "unknown")
    mien.camera.person = True
    shown(home, mien)
    home.becomes(entity(mien, "door_emotion"), "happy")


def test_a_problem_is_shown_with_its_words_until_it_is_solved(home: Home, mien: Mien) -> None:
    mien.start()
    problem = entity(mien, "problem", "binary_sensor")
    shown(home, mien)
    (mien.folder / "mien.toml").write_text("this is no TOML")
    mien.send(signal.SIGHUP)
    home.becomes(problem, "on")
    codes = {each["code"]: each["text"] for each in home.attributes(problem)["problems"]}
    assert "not TOML" in codes["reload-refused"]
    mien.configure()
    mien.send(signal.SIGHUP)
    within(lambda: "reload-refused" not in str(home.attributes(problem)), "the end of the problem")


def test_a_camera_that_does_not_look_is_unavailable_and_the_device_is_not(
    home: Home, mien: Mien
) -> None:
    # The sample clip itself is played once; then that camera has no pictures any more.
    mien.start(f'[[camera]]\nname = "hall"\nuri = "clip:{SAMPLE}"\n')
    shown(home, mien, "hall")
    home.becomes(entity(mien, "hall_presence", "binary_sensor"), "unavailable")
    home.becomes(entity(mien, "hall_emotion"), "unavailable")
    assert home.state(entity(mien, "door_presence", "binary_sensor")) == "on"
    assert home.state(entity(mien, "problem", "binary_sensor")) != "unavailable"


def test_a_killed_daemon_is_unavailable_and_comes_back_as_the_same(home: Home, mien: Mien) -> None:
    mien.start()
    shown(home, mien)
    known = set(home.states(mien.name))
    mien.stop(signal.SIGKILL)
    within(lambda: set(home.states(mien.name).values()) == {"unavailable"}, "the end of it all")
    mien.start()
    shown(home, mien)
    home.becomes(entity(mien, "door_emotion"), "happy")
    within(lambda: set(home.states(mien.name)) == known, "the same entities")


def test_the_button_makes_a_self_test(home: Home, mien: Mien) -> None:
    mien.start("[commands]\nenabled = true\n")
    button = entity(mien, "self_test", "button")
    home.becomes(button, "unknown")
    within(lambda: mien.newest("selftest").get("scope") == "boot", "the self-test of the start")
    home.press(button)
    within(lambda: bool(mien.newest("cmd/result")), "a result")
    assert (mien.newest("cmd/result")["command"], mien.newest("cmd/result")["outcome"]) == (
        "selftest",
        "done",
    )
    assert mien.newest("selftest")["scope"] == "full"


def test_cameras_come_and_go_with_a_reload(home: Home, mien: Mien) -> None:
    mien.start()
    shown(home, mien)
    hall = f'[[camera]]\nname = "hall"\nuri = "{mien.camera.uri}"\nfrozen_s = 0\n'
    mien.configure(hall)
    mien.send(signal.SIGHUP)
    shown(home, mien, "hall")
    mien.configure(hall, door=False)
    mien.send(signal.SIGHUP)
    within(
        lambda: not of_camera(mien, "door") & home.states(mien.name).keys(), "the end of the door"
    )
    assert of_camera(mien, "hall") <= home.states(mien.name).keys()


def test_switched_off_by_a_reload_its_entities_are_gone(home: Home, mien: Mien) -> None:
    mien.start()
    shown(home, mien)
    mien.configure("[homeassistant]\nenabled = false\n")
    mien.send(signal.SIGHUP)
    within(lambda: home.states(mien.name) == {}, "the end of the device")


def test_what_a_former_run_told_is_gone_once_it_is_switched_off(home: Home, mien: Mien) -> None:
    mien.start()
    shown(home, mien)
    mien.stop(signal.SIGKILL)
    mien.start("[homeassistant]\nenabled = false\n")
    within(lambda: home.states(mien.name) == {}, "the end of the device")


def test_entities_of_a_former_run_that_are_no_more_are_gone(home: Home, mien: Mien) -> None:
    mien.start("[commands]\nenabled = true\n")
    button = entity(mien, "self_test", "button")
    home.becomes(button, "unknown")
    mien.stop()
    mien.start()
    within(lambda: home.state(button) is None, "the end of the button")
    shown(home, mien)


def test_home_assistant_started_anew_knows_it_again(home: Home, mien: Mien) -> None:
    mien.start()
    shown(home, mien)
    known = set(home.states(mien.name))
    home.stop()
    home.start()
    shown(home, mien)
    within(lambda: set(home.states(mien.name)) == known, "the same entities")


def test_it_is_told_again_when_home_assistant_is_online_though_the_broker_forgot(
    home: Home, mien: Mien
) -> None:
    mien.start()
    shown(home, mien)
    home.stop()
    publish.single(mien.topic, b"", qos=1, retain=True, port=mien.broker.port)
    eventually(lambda: mien.ear.texts(mien.topic)[-1] == "")
    home.start()
    shown(home, mien)
    assert mien.ear.texts(mien.topic)[-1] != ""


def test_payloads_that_lack_what_an_entity_looks_for_make_it_unknown(
    home: Home, mien: Mien
) -> None:
    mien.start()
    shown(home, mien)
    mien.stop()
    base = f"mien/{mien.name}"
    present = {f"{base}/availability": "online", f"{base}/camera/door/status": '{"status": "ok"}'}
    for lacking in ("{}", '{"faces": 1, "emotion": "unsure"}', "[]", "", "no JSON"):
        both = {f"{base}/camera/door/state": lacking, f"{base}/health": lacking}
        for topic, payload in {**present, **both}.items():
            publish.single(topic, payload, port=mien.broker.port)
        expected = "unsure" if "unsure" in lacking else "unknown"
        home.becomes(entity(mien, "door_emotion"), expected)
        home.becomes(entity(mien, "door_valence"), "unknown")
        home.becomes(entity(mien, "latency"), "unknown")


def test_a_board_with_a_thermometer_shows_its_temperature(home: Home, mien: Mien) -> None:
    # No such sensor is in the machines that run these tests: what the pure function says of one
    # is told in place of a daemon.
    base = f"mien/{mien.name}"
    for topic, payload in {
        mien.topic: with_thermometer(mien.name),
        f"{base}/availability": "online",
        f"{base}/health": '{"celsius": 51.5}',
    }.items():
        publish.single(topic, payload, qos=1, retain=True, port=mien.broker.port)
    temperature = entity(mien, "temperature")
    home.becomes(temperature, "51.5")
    assert home.attributes(temperature)["unit_of_measurement"] == "°C"
    publish.single(mien.topic, b"", qos=1, retain=True, port=mien.broker.port)
    within(lambda: home.state(temperature) is None, "the end of it")


def with_thermometer(name: str) -> bytes:
    return message(
        Device(
            base=f"mien/{name}",
            cameras=(),
            labels=("happy", "sad"),
            board="Test Board",
            version=edge.__version__,
            thermometer=True,
        )
    )


def test_home_assistant_complains_of_what_is_wrong(running: Home, broker: Mosquitto) -> None:
    # Else its silence in all the other tests would prove nothing.
    running.complaints()
    wrong = json.loads(with_thermometer("wrong"))
    wrong["components"]["temperature"]["device_class"] = "mood"
    publish.single(
        "homeassistant/device/mien_wrong/config", json.dumps(wrong), qos=1, port=broker.port
    )
    heard: list[str] = []

    def complained() -> bool:
        heard.extend(running.complaints())
        return any("mood" in line or "device_class" in line for line in heard)

    within(complained, "a complaint")
