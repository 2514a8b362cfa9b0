"""Settings: one TOML file, overridden by `MIEN_*` environment variables, then by the command line.

A key that does not exist is refused with the nearest one that does, because a misspelt key that
is silently ignored is found a year later in a lobby.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edge.broker import parse_url
from edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = Path("/etc/mien/mien.toml")
ENVIRONMENT_PREFIX = "MIEN_"
FILE_VARIABLE = "MIEN_CONFIG"

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)]
TopicLevel = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=64,
        description="letters, digits, '_', '.' and '-'; it becomes one level of an MQTT topic",
    ),
]
Pixels = Annotated[int, msgspec.Meta(ge=16, le=8192)]
EvenPixels = Annotated[int, msgspec.Meta(ge=16, le=8192, multiple_of=2)]
FramesPerSecond = Annotated[float, msgspec.Meta(ge=1.0, le=240.0)]
MainsFrequency = Literal["off", 50, 60]
StreamTimeout = Annotated[float, msgspec.Meta(ge=0.5, le=120.0)]
TopicPath = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$",
        max_length=256,
        description="one or more levels of an MQTT topic",
    ),
]


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manner of every settings struct."""


class Picamera2(_Settings, frozen=True):
    """A Raspberry Pi camera, through libcamera.

    The `main` stream is read at `width` x `height`. With `lores` the main stream runs at twice
    that, and what is read is scaled down from it by the image processor: many sensors crop their
    view for small pictures, and this keeps it wide. `mains_hz` lets exposure times fit the
    flicker of lamps, `exposure_ev` brightens (+) or darkens (-) by powers of two, `autofocus`
    keeps focusing where the lens can move. What is left out stays as the camera has it.
    """

    width: EvenPixels = 640
    height: EvenPixels = 480
    fps: FramesPerSecond = 30.0
    stream: Literal["main", "lores"] = "main"
    mains_hz: MainsFrequency | None = None
    exposure_ev: Annotated[float, msgspec.Meta(ge=-8.0, le=8.0)] | None = None
    autofocus: bool | None = None


class V4l2(_Settings, frozen=True):
    """A USB camera, or whatever else the kernel shows as /dev/videoN.

    `format` is what crosses the cable (MJPG, YUYV; OpenCV chooses unless told): MJPG for large
    pictures, because USB 2 is too slow for 1280x720 YUYV. `mains_hz` is the camera's own filter
    against the flicker of lamps; left out, it stays as it is.
    """

    width: Pixels = 640
    height: Pixels = 480
    fps: Annotated[int, msgspec.Meta(ge=1, le=240)] = 30
    format: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{4}$")] | None = None
    buffers: Annotated[int, msgspec.Meta(ge=2, le=10)] = 4
    mains_hz: MainsFrequency | None = None


class Stream(_Settings, frozen=True):
    """A camera on the network: RTSP, or MJPEG over HTTP.

    `transport` is RTSP's: `tcp` is tried first and UDP where the camera refuses it; `udp` is
    UDP alone. All cameras of a process share one, because OpenCV has one setting for all.
    """

    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: StreamTimeout = 10.0
    read_timeout_s: StreamTimeout = 10.0


class Argus(_Settings, frozen=True):
    """A CSI camera of a Jetson. Its own rotation is left alone: use the camera's `rotate`."""

    width: EvenPixels = 1280
    height: EvenPixels = 720
    fps: Annotated[int, msgspec.Meta(ge=1, le=240)] = 30


class Camera(_Settings, frozen=True):
    """One camera. `region` (x, y, width, height as fractions) is cut after turning.

    Each kind of camera has a table of its own, which only a URI of that kind may have.
    """

    uri: str
    name: TopicLevel = "camera"
    rotate: Literal[0, 90, 180, 270] = 0
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    region: tuple[Share, Share, Share, Share] = (0.0, 0.0, 1.0, 1.0)
    picamera2: Picamera2 | None = None
    v4l2: V4l2 | None = None
    stream: Stream | None = None
    argus: Argus | None = None

    @property
    def scheme(self) -> str:
        """What stands before the colon of the URI."""
        return self.uri.partition(":")[0]


CAMERA_TABLES = {
    "picamera2": ("picamera2",),
    "v4l2": ("v4l2",),
    "stream": ("rtsp", "http", "https"),
    "argus": ("argus",),
}
"""The tables that a `[[camera]]` may have, each with the URI schemes it is for."""


class Detector(_Settings, frozen=True):
    """Which faces are found. `every` frames the detector looks; between, tracks are predicted.

    `score` replaces the bundle's own threshold. Faces beyond the `most_faces` largest are left
    out, so that a crowd cannot stall the device.
    """

    bundle: str = "blazeface-short"
    every: Annotated[int, msgspec.Meta(ge=1, le=30)] = 1
    score: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] | None = None
    most_faces: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16


class Tracker(_Settings, frozen=True):
    """`confirm` detections begin a track; one not detected for `bridge_s` seconds has left."""

    confirm: Annotated[int, msgspec.Meta(ge=1, le=30)] = 2
    bridge_s: Seconds = 0.8


class Emotion(_Settings, frozen=True):
    """Which expression bundle runs."""

    bundle: str = "mien-baseline"


class Events(_Settings, frozen=True):
    """When a change is told: see `edge.events`."""

    settle_s: Seconds = 0.3
    hold_s: Seconds = 0.3
    margin: Share = 0.1
    heartbeat_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600.0)] = 5.0


class Runtime(_Settings, frozen=True):
    """What runs the models, and on how many cores."""

    library: Literal["ai-edge-litert", "tflite-runtime"] = "ai-edge-litert"
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1


class Mqtt(_Settings, frozen=True):
    """Where events are published, and as whom.

    `password_file` and the TLS files are read at every connection, so that they can be renewed
    while the daemon runs. `queue` events are kept while the broker is away; then the oldest are
    dropped. A broker forgets an event that it could not deliver for `event_expiry_s` (MQTT 5).
    With `protocol` auto, MQTT 5 is tried first, and 3.1.1 where the broker does not take it.
    """

    url: str = "mqtt://localhost"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    prefix: TopicPath = "mien"
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 30
    queue: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    event_expiry_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 3600


class Settings(_Settings, frozen=True):
    """Everything that can be set. Every table may be left out; only a camera must be named."""

    device_id: TopicLevel = "mien"
    camera: tuple[Camera, ...] = ()
    detector: Detector = Detector()
    tracker: Tracker = Tracker()
    emotion: Emotion = Emotion()
    events: Events = Events()
    runtime: Runtime = Runtime()
    mqtt: Mqtt = Mqtt()


def load(file: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Parameters
    ----------
    file
        The TOML file; without one, `MIEN_CONFIG`, then /etc/mien/mien.toml where that exists,
        then the defaults.
    environ
        Variables such as `MIEN_DETECTOR__EVERY=2` replace the file's values.

    Raises
    ------
    ConfigError
        The file cannot be read, is not TOML, or holds a key or value that does not exist.
    """
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    table = _read(file) if file else {}
    source = str(file) if file else "settings"
    checked = parse(table, source=source)
    override = _from_environment(environ)
    if not override:
        return checked
    return parse(_merged(table, override), source="environment")


def parse(table: Mapping[str, Any], *, source: str) -> Settings:
    """Validate settings that were read from `source`, which errors name."""
    try:
        settings = msgspec.convert(table, Settings)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{source}: {_explain(str(exc))}") from exc
    names = [camera.name for camera in settings.camera]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two cameras are named {name!r}; give each its own name")
    for camera in settings.camera:
        x, y, width, height = camera.region
        if width <= 0 or height <= 0 or x + width > 1 or y + height > 1:
            raise ConfigError(
                f"{source}: camera {camera.name!r}: region {list(camera.region)} leaves the "
                "picture; give x, y, width, height as fractions with x + width <= 1"
            )
    _check_camera_tables(settings.camera, source)
    _check_mqtt(settings.mqtt, source)
    return settings


def _check_camera_tables(cameras: tuple[Camera, ...], source: str) -> None:
    """Refuse a table that the camera would silently not read."""
    for camera in cameras:
        for table, schemes in CAMERA_TABLES.items():
            if getattr(camera, table) is not None and camera.scheme not in schemes:
                wanted = " or ".join(f"{scheme}:" for scheme in schemes)
                raise ConfigError(
                    f"{source}: camera {camera.name!r}: [camera.{table}] is for a uri that begins "
                    f"with {wanted}, not {camera.scheme}:; remove it or change the uri"
                )
    rtsp = [camera for camera in cameras if camera.scheme == "rtsp"]
    if len({(camera.stream or Stream()).transport for camera in rtsp}) > 1:
        raise ConfigError(
            f"{source}: cameras {', '.join(repr(camera.name) for camera in rtsp)}: all RTSP "
            "cameras share one transport; set the same in each [camera.stream]"
        )


def _check_mqtt(mqtt: Mqtt, source: str) -> None:
    """Refuse what would only be found out at the broker, or silently not protect."""
    try:
        broker = parse_url(mqtt.url)
    except ConfigError as exc:
        raise ConfigError(f"{source}: mqtt.url: {exc}") from None
    files = {name: getattr(mqtt, name) for name in ("ca_file", "cert_file", "key_file")}
    given = [name for name, value in files.items() if value is not None]
    if given and not broker.tls:
        raise ConfigError(
            f"{source}: mqtt.{given[0]}: is of no use without TLS; write url as mqtts://HOST"
        )
    if mqtt.key_file is not None and mqtt.cert_file is None:
        raise ConfigError(f"{source}: mqtt.key_file: its certificate is missing; set cert_file")
    if mqtt.password_file is not None and mqtt.username is None:
        raise ConfigError(f"{source}: mqtt.password_file: whose password? set username")


def with_cameras(settings: Settings, uris: list[str]) -> Settings:
    """Replace the cameras by those of the command line, named camera, camera-2 and so on."""
    cameras = tuple(
        Camera(uri=uri, name="camera" if index == 1 else f"camera-{index}")
        for index, uri in enumerate(uris, start=1)
    )
    return msgspec.structs.replace(settings, camera=cameras)


def with_bundle(settings: Settings, bundle: str) -> Settings:
    """Replace the expression bundle by that of the command line."""
    return msgspec.structs.replace(settings, emotion=Emotion(bundle=bundle))


def with_broker(settings: Settings, url: str) -> Settings:
    """Replace the broker by that of the command line.

    Raises
    ------
    ConfigError
        The URL is none, or does not go with the other settings of [mqtt].
    """
    changed = msgspec.structs.replace(
        settings, mqtt=msgspec.structs.replace(settings.mqtt, url=url)
    )
    _check_mqtt(changed.mqtt, "command line")
    return changed


def to_toml(settings: Settings) -> str:
    """Write settings as the TOML that reads back as the same settings."""
    plain = msgspec.to_builtins(settings)
    return "\n".join(_lines("", "", plain)).lstrip("\n") + "\n"


def _lines(heading: str, path: str, table: Mapping[str, Any]) -> list[str]:
    """Write a table: its heading, its plain keys, then the tables within it."""
    lines, below = ["", heading] if heading else [], []
    for key, value in table.items():
        inner = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            below += _lines(f"[{inner}]", inner, value)
        elif isinstance(value, tuple | list) and all(isinstance(each, dict) for each in value):
            below += [line for each in value for line in _lines(f"[[{inner}]]", inner, each)]
        elif value is not None:
            lines.append(_entry(key, value))
    return lines + below


def _entry(key: str, value: object) -> str:
    # JSON's strings, numbers, booleans and flat lists are TOML's.
    return f"{key} = {msgspec.json.encode(value).decode()}"


def _read(file: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such file; write one (`mien config show` prints the defaults) or leave "
            "out --config"
        ) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{file}: not TOML: {exc}") from exc
    return table


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the tables that `MIEN_SECTION__KEY=value` variables spell."""
    tables: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == FILE_VARIABLE:
            continue
        path = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        table = tables
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = _value(text)
    return tables


def _value(text: str) -> object:
    """Read a variable as a TOML value where it is one (3, 0.5, true, [0, 1]), else as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>.*)`$")


def _explain(message: str) -> str:
    """Turn a validation message into one that names the key as the file spells it."""
    match = _AT.match(message)
    assert match is not None  # noqa: S101  # the pattern matches any text
    what, path = match["what"], (match["path"] or "$").removeprefix("$").removeprefix(".")
    unknown = _UNKNOWN.match(what)
    if unknown is None:
        return f"{path}: {what[:1].lower()}{what[1:]}"
    field = unknown["field"]
    known = _fields_at(path)
    near = difflib.get_close_matches(field, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"{f'{path}.{field}' if path else field}: unknown key; {hint}"


def _fields_at(path: str) -> list[str]:
    """Return the keys that a table of the settings has."""
    kind: Any = Settings
    for part in re.sub(r"\[[^]]*\]", "", path).split("."):
        if part:
            kind = _struct_in(typing.get_type_hints(kind)[part])
    return [field.name for field in msgspec.structs.fields(kind)]


def _struct_in(hint: Any) -> Any:  # noqa: ANN401  # a type annotation has no better type
    """Return the struct that an annotation such as `tuple[Camera, ...]` speaks of."""
    if typing.get_origin(hint) in (tuple, types.UnionType, typing.Union, Annotated):
        return next(_struct_in(part) for part in typing.get_args(hint) if part is not Ellipsis)
    return hint
