"""What a person says about one card, or about a fleet of them, beside its board and its role."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.broker import is_host
from edge.errors import MienError, UsageError
from edge.settings import TopicLevel
from firmware_configs.device.card import FLEET

CREDENTIAL = "credential:mqtt_"
"""How mien.toml names a file of /etc/mien/credentials: the unit hands the folder over as `mqtt`."""

_PASSPHRASE = range(8, 64)
_COUNTRY = re.compile(r"[A-Z]{2}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PUBLIC_KEY = re.compile(r"(ssh|ecdsa|sk)-\S+\s+\S+.*")


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
        It cannot be one level of an MQTT topic, or is what the card of a fleet says in its place.
    """
    if text == FLEET:
        raise UsageError(f"device id {text!r}: stands for a whole fleet on a card; take another")
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
    if not typed(ssid):
        raise UsageError(f"wifi {ssid!r}: holds a control character, or is not UTF-8")
    if not 1 <= len(ssid.encode()) <= 32:  # noqa: PLR2004  # 802.11's most
        raise UsageError(f"wifi {ssid!r}: a network's name has 1 to 32 bytes")
    if len(passphrase) not in _PASSPHRASE or not _is_ascii(passphrase):
        raise UsageError(f"wifi {ssid!r}: its passphrase must have 8 to 63 ASCII characters")
    if not _COUNTRY.fullmatch(country):
        raise UsageError(f"wifi country {country!r}: two capital letters, such as GB")
    key = hashlib.pbkdf2_hmac("sha1", passphrase.encode(), ssid.encode(), 4096, 32)
    return Wifi(ssid, key.hex(), country)


def _is_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


def typed(text: str) -> bool:
    """Say whether a person may have meant a text: UTF-8, without control characters."""
    return not any(unicodedata.category(each) in {"Cc", "Cs"} for each in text)


def clock(text: str) -> str:
    """Return the host of a clock as it is.

    Raises
    ------
    UsageError
        It is neither a host's name nor an IP address.
    """
    # What follows the % of an IPv6 address may be anything at all.
    if "%" in text or not is_host(text):
        raise UsageError(f"ntp {text!r}: neither a host's name nor an IP address")
    return text


def admin(name: str, keys: str) -> Admin:
    """Return who may log in, with the public keys of an authorized_keys file.

    Raises
    ------
    UsageError
        The name is none, or a line is no public key.
    """
    if not _USER.fullmatch(name) or name in {"root", "mien"}:
        raise UsageError(
            f"admin {name!r}: 1 to 32 of a-z, 0-9, '_' and '-', a letter or '_' first, and neither "
            "root nor mien"
        )
    lines = tuple(line.strip() for line in keys.splitlines() if line.strip())
    for line in lines:
        if not _PUBLIC_KEY.fullmatch(line) or not typed(line.replace("\t", " ")):
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
    said = text(file).partition("\n")[0].rstrip("\r")
    if not said:
        raise MienError(f"{file}: is empty; write the secret as its one line")
    return said


def text(file: Path) -> str:
    """Return the text that a file holds; a MienError where it cannot be read or is not UTF-8."""
    try:
        return read(file).decode()
    except UnicodeDecodeError:
        raise MienError(f"{file}: is not UTF-8; write it anew") from None


def read(file: Path) -> bytes:
    """Return what a file holds; a MienError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as exc:
        raise MienError(f"{file}: {exc.strerror}") from exc
