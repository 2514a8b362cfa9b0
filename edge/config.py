"""Reads the settings: one TOML file, then `MIEN_*` variables, then the command line.

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
from typing import Annotated, Any

import msgspec

from edge import credentials
from edge.broker import parse_url
from edge.errors import ConfigError
from edge.settings import CAMERA_TABLES, Camera, Emotion, Mqtt, Settings, Stream

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = Path("/etc/mien/mien.toml")
ENVIRONMENT_PREFIX = "MIEN_"
FILE_VARIABLE = "MIEN_CONFIG"

MOST_BYTES = 65_536
LONGEST_LINE = 8192
"""Of a configuration; what has more is another file. A key of tens of thousands of parts would
take minutes to read: for that, time grows with the square of the line."""


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
    file = chosen(file, environ)
    table = _read(file) if file else {}
    source = str(file) if file else "settings"
    checked = parse(table, source=source)
    override = _from_environment(environ)
    if not override:
        return checked
    return parse(_merged(table, override), source="environment")


def chosen(file: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that `load` reads; None where there is none."""
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    return file


def unchecked(file: Path | None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what `load` would check, as it stands there.

    Raises
    ------
    ConfigError
        The file cannot be read, or is not TOML.
    """
    file = chosen(file, environ)
    return _merged(_read(file) if file else {}, _from_environment(environ))


def loads(text: str, *, source: str) -> Settings:
    """Read the settings from the text of a TOML file, which errors name as `source`.

    Raises
    ------
    ConfigError
        It is not TOML, or holds a key or value that does not exist.
    """
    return parse(_parsed(text, source), source=source)


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
    for name, value in (*files.items(), ("password_file", mqtt.password_file)):
        try:
            credentials.check(value or "")
        except ConfigError as exc:
            raise ConfigError(f"{source}: mqtt.{name}: {exc}") from None
    if mqtt.password_file is not None and mqtt.username is None:
        raise ConfigError(f"{source}: mqtt.password_file: whose password? set username")
    readable = mqtt.password_file is not None and not (broker.tls or broker.loopback)
    if readable and not mqtt.allow_plaintext_password:
        raise ConfigError(
            f"{source}: mqtt.password_file: the password would cross the network to {broker} in "
            "plain text; write url as mqtts://HOST, or set allow_plaintext_password = true"
        )


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
    return toml(msgspec.to_builtins(settings))


def toml(table: Mapping[str, Any]) -> str:
    """Write a table of plain values as TOML."""
    return "\n".join(_lines("", "", table)).lstrip("\n") + "\n"


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
        with file.open("rb") as opened:
            raw = opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such file; write one (`mien config show` prints the defaults) or leave "
            "out --config"
        ) from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{file}: larger than {MOST_BYTES} bytes, so no configuration; name one")
    try:
        return _parsed(raw.decode(), str(file))
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc


def _parsed(text: str, source: str) -> dict[str, Any]:
    if max(map(len, text.splitlines()), default=0) > LONGEST_LINE:
        raise ConfigError(f"{source}: has a line of more than {LONGEST_LINE} characters; part it")
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{source}: not a configuration: nested too deeply") from None
    except ValueError as exc:
        # TOMLDecodeError, and what Python says of a number with thousands of digits.
        raise ConfigError(f"{source}: not TOML: {exc}") from exc
    return table


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the tables that `MIEN_SECTION__KEY=value` variables spell."""
    tables: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == FILE_VARIABLE:
            continue
        if not _is_unicode(variable + text):
            raise ConfigError(f"environment: {variable}: not UTF-8; write it anew")
        *path, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        table: Any = tables
        for part in path:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict) or key in table:
            raise ConfigError(
                f"environment: {variable}: another variable sets the same; remove one of them"
            )
        table[key] = _value(text)
    return tables


def _is_unicode(text: str) -> bool:
    """Whether a variable was UTF-8: Python keeps bytes that are not as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(text: str) -> object:
    """Read a variable as a TOML value where it is one (3, 0.5, true, [0, 1]), else as text."""
    if len(text) > LONGEST_LINE:
        return text
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # A line end in the text may begin another key.
    return table["value"] if len(table) == 1 else text


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
