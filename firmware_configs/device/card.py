"""The folder `mien` of a card, as the device finds it on its boot partition."""

from __future__ import annotations

import json
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_configs.device.files import PART, SetupError, sha256, wipe, write

SCHEMA = "mien-card/1"
CREDENTIALS = Path("etc/mien/credentials")
SERIAL = "serial"
"""The device id of a card that is for many devices: each takes its board's own number."""
FLEET = "fleet"
"""That of a card for a table of devices: each takes the id that stands with its credentials."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NO_NUMBER = re.compile(
    r"0*|0?123456789?0?|none|null|unknown|invalid|default(.string)?|system.serial.number|oem|"
    r"to.be.filled.by.o\.?e\.?m\.?|not.(specified|applicable|available|set)|uninitialized",
    re.IGNORECASE,
)
"""What firmware says in place of a number that nobody wrote: the same on every such board."""
_SERIAL_NUMBERS = (
    "proc/device-tree/serial-number",
    "sys/class/dmi/id/product_serial",
    "etc/machine-id",
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """card.json: what the card is for, and the hash of every file but the credentials.

    `networks` says where a file of the credentials goes that is the system's, not the daemon's, and
    `network_reload` what takes it in.
    """

    schema: str
    mien: str
    board: str
    role: str
    image: str
    os: str
    python: str
    machine: str
    device_id: str
    version: str
    networks: dict[str, str]
    network_reload: list[str]
    nvpmodel: str | None
    jetson_clocks: bool
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Card:
    """A card that is whole and for this machine."""

    folder: Path
    manifest: Manifest

    def identity(self, root: Path) -> tuple[str, str | None]:
        """Return the device's id, and its user at the broker where there is one of its own.

        Raises
        ------
        SetupError
            The credentials are another device's, or no id can be had.
        """
        told = self._told("device-id", root)
        meant = self.manifest.device_id
        if meant == FLEET and told is None:
            raise SetupError("no credentials: copy what is in devices/ID onto the card, as on all")
        device_id = _serial(root) if meant == SERIAL else told or meant
        if not _ID.fullmatch(device_id):
            raise SetupError(f"device id {device_id!r}: letters, digits, '_', '.' and '-' only")
        if told is not None and told != device_id:
            raise SetupError(f"the card's credentials are those of {told}, and this is {device_id}")
        return device_id, self._told("username", root)

    def _told(self, name: str, root: Path) -> str | None:
        """Return a line of the credentials: the card's, or what an earlier run took from it."""
        for folder in (self.folder / "credentials", root / CREDENTIALS):
            file = folder / name
            if file.is_file():
                try:
                    return file.read_text(encoding="utf-8").strip()
                except UnicodeDecodeError:
                    raise SetupError(f"{file}: not UTF-8; write it anew") from None
        return None

    def take_credentials(self, root: Path) -> bool:
        """Copy the credentials to where only root reads them; return whether any was new."""
        folder = root / CREDENTIALS
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        new = False
        for file in sorted((self.folder / "credentials").glob("*")):
            if file.name not in self.manifest.networks and not file.name.endswith(PART):
                new |= write(folder / file.name, file.read_bytes(), 0o600)
        return new

    def take_networks(self, root: Path) -> bool:
        """Copy what names wireless networks, with their keys, to where only root reads it."""
        new = False
        for name, place in self.manifest.networks.items():
            file = self.folder / "credentials" / name
            if file.is_file():
                new |= write(root / place, file.read_bytes(), 0o600)
        return new

    def forget_credentials(self) -> None:
        """Wipe the card's copies; the device's own are on its disk by then."""
        for file in sorted((self.folder / "credentials").glob("*")):
            wipe(file)


def read(folder: Path) -> Card:
    """Read a card, and see that it is whole and for this machine.

    Raises
    ------
    SetupError
        It is neither.
    """
    try:
        table: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        manifest = Manifest(**table)
    except (OSError, ValueError, TypeError) as exc:
        raise SetupError(f"{folder / 'card.json'}: cannot be read: {exc}") from exc
    if manifest.schema != SCHEMA:
        raise SetupError(f"{folder / 'card.json'}: {manifest.schema}, and this reads {SCHEMA}")
    here = f"{sys.version_info.major}.{sys.version_info.minor}", platform.machine()
    if here != (manifest.python, manifest.machine):
        raise SetupError(
            f"the card is for Python {manifest.python} on {manifest.machine} ({manifest.os}); "
            f"this is Python {here[0]} on {here[1]}"
        )
    for where, digest in manifest.files.items():
        file = folder / where
        if not file.is_file() or sha256(file) != digest:
            raise SetupError(f"{file}: missing or damaged; write the card anew")
    return Card(folder, manifest)


def _serial(root: Path) -> str:
    """Return the board's own number: the device tree's, else the firmware's, else the system's."""
    for where in _SERIAL_NUMBERS:
        try:
            text = (root / where).read_text(encoding="utf-8").strip("\0\n ")
        except (OSError, UnicodeDecodeError):
            continue
        if _ID.fullmatch(text) and not _NO_NUMBER.fullmatch(text):
            return text
    raise SetupError("the board says no serial number; render the card with --device-id ID")
