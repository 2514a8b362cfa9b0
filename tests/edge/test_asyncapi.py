"""The AsyncAPI document says what the daemon does: a whole run is held against it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from paho.mqtt.client import MQTTMessage
from realbroker import Ear, Mosquitto, eventually

from edge import asyncapi, schema

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
DOCUMENT: dict[str, Any] = json.loads(schema.text("asyncapi"))


def resolved(reference: dict[str, str]) -> dict[str, Any]:
    found = DOCUMENT
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(part: object) -> list[dict[str, str]]:
    if isinstance(part, dict):
        own = [part] if "$ref" in part else []
        return own + [each for value in part.values() for each in references(value)]
    if isinstance(part, list):
        return [each for value in part for each in references(value)]
    return []


def test_nothing_is_referred_to_that_is_not_there() -> None:
    assert references(DOCUMENT)
    for reference in references(DOCUMENT):
        assert resolved(reference)


def test_it_is_of_version_3_and_knows_mien_s() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "0.1.0"


def test_every_parameter_of_an_address_is_described_and_no_other() -> None:
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])


def test_every_channel_has_one_operation_which_the_device_performs() -> None:
    channels = [resolved(each["channel"]) for each in DOCUMENT["operations"].values()]
    assert channels == list(DOCUMENT["channels"].values())
    assert {each["action"] for each in DOCUMENT["operations"].values()} == {"send"}


def test_the_last_will_is_said_where_availability_is() -> None:
    address = DOCUMENT["channels"]["availability"]["address"]
    for server in DOCUMENT["servers"].values():
        will = server["bindings"]["mqtt"]["lastWill"]
        assert will == {"topic": address, "qos": 1, "message": "offline", "retain": True}


def channel_of(topic: str) -> str:
    """The name of the one channel whose address a topic is."""
    found = [
        name
        for name, channel in DOCUMENT["channels"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", channel["address"]), topic)
    ]
    assert len(found) == 1, f"{topic}: {found}"
    return found[0]


def check(message: MQTTMessage, name: str) -> None:
    """Hold one message against its channel."""
    operation = DOCUMENT["operations"][f"send-{name}"]["bindings"]["mqtt"]
    (described,) = (resolved(each) for each in DOCUMENT["channels"][name]["messages"].values())
    properties = message.properties
    assert properties is not None
    assert (message.qos, message.retain) == (operation["qos"], operation["retain"])
    expiry = getattr(properties, "MessageExpiryInterval", None)
    assert (expiry is None) == ("messageExpiryInterval" not in operation)
    text = message.payload.decode()
    if described.get("contentType") == "text/plain":
        assert text in described["payload"]["enum"]
        return
    assert properties.ContentType == DOCUMENT["defaultContentType"]
    headers = dict(properties.UserProperty)
    Draft202012Validator(described["headers"]).validate(headers)
    assert headers["schema"] == json.loads(text)["schema"]
    components = {"components": DOCUMENT["components"]}
    Draft202012Validator({**described["payload"], **components}).validate(json.loads(text))


@pytest.mark.slow
def test_a_whole_run_says_all_that_is_described_and_nothing_else(
    tmp_path: Path, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    ear = ears(broker, "#")
    file = tmp_path / "mien.toml"
    file.write_text(
        'device_id = "lobby"\n[spool]\nenabled = false\n[events]\nheartbeat_s = 0.5\n'
        f'[[camera]]\nname = "door"\nuri = "clip:{SAMPLE}"\n[mqtt]\nurl = "{broker.url}"\n'
    )
    subprocess.run(
        [sys.executable, "-m", "edge", "run", "--config", str(file)],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    eventually(
        lambda: ear.texts("mien/lobby/availability")[-1:] == ["offline"], "the goodbye of the run"
    )
    told = [(message, channel_of(message.topic)) for message in ear.heard]
    for message, name in told:
        check(message, name)
    assert {name for _, name in told} == {each.name for each in asyncapi.CHANNELS}
