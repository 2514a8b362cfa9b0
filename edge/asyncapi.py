"""What Mien says and hears over MQTT as an AsyncAPI 3.0 document, for people and for generators.

The payloads are the types of `edge.payloads` and `edge.datatypes`; the topics, their retain flags
and quality of service stand in `CHANNELS`, and a test holds them against what the daemon publishes.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
https://github.com/asyncapi/bindings/tree/master/mqtt (binding version 0.2.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from edge import __version__
from edge.commands import MOST_CORRELATION_BYTES, RATES, RESULT_EXPIRY_S, Command
from edge.datatypes import Event
from edge.payloads import (
    OFFLINE,
    ONLINE,
    CameraState,
    CameraStatus,
    Health,
    Info,
    Result,
    SelfTest,
)
from edge.settings import Mqtt

Json = dict[str, Any]

_VERSION = "3.0.0"
_BINDING = "0.2.0"
_BASE = "{prefix}/{device_id}"
_QOS = 1


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic of a device.

    `topic` stands below `<prefix>/<device_id>/`; `payload` is its type, None for plain text.
    `action` is the device's: what it sends, and what it receives. A broker forgets what it could
    not deliver for `expiry_s` (MQTT 5).
    """

    name: str
    topic: str
    payload: type | None
    summary: str
    retain: bool = True
    expiry_s: int | None = None
    action: Literal["send", "receive"] = "send"

    @property
    def operation(self) -> str:
        """The name of what the device does on it."""
        return f"{self.action}-{self.name}"


CHANNELS = (
    Channel("availability", "availability", None, "Whether the device is there."),
    Channel("info", "info", Info, "What runs where."),
    Channel("health", "health", Health, "How the device is doing, every 30 seconds."),
    Channel("selftest", "selftest", SelfTest, "What the last self-test found."),
    Channel(
        "cameraStatus", "camera/{camera}/status", CameraStatus, "Whether a camera gives pictures."
    ),
    Channel("cameraState", "camera/{camera}/state", CameraState, "Who is in view of a camera now."),
    Channel(
        "event",
        "camera/{camera}/event",
        Event,
        "A face appeared, changed, is still there, or left.",
        retain=False,
        expiry_s=Mqtt().event_expiry_s,
    ),
    Channel(
        "command",
        "cmd/{command}",
        Command,
        "What the device may be asked, with [commands] enabled.",
        retain=False,
        action="receive",
    ),
    Channel(
        "result",
        "cmd/result",
        Result,
        "What became of a command.",
        retain=False,
        expiry_s=RESULT_EXPIRY_S,
    ),
)
"""Every topic below a device's own, but for the probes that the self-test sends to itself."""

_INTRODUCTION = """\
What a Mien device tells its subscribers: what faces show, and how the device is; and what it may be
asked.

Schema `/1` of a payload only ever gains keys: ignore those you do not know. Events come at least
once: deduplicate on `id`. All but events, commands and results is retained. An empty retained
message on a camera's `status` or `state` says that there is no such camera any more. MQTT 5 is
tried first, 3.1.1 where the broker refuses it; headers here are user properties, which only MQTT 5
has. No picture, no identity and no embedding is ever published."""

_PARAMETERS: dict[str, Json] = {
    "prefix": {
        "description": "[mqtt] prefix; one or more levels of the topic.",
        "default": Mqtt().prefix,
    },
    "device_id": {
        "description": "device_id of the configuration; one level of the topic.",
        "examples": ["lobby"],
    },
    "camera": {
        "description": "The name of a [[camera]] of the configuration.",
        "examples": ["door"],
    },
    "command": {"description": "What is asked.", "enum": sorted(RATES)},
}

_CORRELATIONS: dict[type | None, Json] = {
    Command: {
        "correlationId": {
            "description": "Comes back in the result; one with the same id is not repeated.",
            "location": "$message.payload#/id",
        },
        "bindings": {
            "mqtt": {
                "correlationData": {"type": "string", "maxLength": MOST_CORRELATION_BYTES},
                "bindingVersion": _BINDING,
            }
        },
    },
}
_CORRELATIONS[Result] = {
    **_CORRELATIONS[Command],
    "correlationId": {
        "description": "That of the command.",
        "location": "$message.payload#/id",
    },
}


def document() -> Json:
    """Return the whole document."""
    payloads = [channel.payload for channel in CHANNELS if channel.payload is not None]
    _, schemas = msgspec.json.schema_components(
        payloads, ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": _VERSION,
        "info": {
            "title": "Mien",
            "version": __version__,
            "description": _INTRODUCTION,
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {channel.operation: _operation(channel) for channel in CHANNELS},
        "components": {
            "messages": {channel.name: _message(channel) for channel in CHANNELS},
            "parameters": _PARAMETERS,
            "schemas": schemas,
            "securitySchemes": {
                "password": {
                    "type": "userPassword",
                    "description": "[mqtt] username and password_file",
                },
                "certificate": {"type": "X509", "description": "[mqtt] cert_file and key_file"},
            },
        },
    }


def _servers() -> Json:
    """Return the two ways to reach the broker, which is the owner's own."""
    return {
        "plain": _server("mqtt", "1883", "Not encrypted: for a broker on the same machine."),
        "encrypted": _server("mqtts", "8883", "TLS; the broker's certificate is checked."),
    }


def _server(protocol: str, port: str, description: str) -> Json:
    security = ["password"] if protocol == "mqtt" else ["password", "certificate"]
    return {
        "host": "{host}:{port}",
        "protocol": protocol,
        "protocolVersion": "5.0",
        "description": description,
        "variables": {"host": {"default": "localhost"}, "port": {"default": port}},
        "security": [{"$ref": f"#/components/securitySchemes/{each}"} for each in security],
        "bindings": {
            "mqtt": {
                "clientId": "mien-{device_id}",
                "cleanSession": True,
                "lastWill": {
                    "topic": f"{_BASE}/availability",
                    "qos": _QOS,
                    "message": OFFLINE.decode(),
                    "retain": True,
                },
                "keepAlive": Mqtt().keepalive_s,
                "bindingVersion": _BINDING,
            }
        },
    }


def _channel(channel: Channel) -> Json:
    address = f"{_BASE}/{channel.topic}"
    return {
        "address": address,
        "summary": channel.summary,
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
        "parameters": {
            name: {"$ref": f"#/components/parameters/{name}"}
            for name in _PARAMETERS
            if f"{{{name}}}" in address
        },
    }


def _operation(channel: Channel) -> Json:
    # See Connection.subscribe_to_news for why commands are heard with QoS 0.
    qos = _QOS if channel.action == "send" else 0
    binding: Json = {"qos": qos, "retain": channel.retain, "bindingVersion": _BINDING}
    if channel.expiry_s is not None:
        binding["messageExpiryInterval"] = channel.expiry_s
    operation: Json = {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.summary,
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{channel.name}"}],
        "bindings": {"mqtt": binding},
    }
    if channel.action == "receive":
        operation["reply"] = {
            "channel": {"$ref": "#/channels/result"},
            "messages": [{"$ref": "#/channels/result/messages/result"}],
        }
    return operation


def _message(channel: Channel) -> Json:
    message: Json = {"name": channel.name, "summary": channel.summary}
    if channel.payload is None:
        texts = [ONLINE.decode(), OFFLINE.decode()]
        payload = {"type": "string", "enum": texts}
        return {**message, "contentType": "text/plain", "payload": payload}
    message |= _CORRELATIONS.get(channel.payload, {})
    name = channel.payload.__name__
    schema = msgspec.json.schema(channel.payload)["$defs"][name]["properties"]["schema"]
    return {
        **message,
        "headers": {"type": "object", "properties": {"schema": {"enum": schema["enum"]}}},
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
