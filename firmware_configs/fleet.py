"""Many devices of one card: a table of them, or a folder with a folder for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from edge.errors import UsageError
from firmware_configs import pem
from firmware_configs.answers import Device, device_id, read, text, typed
from firmware_configs.device.card import SERIAL

FOLDER = {"username", "password", pem.CERTIFICATE, pem.KEY}
"""What may be in a device's folder, each file one of its credentials."""

_COLUMNS = {"device_id", "username", "password", "cert", "key"}
_FILES = {"cert": pem.CERTIFICATE, "key": pem.KEY}


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
    devices = [_device(row, file, where) for where, row in _rows(file)]
    ids = [device.device_id for device in devices]
    for each in ids:
        if ids.count(each) > 1:
            raise UsageError(f"{file}: {each} is there twice")
    if not ids:
        raise UsageError(f"{file}: names no device")
    return tuple(devices)


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each row of a table, with the words that say where it is."""
    # Line ends stay as they are: one within quotes is part of what is said.
    table = io.StringIO(text(file).lstrip("\ufeff"), newline="")
    rows = csv.DictReader(table, strict=True)
    try:
        columns = rows.fieldnames or ()
        if "device_id" not in columns or not set(columns) <= _COLUMNS:
            raise UsageError(
                f"{file}: the first line must name device_id and, of these, what there is: "
                f"{', '.join(sorted(_COLUMNS - {'device_id'}))}"
            )
        for row in rows:
            where = f"{file}, line {rows.line_num}"
            if any(row.values()):
                if None in row or None in row.values():
                    raise UsageError(f"{where}: not as many columns as the first line")
                yield where, {name: said.strip() for name, said in row.items()}
    except csv.Error as exc:
        # That of `rows` itself is the last line that was read well.
        line = rows.reader.line_num
        raise UsageError(f"{file}, line {line}: {exc}; look at its quotes") from exc


def _device(row: dict[str, str], file: Path, where: str) -> Device:
    name = _own_id(row["device_id"], where)
    files = {"device-id": f"{name}\n".encode()}
    for column in row.keys() - {"device_id"}:
        said = _line(row[column], f"{where}: {column}")
        if column in _FILES:
            files[_FILES[column]] = read(file.parent / said)
        else:
            files[column] = f"{said}\n".encode()
    pem.check(files, {card: f"{where}: {row.get(column)}" for column, card in _FILES.items()})
    return Device(name, row.get("username"), files)


def _named(file: Path) -> list[Path]:
    folders = sorted(each for each in file.iterdir() if each.is_dir())
    if not folders:
        raise UsageError(f"{file}: has no folder of a device in it")
    return folders


def _folder(folder: Path) -> Device:
    name = _own_id(folder.name, str(folder))
    there = {each.name: each for each in sorted(folder.iterdir())}
    unknown = sorted(set(there) - FOLDER)
    if unknown:
        raise UsageError(
            f"{folder}: {unknown[0]!r} is none of the names known here: {', '.join(sorted(FOLDER))}"
        )
    said = {
        each: _line(text(there[each]).strip(), str(there[each]))
        for each in ("username", "password")
        if each in there
    }
    files = {each: read(file) for each, file in there.items()}
    pem.check(files, {each: str(file) for each, file in there.items()})
    return Device(name, said.get("username"), {"device-id": f"{name}\n".encode(), **files})


def _own_id(said: str, where: str) -> str:
    """Return the id of one device of many."""
    try:
        name = device_id(said)
    except UsageError as exc:
        raise UsageError(f"{where}: {exc}") from None
    if name == SERIAL:
        raise UsageError(f"{where}: a device of a fleet needs its own id, not {SERIAL}")
    return name


def _line(said: str, where: str) -> str:
    if not said:
        raise UsageError(f"{where}: is empty; fill it in, or leave it out for all devices")
    if not typed(said):
        raise UsageError(f"{where}: must be one line, without control characters")
    return said
