"""What a person says about one card, or about a fleet of them, beside its board and its role."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.errors import MienError, UsageError
from edge.settings import TopicLevel
from firmware_configs.device.card import SERIAL

CREDENTIAL = "credential:mqtt_"
"""How mien.toml names a file of /etc/mien/credentials: the unit hands the folder over as `mqtt`."""

FOLDER = {"username", "password", "client.pem", "client.key"}
"""What may be in a device's folder, each file one of its credentials."""

_COLUMNS = {"device_id", "username", "password", "cert", "key"}
_PASSPHRASE = range(8, 64)


@dataclass(frozen=True, slots=True)
class Wifi:
    """A wireless network; the key is derived, so that the passphrase itself is on no card."""

    ssid: str
    key: str = field(repr=False)
    country: str


@dataclass(frozen=True, slots=True)
class Admin:
    """A person who may log in over SSH, by public key only."""

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """One device's credentials; `files` are named as on the card."""

    device_id: str
    username: str | None
    files: dict[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered.

    `device_id` may be `serial`. `files` are the credentials that all devices share, such as the
    authority's certificate, and those of the one device where there is no `fleet`. With
    `plaintext_password` it may cross the network to the broker without TLS.
    """

    device_id: str
    broker: str
    cameras: tuple[str, ...] = ()
    username: str | None = None
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    fleet: tuple[Device, ...] = ()
    wifi: Wifi | None = None
    admin: Admin | None = None
    ntp: str | None = None
    plaintext_password: bool = False

    def secrets(self) -> bool:
        """Say whether anything on the card must not be read by others."""
        return bool(self.files or self.fleet or self.wifi)


def device_id(text: str) -> str:
    """Return a device id, or `serial`, as it is.

    Raises
    ------
    UsageError
        It cannot be one level of an MQTT topic.
    """
    try:
        # A pattern's $ would let a line's end pass.
        return msgspec.convert(text.replace("\n", "/"), TopicLevel)
    except msgspec.ValidationError:
        raise UsageError(
            f"device id {text!r}: cannot be a level of a topic; use letters, digits, '_', '.' and "
            "'-', 64 at most, a letter or digit first"
        ) from None


def wifi(ssid: str, passphrase: str, country: str) -> Wifi:
    """Return a network with the key of its passphrase (IEEE 802.11i: PBKDF2, 4096 rounds).

    Raises
    ------
    UsageError
        No network can have such a name, passphrase or country.
    """
    if not 1 <= len(ssid.encode()) <= 32 or "\n" in ssid:  # noqa: PLR2004  # 802.11's most
        raise UsageError(f"wifi {ssid!r}: a network's name has 1 to 32 bytes")
    if len(passphrase) not in _PASSPHRASE or not passphrase.isascii():
        raise UsageError(f"wifi {ssid!r}: its passphrase must have 8 to 63 ASCII characters")
    if len(country) != 2 or not country.isalpha() or not country.isupper():  # noqa: PLR2004
        raise UsageError(f"wifi country {country!r}: two capital letters, such as GB")
    key = hashlib.pbkdf2_hmac("sha1", passphrase.encode(), ssid.encode(), 4096, 32)
    return Wifi(ssid, key.hex(), country)


def admin(name: str, keys: str) -> Admin:
    """Return who may log in, with the public keys of an authorized_keys file.

    Raises
    ------
    UsageError
        The name is none, or a line is no public key.
    """
    if not name.isidentifier() or not name.islower() or name in {"root", "mien"}:
        raise UsageError(f"admin {name!r}: small letters and digits, and neither root nor mien")
    lines = tuple(line.strip() for line in keys.splitlines() if line.strip())
    for line in lines:
        if not line.startswith(("ssh-", "ecdsa-", "sk-")) or "PRIVATE KEY" in line:
            raise UsageError(
                f"admin {name!r}: its --ssh-key is no public key (id_ed25519.pub is one)"
            )
    if not lines:
        raise UsageError(f"admin {name!r}: its --ssh-key is empty")
    return Admin(name, lines)


def secret(file: Path) -> str:
    """Return the first line of a file that holds a secret.

    Raises
    ------
    MienError
        It cannot be read, or is empty.
    """
    text = read(file).decode(errors="replace").partition("\n")[0].rstrip("\r")
    if not text:
        raise MienError(f"{file}: is empty; write the secret as its one line")
    return text


def read(file: Path) -> bytes:
    """Return what a file holds; a MienError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as exc:
        raise MienError(f"{file}: {exc.strerror}") from exc


def fleet(file: Path) -> tuple[Device, ...]:
    """Read a table of devices: device_id, and of username, password, cert, key what there is.

    `cert` and `key` are files, beside the table unless they say otherwise. Where `file` is a
    folder, each folder in it is a device, with files named as on the card: `FOLDER`.

    Raises
    ------
    MienError
        The table or one of its files cannot be read, or a row is not what it should be.
    """
    if file.is_dir():
        return tuple(_folder(each) for each in _named(file))
    text = read(file).decode(errors="replace").lstrip("\ufeff")
    rows = csv.DictReader(text.splitlines(), strict=True)
    columns = set(rows.fieldnames or ())
    if "device_id" not in columns or not columns <= _COLUMNS:
        raise UsageError(
            f"{file}: the first line must name device_id and, of these, what there is: "
            f"{', '.join(sorted(_COLUMNS - {'device_id'}))}"
        )
    devices = [
        _device(row, file, number) for number, row in enumerate(rows, start=2) if any(row.values())
    ]
    ids = [device.device_id for device in devices]
    for each in ids:
        if ids.count(each) > 1:
            raise UsageError(f"{file}: {each} is there twice")
    if not ids:
        raise UsageError(f"{file}: names no device")
    return tuple(devices)


def _named(file: Path) -> list[Path]:
    folders = sorted(each for each in file.iterdir() if each.is_dir())
    if not folders:
        raise UsageError(f"{file}: has no folder of a device in it")
    return folders


def _folder(folder: Path) -> Device:
    try:
        name = device_id(folder.name)
    except UsageError as exc:
        raise UsageError(f"{folder}: {exc}") from None
    files = {each.name: read(each) for each in sorted(folder.iterdir())}
    unknown = sorted(set(files) - FOLDER)
    if unknown:
        raise UsageError(
            f"{folder}: {unknown[0]!r} is none of the names known here: {', '.join(sorted(FOLDER))}"
        )
    username = files["username"].decode().strip() if "username" in files else None
    return Device(name, username, {"device-id": f"{name}\n".encode(), **files})


def _device(row: dict[str, str | None], file: Path, number: int) -> Device:
    where = f"{file}, line {number}"
    if None in row or None in row.values():
        raise UsageError(f"{where}: not as many columns as the first line")
    said = {name: (text or "").strip() for name, text in row.items()}
    try:
        name = device_id(said["device_id"])
    except UsageError as exc:
        raise UsageError(f"{where}: {exc}") from None
    if name == SERIAL:
        raise UsageError(f"{where}: a device in a table needs its own id, not {SERIAL}")
    username = said.get("username") or None
    files = {"device-id": f"{name}\n".encode()}
    if username is not None:
        files["username"] = f"{username}\n".encode()
    if said.get("password"):
        files["password"] = f"{said['password']}\n".encode()
    for column, card in (("cert", "client.pem"), ("key", "client.key")):
        if said.get(column):
            files[card] = read(file.parent / said[column])
    return Device(name, username, files)
