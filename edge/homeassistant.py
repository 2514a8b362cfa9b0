"""Tells Home Assistant what there is: one message from which it makes a device and its entities.

The format is that of its device discovery (Home Assistant 2024.12 or later):
https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
Nothing here sends anything; `edge.announcer` says when.

Entities read what everybody else reads. Their templates answer `None`, which Home Assistant shows
as unknown, to whatever lacks the key they look for: an older or newer payload, an empty one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, final

import msgspec

from edge.datatypes import UNSURE

EXPIRE_AFTER_S = 100
"""Seconds after which figures of the health report, sent every 30 s, are out of date: three were
missed. What a camera sees does not expire: it is told when it changes, and may stay as it is for
days; that the device or the camera has gone is said by their own topics."""

Component = dict[str, Any]
"""What Home Assistant is told of one entity."""

_PLAIN = re.compile(r"[A-Za-z0-9-]+")
_KEY = re.compile(r"(camera/[A-Za-z0-9_.-]+/)?[a-z]+")
_PLATFORMS = ("sensor", "binary_sensor", "button")
_MOST_REMOVED = 1000


def _value(*keys: str) -> str:
    """Return a Jinja expression for what lies under these keys of the payload, none without it."""
    expression = "(value_json if value_json is mapping else {})"
    for index, key in enumerate(keys):
        missing = "" if index == len(keys) - 1 else " or {}"
        expression = f"({expression}.get({json.dumps(key)}){missing})"
    return expression


def _known(value: str, rendered: str = "it") -> str:
    """Return a Jinja template that renders `it`, the value, where there is one."""
    return f"{{% set it = {value} %}}{{{{ 'None' if it is none else {rendered} }}}}"


_LOOKING = f"{{{{ 'online' if {_value('status')} == 'ok' else 'offline' }}}}"

_REPORTED: Component = {"entity_category": "diagnostic", "expire_after": EXPIRE_AFTER_S}

_LATENCY: Component = {
    "platform": "sensor",
    "name": "Latency",
    "icon": "mdi:timer-outline",
    "device_class": "duration",
    "state_class": "measurement",
    "unit_of_measurement": "ms",
    "suggested_display_precision": 0,
    "value_template": _known(_value("latency_ms", "total", "p95")),
}

_TEMPERATURE: Component = {
    "platform": "sensor",
    "name": "Temperature",
    "device_class": "temperature",
    "state_class": "measurement",
    "unit_of_measurement": "°C",
    "suggested_display_precision": 0,
    "value_template": _known(_value("celsius")),
}

_PROBLEM: Component = {
    "platform": "binary_sensor",
    "name": "Problem",
    "device_class": "problem",
    "value_template": _known(_value("problems"), "'ON' if it else 'OFF'"),
    "json_attributes_template": f"{{{{ {{'problems': {_value('problems')} or []}} | tojson }}}}",
}

_SELFTEST: Component = {
    "platform": "button",
    "name": "Self-test",
    "icon": "mdi:clipboard-check-outline",
    "entity_category": "diagnostic",
    "payload_press": "{}",
    "qos": 1,
}

_SEEN: dict[str, Component] = {
    "confidence": {
        "platform": "sensor",
        "name": "confidence",
        "icon": "mdi:percent-outline",
        "state_class": "measurement",
        "unit_of_measurement": "%",
        "suggested_display_precision": 0,
        "value_template": _known(_value("confidence"), "(it * 100) | round(1)"),
    },
    "valence": {
        "platform": "sensor",
        "name": "valence",
        "icon": "mdi:plus-minus-variant",
        "state_class": "measurement",
        "suggested_display_precision": 2,
        "value_template": _known(_value("valence")),
    },
    "faces": {
        "platform": "sensor",
        "name": "faces",
        "icon": "mdi:face-recognition",
        "state_class": "measurement",
        "value_template": _known(_value("faces")),
    },
    "presence": {
        "platform": "binary_sensor",
        "name": "presence",
        "device_class": "occupancy",
        "value_template": _known(_value("faces"), "'ON' if it else 'OFF'"),
    },
}

_FRAME_RATE: Component = {
    "platform": "sensor",
    "name": "frame rate",
    "icon": "mdi:speedometer",
    "state_class": "measurement",
    "unit_of_measurement": "fps",
    "suggested_display_precision": 1,
}


@dataclass(frozen=True, slots=True)
class Device:
    """What is told of a device.

    Parameters
    ----------
    base
        `<prefix>/<device_id>`, which all its topics begin with, and its identity.
    cameras
        Their names.
    labels
        What `emotion` can be, besides `unsure`.
    board
        The name the board gives itself.
    version
        Mien's.
    thermometer
        Whether the board has a sensor of its temperature.
    commands
        Whether it takes commands.
    """

    base: str
    cameras: tuple[str, ...]
    labels: tuple[str, ...]
    board: str
    version: str
    thermometer: bool = False
    commands: bool = False


@final
@dataclass(frozen=True, slots=True)
class _Earlier:
    """As much of an earlier message as matters: which entities it told of."""

    components: dict[str, dict[str, Any]] = field(default_factory=dict)


def object_id(base: str) -> str:
    """Return the name of a device in the topic of its discovery; two devices never share one.

    Letters, digits, `_` and `-` are all that Home Assistant allows there. `mien_kiosk` where that
    says it all; otherwise a part of the base's SHA-256 sets apart what would read alike.
    """
    prefix, _, device_id = base.rpartition("/")
    if prefix == "mien" and _PLAIN.fullmatch(device_id):
        return f"mien_{device_id}"
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", base)
    return f"{readable}_{hashlib.sha256(base.encode()).hexdigest()[:8]}"


def topic(discovery_prefix: str, base: str) -> str:
    """Return the topic that Home Assistant hears of a device on."""
    return f"{discovery_prefix}/device/{object_id(base)}/config"


def message(device: Device, earlier: bytes = b"") -> bytes:
    """Return the discovery message of a device.

    Parameters
    ----------
    device
        What is told.
    earlier
        The message it replaces. Leaving out what that told of would not remove it: an entity is
        removed by naming no more of it than its platform.
    """
    components = _components(device)
    removed = {
        key: {"platform": platform}
        for key, platform in _entities_in(earlier)
        if key not in components
    }
    return json.dumps(
        {
            "device": _device(device),
            "origin": {"name": "Mien", "sw_version": device.version},
            "availability": [{"topic": f"{device.base}/availability"}],
            # Of a camera's entities both must be there, the device and the camera.
            "availability_mode": "all",
            "components": {**components, **removed},
        },
        ensure_ascii=False,
    ).encode()


def _device(device: Device) -> dict[str, Any]:
    _, _, device_id = device.base.rpartition("/")
    return {
        "identifiers": [device.base],
        "name": "Mien" if device_id == "mien" else f"Mien {_readable(device_id)}",
        "manufacturer": "Mien",
        "model": device.board,
        "sw_version": device.version,
    }


def _components(device: Device) -> dict[str, Component]:
    """Return all entities by their keys, which never change: Home Assistant knows them by these."""
    every = dict(_of_device(device))
    for camera in device.cameras:
        every.update(_of_camera(device, camera))
    return {
        key: {**component, "unique_id": f"{device.base}/{key}"} for key, component in every.items()
    }


def _of_device(device: Device) -> Iterator[tuple[str, Component]]:
    health = {"state_topic": f"{device.base}/health", **_REPORTED}
    yield "latency", {**health, **_LATENCY}
    if device.thermometer:
        yield "temperature", {**health, **_TEMPERATURE}
    yield "problem", {**health, **_PROBLEM, "json_attributes_topic": health["state_topic"]}
    if device.commands:
        yield "selftest", {**_SELFTEST, "command_topic": f"{device.base}/cmd/selftest"}


def _of_camera(device: Device, camera: str) -> Iterator[tuple[str, Component]]:
    below = f"{device.base}/camera/{camera}"
    seen = {
        "state_topic": f"{below}/state",
        # Who does not look sees nobody: that would be taken for an empty room.
        "availability": [
            {"topic": f"{device.base}/availability"},
            {"topic": f"{below}/status", "value_template": _LOOKING},
        ],
    }
    every = {
        "emotion": {**seen, **_emotion(device.labels)},
        **{key: {**seen, **component} for key, component in _SEEN.items()},
        "fps": {
            **_REPORTED,
            **_FRAME_RATE,
            "state_topic": f"{device.base}/health",
            "value_template": _known(_value("fps", camera)),
        },
    }
    name = _readable(camera)
    for key, component in every.items():
        titled = f"{name[:1].upper()}{name[1:]} {component['name']}"
        yield f"camera/{camera}/{key}", {**component, "name": titled}


def _emotion(labels: tuple[str, ...]) -> Component:
    options = list(dict.fromkeys((*labels, UNSURE)))
    # The broker may have kept a label of the bundle before, which is none of the options.
    shown = f"it if it in {json.dumps(options)} else 'None'"
    return {
        "platform": "sensor",
        "name": "emotion",
        "icon": "mdi:emoticon-outline",
        "device_class": "enum",
        "options": options,
        "value_template": _known(_value("emotion"), shown),
    }


def _readable(name: str) -> str:
    """Return a name with spaces for what stands for them in topics."""
    return re.sub(r"[_.-]+", " ", name).strip()


def _entities_in(earlier: bytes) -> Iterable[tuple[str, str]]:
    """Yield key and platform of the entities an earlier message told of.

    Anybody may have written it: what is no message of ours tells of nothing.
    """
    try:
        known = msgspec.json.decode(earlier, type=_Earlier).components if earlier else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for key, component in list(known.items())[:_MOST_REMOVED]:
        platform = component.get("platform")
        if platform in _PLATFORMS and len(component) > 1 and _KEY.fullmatch(key):
            yield key, platform
