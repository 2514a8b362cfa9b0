"""`mien watch`: what a subscriber hears, as a table that is redrawn, or as lines.

This is a subscriber like any other: it knows only topics and payloads. What it keeps is a
`Fleet`, built by feeding it messages; drawing is a pure function of that.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO, TypeVar

import msgspec

from edge.datatypes import Event, Flaw
from edge.payloads import ONLINE, CameraState, CameraStatus, Health
from edge.settings import Mqtt
from edge.subscriber import Subscriber

_BAR = 10
_REDRAW_S = 0.5
_HOME_AND_CLEAR = "\x1b[H\x1b[J"

Payload = TypeVar("Payload")


@dataclass(slots=True)
class CameraView:
    """What was last heard of one camera; None is nothing yet."""

    status: CameraStatus | None = None
    state: CameraState | None = None
    latency_ms: float | None = None


@dataclass(slots=True)
class DeviceView:
    """What was last heard of one device; None is nothing yet."""

    available: bool | None = None
    health: Health | None = None
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

    def receive(self, topic: str, payload: bytes) -> Event | None:
        """Take in one message.

        Returns
        -------
        The event it was, if it was one. Topics and payloads that are not Mien's are passed over:
        a broker is shared, and a table that dies of a stranger's message is of no use.
        """
        prefix, _, rest = topic.partition("/")
        name, _, kind = rest.partition("/")
        if prefix != self._prefix or not kind:
            return None
        device = self.devices.setdefault(name, DeviceView())
        match kind.split("/"):
            case ["availability"]:
                device.available = payload == ONLINE
            case ["health"]:
                device.health = _decoded(payload, Health)
            case ["camera", camera, "status" | "state"] if not payload:
                # An empty retained message is how a topic is cleared.
                device.cameras.pop(camera, None)
            case ["camera", camera, "status"]:
                _view(device, camera).status = _decoded(payload, CameraStatus)
            case ["camera", camera, "state"]:
                _view(device, camera).state = _decoded(payload, CameraState)
            case ["camera", camera, "event"]:
                event = _decoded(payload, Event)
                if event is not None:
                    _view(device, camera).latency_ms = event.latency_ms.total
                return event
            case _:
                pass
        return None


def run(settings: Mqtt, stream: TextIO | None = None) -> int:
    """Show what is heard on a broker until the user presses Ctrl-C.

    On a terminal the table is redrawn in place; elsewhere each event is a line.

    Raises
    ------
    MienError
        The broker cannot be reached, or refuses the connection.
    """
    stream = stream or sys.stdout
    live = stream.isatty()
    fleet = Fleet(settings.prefix)
    subscriber = Subscriber(settings, f"{settings.prefix}/#")
    with suppress(KeyboardInterrupt), subscriber:
        while True:
            for topic, payload in subscriber.messages(_REDRAW_S):
                event = fleet.receive(topic, payload)
                if event is not None and not live:
                    stream.write(line(event) + "\n")
                    stream.flush()
            if live:
                stream.write(f"{_HOME_AND_CLEAR}{table(fleet)}\n")
                stream.flush()
    return 0


def table(fleet: Fleet) -> str:
    """Lay the fleet out as a table: a line for each face, or for a camera that sees none."""
    rows = [f"{'device':<16}{'':<9}{'camera':<12}{'face':<6}{'emotion':<10}{'':<17}latency"]
    for name, device in sorted(fleet.devices.items()):
        lines = [row for camera in sorted(device.cameras.items()) for row in _camera_rows(*camera)]
        for index, row in enumerate(lines or [""]):
            left = f"{name[:15]:<16}{_availability(device):<9}" if index == 0 else " " * 25
            rows.append((left + row).rstrip())
        health = _health(device)
        if health:
            rows.append(f"{'':<16}{health}")
    if not fleet.devices:
        rows.append("nothing heard yet")
    return "\n".join(rows)


def line(event: Event) -> str:
    """Lay one event out as a line to be read at a glance."""
    told = {"start": "appears", "update": "now", "end": "left"}[event.type]
    return (
        f"{_time_of_day(event.ts)}  {event.camera:<10} face {event.track.id:<3} {told:<8} "
        f"{event.emotion:<9} {_bar(event.confidence)} {event.confidence:>4.0%}   "
        f"valence {event.valence:+.2f}   {event.latency_ms.total:.0f} ms{_why(event.poor)}"
    )


def _view(device: DeviceView, camera: str) -> CameraView:
    return device.cameras.setdefault(camera, CameraView())


def _camera_rows(name: str, camera: CameraView) -> list[str]:
    label = f"{name[:11]:<12}"
    if camera.state is None or not camera.state.present:
        well = camera.status is None or camera.status.status == "ok"
        return [
            f"{label}{'-':<6}{'no face' if well or not camera.status else camera.status.status}"
        ]
    latency = "" if camera.latency_ms is None else f"{camera.latency_ms:.0f} ms"
    rows = []
    for face in camera.state.present:
        rows.append(
            f"{label}{face.track:<6}{face.emotion:<10}"
            f"{_bar(face.confidence)} {face.confidence:>4.0%}  {latency}{_why(face.poor)}"
        )
        label, latency = " " * 12, ""
    return rows


def _availability(device: DeviceView) -> str:
    return {True: "online", False: "OFFLINE", None: "?"}[device.available]


def _health(device: DeviceView) -> str:
    if device.health is None or not device.available:
        return ""
    rates = [f"{name} {rate:.0f} frames/s" for name, rate in device.health.fps.items()]
    return "; ".join([*rates, *(problem.text for problem in device.health.problems)])


def _why(poor: tuple[Flaw, ...]) -> str:
    """Return what is wrong with the look at a face, as the end of its line."""
    return f"  {', '.join(poor)}" if poor else ""


def _bar(share: float) -> str:
    full = round(share * _BAR)
    return "#" * full + "." * (_BAR - full)


def _time_of_day(ts: str) -> str:
    """Return the local time of day of an event's `ts`, to a tenth of a second."""
    try:
        moment = datetime.fromisoformat(ts.replace("Z", "+00:00")).astimezone()
    except ValueError:
        return "--:--:--.-"
    return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}"


def _decoded(payload: bytes, kind: type[Payload]) -> Payload | None:
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
