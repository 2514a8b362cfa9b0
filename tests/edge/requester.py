"""Somebody who asks a device for something over MQTT, and hears what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jsonschema import Draft202012Validator
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from realbroker import Ear, Mosquitto, eventually
from service import Device, P

from edge import schema

ENABLED = "[commands]\nenabled = true\n"
RESULT = Draft202012Validator(json.loads(schema.text("result")))


class Requester:
    """Asks a device, and hears what is said of it."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear

    def send(
        self,
        name: str,
        payload: bytes | str = b"",
        *,
        retain: bool = False,
        correlation: bytes | None = None,
        response: str | None = None,
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        if correlation is not None:
            properties.CorrelationData = correlation
        if response is not None:
            properties.ResponseTopic = response
        self.ear.say(f"{P}/cmd/{name}", payload, retain=retain, properties=properties)

    @property
    def results(self) -> list[dict[str, Any]]:
        found = self.ear.json(f"{P}/cmd/result")
        for each in found:
            RESULT.validate(each)
        return found

    def ask(
        self,
        name: str,
        payload: bytes | str = b"",
        *,
        retain: bool = False,
        correlation: bytes | None = None,
        response: str | None = None,
    ) -> dict[str, Any]:
        before = len(self.results)
        self.send(name, payload, retain=retain, correlation=correlation, response=response)
        self.ear.wait(f"{P}/cmd/result", before + 1)
        result = self.results[before]
        assert result["command"] == name
        return result


def begun(
    device: Device,
    broker: Mosquitto,
    ears: Callable[..., Ear],
    extra: str = ENABLED,
    **environ: str,
) -> Requester:
    """Start a device that looks at a face, and wait until it does."""
    ear = ears(broker)
    device.mqtt = broker.url
    device.start(extra=extra, **environ)
    eventually(lambda: device.count("start") == 1, "a face")
    ear.wait(f"{P}/info")
    return Requester(ear)


def statuses(asking: Requester) -> list[str]:
    return [each["status"] for each in asking.ear.json(f"{P}/camera/door/status")]
