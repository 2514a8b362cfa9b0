"""What identifies this device: what its configuration names, and what its machine knows of itself.

Everything found is told to a `Redactor` before a line of the bundle is written.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from edge import bundle, cameras, config
from edge.datatypes import Event
from edge.payloads import CameraState, CameraStatus, Health, Info, SelfTest
from edge.settings import Camera, Settings
from edge.support.redaction import GONE, Kind, Redactor

_TYPES = (Settings, Event, Info, Health, SelfTest, CameraStatus, CameraState)
_CREDENTIAL = "credential:"

_KINDS: dict[str, Kind] = {"device_id": "device", "name": "camera", "username": "user"}
"""What a string of the configuration names, by its key."""

_PLAIN_URI = re.compile(r"v4l2:/dev/video\d+|picamera2:\d+|argus:\d+")
_NUMBER = re.compile(r"[-+\d._eE]+|true|false")
_SECRET_KEY = re.compile(r"pass|secret|token|psk|credential", re.IGNORECASE)
_PLACE_KEY = re.compile(r"file|path|folder|bundle|prefix", re.IGNORECASE)

_FOLDERS = {
    "bin", "boot", "by-id", "by-path", "data", "dev", "etc", "home", "lib", "local", "log", "media",
    "mnt", "opt", "proc", "root", "run", "share", "srv", "sys", "tmp", "usr", "v4l", "var",
}  # fmt: skip
"""Parts of paths that every machine has."""

_INSTALLS = ("/opt/mien", "/usr")
"""Where Mien and Python are on many machines; elsewhere, a traceback in the log would say where."""

_IMAGES = {
    "admin", "armbian", "debian", "guest", "jetson", "linux", "nvidia", "orangepi", "raspberry",
    "raspberrypi", "raspbian", "rock", "ubuntu", "user",
}  # fmt: skip
"""What users and hosts are called by the images that boards are flashed with: no one in particular,
and words that say what system runs."""

_PEOPLE = range(1000, 60_000)
"""The user ids that Debian gives to people."""

_SERIALS = (
    "etc/machine-id",
    "proc/device-tree/serial-number",
    "sys/class/dmi/id/*_serial",
    "sys/class/dmi/id/product_uuid",
    "sys/bus/usb/devices/*/serial",
)
_NETWORKS = (
    "etc/wpa_supplicant/*.conf",
    "etc/NetworkManager/system-connections/*",
    "run/NetworkManager/system-connections/*",
)
_SSID = re.compile(r"^\s*ssid\s*=\s*\"?(.+?)\"?\s*$", re.MULTILINE)
_PSK = re.compile(r"^\s*(?:psk|password)\s*=\s*\"?(.+?)\"?\s*$", re.MULTILINE)


def words() -> set[str]:
    """Return the words that every device has: keys, choices, defaults, shipped bundles, folders."""
    found = {*_FOLDERS, *_IMAGES, *bundle.shipped(), config.DEFAULT_FILE.name}
    found.update(_strings(msgspec.to_builtins((Settings(), Camera(uri="mien")))))
    for kind in _TYPES:
        found.update(_vocabulary(inspect.type_info(kind)))
    return found


def redacted(table: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return a configuration, valid or not, that says no more who and where.

    Numbers, switches and words of the settings' own stay. Every other string is replaced, and
    noted so that it is replaced wherever else it stands.
    """
    return {key: _shown(key, value, redactor) for key, value in table.items()}


def note_loose_words(file: Path, redactor: Redactor) -> None:
    """Note what may be values in a configuration that is no TOML: all that stands after a `=`."""
    for line in _text(file).splitlines():
        key, _, value = line.partition("=")
        for word in re.findall(r"[^\s\"'=\[\],{}#]+", value):
            if not _NUMBER.fullmatch(word):
                _shown_text(key, word, redactor)


def note_password(table: Mapping[str, Any], redactor: Redactor) -> None:
    """Note the password in the file that a configuration names, if this user may read it."""
    mqtt = table.get("mqtt")
    file = mqtt.get("password_file") if isinstance(mqtt, Mapping) else None
    if isinstance(file, str):
        redactor.secret(_text(Path(file)).strip())


def note_machine(
    redactor: Redactor, root: Path = Path("/"), environ: Mapping[str, str] = os.environ
) -> None:
    """Note what the machine below `root` is called, whose it is, and its serial numbers."""
    for name in (platform.node(), *_text(root / "etc/hostname").split()):
        redactor.hide("host", name)
        redactor.hide("host", name.partition(".")[0])
    for name in _people(root, environ):
        redactor.hide("user", name)
    if not sys.prefix.startswith(_INSTALLS):
        redactor.hide("path", sys.prefix)
    for file in _files(root, "sys/class/net/*/address"):
        redactor.hide("mac", _text(file))
        redactor.hide("mac", _text(file).strip().replace(":", ""))
    for file in (each for pattern in _SERIALS for each in _files(root, pattern)):
        serial = _text(file).strip("\0 \n")
        # A short number is a version or a port, and stands everywhere.
        if len(serial) > 5:  # noqa: PLR2004  # shorter than any serial number met
            redactor.hide("serial", serial)
    for file in (each for pattern in _NETWORKS for each in _files(root, pattern)):
        for name in _SSID.findall(_text(file)):
            redactor.hide("network", name)
        for key in _PSK.findall(_text(file)):
            redactor.secret(key)


def _people(root: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the login names, full names and homes of those who have an account, and who asks."""
    for line in _text(root / "etc/passwd").splitlines():
        fields = line.split(":")
        if len(fields) > 5 and fields[2].isdecimal() and int(fields[2]) in _PEOPLE:  # noqa: PLR2004  # passwd(5)
            yield fields[0]
            yield fields[4].partition(",")[0]
            yield fields[5]
    for variable in ("USER", "LOGNAME", "SUDO_USER"):
        if environ.get(variable) not in (None, "root"):
            yield environ[variable]


def _shown(key: str, value: Any, redactor: Redactor) -> Any:  # noqa: ANN401  # TOML has no better type
    if isinstance(value, Mapping):
        return redacted(value, redactor)
    if isinstance(value, list | tuple):
        return [_shown(key, each, redactor) for each in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return _shown_text(key, str(value), redactor)


def _shown_text(key: str, text: str, redactor: Redactor) -> str:
    scheme, colon, rest = text.partition(":")
    if _PLAIN_URI.fullmatch(text) or text.startswith(_CREDENTIAL):
        return text
    if rest.startswith("//"):
        return _url(text, redactor)
    if key == "uri" and scheme in cameras.KINDS:
        # A link below /dev/v4l/by-id holds a serial number, a clip's name whatever it shows.
        place, mark, _ = rest.partition("?")
        return f"{scheme}{colon}{note_path(place, redactor)}{mark and mark + GONE}"
    if _PLACE_KEY.search(key) or text.startswith("/"):
        return note_path(text, redactor)
    if _SECRET_KEY.search(key):
        return redactor.secret(text)
    for part in re.split(r"[:@/?&=]", text):
        # An address that is written wrongly has its parts all the same.
        redactor.hide(_KINDS.get(key, "text"), part)
    return redactor.hide(_KINDS.get(key, "text"), text)


def _url(text: str, redactor: Redactor) -> str:
    login, _, place = text.partition("://")[2].rpartition("@")
    user, _, password = login.partition(":")
    redactor.hide("user", user)
    redactor.secret(password)
    redactor.hide("path", place.partition("/")[2])
    return redactor.url(text)


def note_path(text: str, redactor: Redactor) -> str:
    """Note a path and the folders in it; return what stands for it."""
    shown = redactor.hide("path", text)
    for part in text.split("/"):
        redactor.hide("path", part)
    return shown


def _vocabulary(kind: Any) -> Iterator[str]:  # noqa: ANN401  # msgspec's types have no common one
    """Yield the keys and the literal strings of a type, and of all the types within it."""
    if isinstance(kind, inspect.LiteralType):
        yield from (each for each in kind.values if isinstance(each, str))
    for field in getattr(kind, "fields", ()):
        yield field.name
        yield from _vocabulary(field.type)
    inner = [*getattr(kind, "types", ()), *getattr(kind, "item_types", ())]
    for name in ("type", "item_type", "key_type", "value_type"):
        inner += [getattr(kind, name)] if hasattr(kind, name) else []
    for each in inner:
        yield from _vocabulary(each)


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401  # JSON has no better type
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, str):
        yield value


def _files(root: Path, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern))


def _text(file: Path) -> str:
    """Return what a file holds; nothing where it is absent or not for this user."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
