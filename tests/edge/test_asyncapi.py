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
    heard = [n for n, each in DOCUMENT["operations"].items() if each["action"] == "receive"]
    assert heard == ["receive-command"]


def test_what_is_asked_is_answered_on_the_channel_of_results() -> None:
    reply = DOCUMENT["operations"]["receive-command"]["reply"]
    assert resolved(reply["channel"])["address"] == "{prefix}/{device_id}/cmd/result"
    for message in (resolved(each) for each in reply["messages"]):
        assert resolved(message)["correlationId"]["location"] == "$message.payload#/id"


def test_the_last_will_is_said_where_availability_is() -> None:
    address = DOCUMENT["channels"]["availability"]["address"]
    for server in DOCUMENT["servers"].values():
        will = server["bindings"]["mqtt"]["lastWill"]
        assert will == {"topic": address, "qos": 1, "message": "offline", "retain": True}


def channel_of(topic: str) -> str:
    """The name of the one channel whose address a topic is."""

    def pattern(channel: dict[str, Any]) -> str:
        address: str = channel["address"]
        for name, parameter in channel["parameters"].items():
            values = "|".join(resolved(parameter).get("enum", ["[^/]+"]))
            address = address.replace(f"{{{name}}}", f"({values})")
        return address

    found = [
        name
        for name, channel in DOCUMENT["channels"].items()
        if re.fullmatch(pattern(channel), topic)
    ]
    assert len(found) == 1, f"{topic}: {found}"
    return found[0]


def check(message: MQTTMessage, name: str) -> None:
    """Hold one message against its channel."""
    (operation,) = (
        each["bindings"]["mqtt"]
        for each in DOCUMENT["operations"].values()
        if each["channel"]["$ref"].endswith(f"/{name}")
    )
    (described,) = (resolved(each) for each in DOCUMENT["channels"][name]["messages"].values())
    properties = message.properties
    assert properties is not None
    assert message.retain == operation["retain"]
    # What the device is asked comes with the requester's QoS, whatever the device subscribes with.
    assert message.qos == (1 if name == "command" else operation["qos"])
    expiry = getattr(properties, "MessageExpiryInterval", None)
    assert (expiry is None) == ("messageExpiryInterval" not in operation)
    text = message.payload.decode()
    if described.get("contentType") == "text/plain":
        assert text in described["payload"]["enum"]
        return
    if name != "command":
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
    ear = ears(broker, "mien/#")
    file = tmp_path / "mien.toml"
    file.write_text(
        'device_id = "lobby"\n[spool]\nenabled = false\n[commands]\nenabled = true\n'
        f'[[camera]]\nname = "door"\nuri = "clip:{SAMPLE}"\n[mqtt]\nurl = "{broker.url}"\n'
    )
    command = [sys.executable, "-m", "edge", "run", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        ear.wait("mien/lobby/camera/door/event")
        ear.say("mien/lobby/cmd/resume", '{"id": "7c1d"}')
        _, log = process.communicate()
    assert process.returncode == 0, log
    (result,) = ear.json("mien/lobby/cmd/result")
    assert (result["id"], result["outcome"]) == ("7c1d", "done")
    eventually(
        lambda: ear.texts("mien/lobby/availability")[-1:] == ["offline"], "the goodbye of the run"
    )
    told = [(message, channel_of(message.topic)) for message in ear.heard]
    for message, name in told:
        check(message, name)
    assert {name for _, name in told} == {each.name for each in asyncapi.CHANNELS}
