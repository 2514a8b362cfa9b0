"""`mien watch`: what a subscriber hears, as a table that is redrawn, or as lines.

This is a subscriber like any other: it knows only topics and payloads. What it keeps is a
`Fleet`, built by feeding it messages; drawing is a pure function of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

Payload = Mapping[str, Any]

_BAR = 10


@dataclass(slots=True)
class CameraView:
    """What was last heard of one camera."""

    status: str = ""
    state: Payload | None = None
    latency_ms: float | None = None


@dataclass(slots=True)
class DeviceView:
    """What was last heard of one device."""

    available: bool | None = None
    health: Payload | None = None
    cameras: dict[str, CameraView] = field(default_factory=dict)


class Fleet:
    """Every device heard of on a broker.

    Parameters
    ----------
    prefix
        The first level of every topic.
    """

    def __init__(self, prefix: str = "mien") -> None:
        self._prefix = prefix
        self.devices: dict[str, DeviceView] = {}

    def receive(self, topic: str, payload: bytes) -> Payload | None:
        """Take in one message.

        Returns
        -------
        The event it was, if it was one. Topics and payloads that are not Mien's are passed over:
        a broker is shared, and a table that dies of a stranger's message is of no use.
        """
        prefix, _, rest = topic.partition("/")
        device, _, kind = rest.partition("/")
        if prefix != self._prefix or not kind:
            return None
        view = self.devices.setdefault(device, DeviceView())
        if kind == "availability":
            view.available = payload == b"online"
            return None
        values = _object(payload)
        if kind == "health" and values is not None:
            view.health = values
        levels = kind.split("/")
        if len(levels) == 3 and levels[0] == "camera":  # noqa: PLR2004  # camera/<name>/<what>
            return self._camera(view, levels[1], levels[2], values)
        return None

    def _camera(
        self, device: DeviceView, name: str, what: str, values: Payload | None
    ) -> Payload | None:
        if values is None:
            # An empty retained message is how a topic is cleared.
            device.cameras.pop(name, None)
            return None
        camera = device.cameras.setdefault(name, CameraView())
        if what == "status":
            camera.status = str(values.get("status", ""))
        elif what == "state":
            camera.state = values
        elif what == "event":
            latency = values.get("latency_ms")
            camera.latency_ms = latency.get("total") if isinstance(latency, Mapping) else None
            return values
        return None


def table(fleet: Fleet) -> str:
    """Lay the fleet out as a table: a line for each face, or for a camera that sees none."""
    rows = [f"{'device':<16}{'':<9}{'camera':<12}{'face':<6}{'emotion':<10}{'':<17}latency"]
    for name, device in sorted(fleet.devices.items()):
        lines = [
            line for camera in sorted(device.cameras.items()) for line in _camera_lines(*camera)
        ]
        health = _health(device)
        for index, line in enumerate(lines or [""]):
            left = f"{name[:15]:<16}{_availability(device):<9}" if index == 0 else " " * 25
            rows.append((left + line).rstrip())
        if health:
            rows.append(f"{'':<16}{health}")
    if not fleet.devices:
        rows.append("nothing heard yet")
    return "\n".join(rows)


def line(event: Payload) -> str:
    """Lay one event out as a line to be read at a glance."""
    track, latency = event.get("track", {}), event.get("latency_ms", {})
    told = {"start": "appears", "update": "now", "end": "left"}.get(str(event.get("type")), "?")
    moment = _clock_time(str(event.get("ts", "")))
    share = float(event.get("confidence", 0.0))
    return (
        f"{moment}  {event.get('camera', '?')!s:<10} face {track.get('id', '?')!s:<3} "
        f"{told:<8} {event.get('emotion', '?')!s:<9} {_bar(share)} {share:>4.0%}   "
        f"valence {float(event.get('valence', 0.0)):+.2f}   "
        f"{float(latency.get('total', 0.0)):.0f} ms"
    )


def _camera_lines(name: str, camera: CameraView) -> list[str]:
    latency = "" if camera.latency_ms is None else f"{camera.latency_ms:.0f} ms"
    present = camera.state.get("present", []) if camera.state else []
    label = f"{name[:11]:<12}"
    if not present:
        trouble = camera.status if camera.status not in ("", "ok") else "no face"
        return [f"{label}{'-':<6}{trouble}"]
    lines = []
    for face in present:
        share = float(face.get("confidence", 0.0))
        lines.append(
            f"{label}{face.get('track', '?')!s:<6}{face.get('emotion', '?')!s:<10}"
            f"{_bar(share)} {share:>4.0%}  {latency}"
        )
        label, latency = " " * 12, ""
    return lines


def _availability(device: DeviceView) -> str:
    return {True: "online", False: "OFFLINE", None: "?"}[device.available]


def _health(device: DeviceView) -> str:
    if device.health is None or not device.available:
        return ""
    problems = [str(each.get("text", "")) for each in device.health.get("problems", [])]
    rates = ", ".join(
        f"{name} {rate:.0f} frames/s" for name, rate in device.health.get("fps", {}).items()
    )
    return "; ".join(filter(None, [rates, *problems]))


def _bar(share: float) -> str:
    full = round(min(max(share, 0.0), 1.0) * _BAR)
    return "#" * full + "." * (_BAR - full)


def _clock_time(ts: str) -> str:
    """Return the time of day here of an RFC 3339 time, to a tenth of a second."""
    try:
        moment = datetime.fromisoformat(ts.replace("Z", "+00:00")).astimezone()
    except ValueError:
        return "--:--:--.-"
    return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}"


def _object(payload: bytes) -> Payload | None:
    try:
        values = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return None
    return values if isinstance(values, dict) else None
