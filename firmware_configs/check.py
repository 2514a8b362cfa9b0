"""Validates a card: one that was made just now, one that lay about, one that was edited by hand."""

from __future__ import annotations

import ast
import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from edge import cameras, config
from edge.errors import MienError
from edge.settings import Settings
from firmware_configs import wheelhouse
from firmware_configs.board import Image, load_board
from firmware_configs.device.card import SCHEMA, Manifest
from firmware_configs.device.files import sha256
from firmware_configs.render import seal, sealed

_HEREDOC = re.compile(r"(?m)^bootcmd:\n  - \|\n(?P<script>(?:    .*\n|\n)+)")
_VERSION = re.compile(r"""\bversion["']?\s*:\s*[12]\b""")
_UNITS = Path("system/etc/systemd/system")


def check(folder: Path) -> list[str]:
    """Return what is wrong with a card, or with a fleet's; nothing where it is right.

    Raises
    ------
    MienError
        It is no card at all.
    """
    card = _card(folder)
    mien = card / "mien"
    manifest = _manifest(mien / "card.json")
    image = _image(manifest)
    looks = (
        _hashes(mien, manifest),
        _settings(mien, manifest),
        _requirements(mien, image),
        _programs(mien),
        _units(mien / _UNITS),
        _boot(card, image),
        _credentials(mien / "credentials"),
        *(_device(device) for device in sorted((folder / "devices").glob("*"))),
    )
    return [line for look in looks for line in _told(look)]


def unchecked(folder: Path) -> list[str]:
    """Return what `check` could not look at on this machine; errors as `check`."""
    if _image(_manifest(_card(folder) / "mien/card.json")).boot != "cloud-init":
        return []
    program = shutil.which("cloud-init")
    kinds = {"user-data": "cloud-config", "network-config": "network-config"}
    names = [name for name, kind in kinds.items() if not (program and _knows(program, kind))]
    why = "too old" if program else "not here"
    return [f"{name}: not checked by cloud-init's schema: cloud-init is {why}" for name in names]


def seal_again(folder: Path) -> None:
    """Take a card that was edited by hand as it is: count its files anew; errors as `check`."""
    mien = _card(folder) / "mien"
    seal(mien, _manifest(mien / "card.json"))


def _card(folder: Path) -> Path:
    card = folder / "card" if (folder / "card/mien/card.json").is_file() else folder
    if not (card / "mien/card.json").is_file():
        raise MienError(f"{folder}: no card: it has no mien/card.json")
    return card


def _told(found: Iterable[str]) -> Iterator[str]:
    """Yield what was found; what stops the search is one finding more."""
    try:
        yield from found
    except MienError as exc:
        yield str(exc)


def _text(file: Path, name: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise MienError(f"{name}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise MienError(f"{name}: is no UTF-8 text") from None


def _manifest(file: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
        unknown = set(json.loads(file.read_bytes())) - set(Manifest.__dataclass_fields__)
    except (OSError, msgspec.MsgspecError) as exc:
        raise MienError(f"{file}: {exc}") from exc
    if unknown:
        raise MienError(f"{file}: unknown key {min(unknown)!r}")
    if manifest.schema != SCHEMA:
        raise MienError(f"{file}: {manifest.schema}, and this mien reads {SCHEMA}")
    return manifest


def _image(manifest: Manifest) -> Image:
    images = load_board(manifest.board).images
    if manifest.image not in images:
        raise MienError(f"card.json: board {manifest.board} has no image {manifest.image!r}")
    return images[manifest.image]


def _hashes(mien: Path, manifest: Manifest) -> Iterator[str]:
    """Hold every file against its hash: the device would refuse what differs."""
    there = {str(file.relative_to(mien)): file for file in sealed(mien)}
    for name in sorted({*there, *manifest.files}):
        if name not in there:
            yield f"mien/{name}: missing"
        elif name not in manifest.files:
            yield f"mien/{name}: not counted in card.json; mien-flash check --seal takes it in"
        elif sha256(there[name]) != manifest.files[name]:
            yield f"mien/{name}: not what card.json counted; mien-flash check --seal takes it in"


def _settings(mien: Path, manifest: Manifest) -> Iterator[str]:
    settings = config.load(mien / "mien.toml", {})
    for key in _written_lines(settings):
        if not re.search(rf"(?m)^{key} = ", _text(mien / "mien.toml", "mien/mien.toml")):
            yield f"mien/mien.toml: {key}: begin its line with `{key} = `, or the setup misses it"
    if settings.device_id != manifest.device_id:
        yield (
            f"mien/mien.toml: device_id is {settings.device_id!r}, and {manifest.device_id!r} in "
            "card.json, which counts"
        )
    if not settings.camera:
        yield "mien/mien.toml: names no camera"
    for camera in settings.camera:
        try:
            cameras.check_uri(camera)
        except MienError as exc:
            yield f"mien/mien.toml: {exc}"


def _written_lines(settings: Settings) -> Iterator[str]:
    """Yield the keys whose lines the setup writes anew for the device that it runs on."""
    yield "device_id"
    if settings.mqtt.username is not None:
        yield "username"


def _requirements(mien: Path, image: Image) -> Iterator[str]:
    """Hold the wheels against the requirements, each way, and those against the image."""
    name = "mien/requirements.txt"
    pins = wheelhouse.parse(_text(mien / "requirements.txt", name), name)
    meant = {pin.sha256: pin for pin in pins}
    there = {sha256(wheel): wheel for wheel in sorted((mien / "wheels").glob("*.whl"))}
    for digest, pin in meant.items():
        if digest not in there:
            yield f"mien/wheels: the wheel of {pin.name} {pin.version} is missing or damaged"
    tags = {"any", *wheelhouse.platforms(image)}
    for digest, wheel in there.items():
        if digest not in meant:
            yield f"mien/wheels/{wheel.name}: not in mien/requirements.txt"
        if not tags & set(wheel.stem.rpartition("-")[2].split(".")):
            yield f"mien/wheels/{wheel.name}: not for {image.os} ({image.machine})"
    for name in ("mien", "pip"):
        if name not in {pin.name for pin in pins}:
            yield f"mien/requirements.txt: has no {name}"


def _programs(mien: Path) -> Iterator[str]:
    for file in sorted((mien / "setup").rglob("*.py")):
        try:
            ast.parse(file.read_bytes())
        except (SyntaxError, ValueError) as exc:
            yield f"mien/setup/{file.name}: {exc}"


def _units(folder: Path) -> Iterator[str]:
    """See that each unit has what systemd refuses it without."""
    yield from _missing(folder / "mien.service")
    for file in sorted(folder.glob("*.service")):
        lines = {line.strip() for line in _text(file, file.name).splitlines()}
        for section in ("[Unit]", "[Service]"):
            if section not in lines:
                yield f"{file.name}: has no {section}; systemd would refuse it"
        if not any(line.startswith("ExecStart=") for line in lines):
            yield f"{file.name}: has no ExecStart=; systemd would refuse it"


def _boot(card: Path, image: Image) -> Iterator[str]:
    """See that what the image reads at its first boot is there and can be read."""
    if image.boot == "firstrun":
        script = card / "firstrun.sh"
        yield from [*_missing(script)] or _script(script)
    if image.boot == "cloud-init":
        files = [card / name for name in ("user-data", "meta-data", "network-config")]
        missing = [line for file in files for line in _missing(file)]
        looks = (_user_data(files[0]), _meta_data(files[1]), _network(files[2]))
        yield from missing or (line for look in looks for line in _told(look))


def _script(file: Path) -> Iterator[str]:
    yield from _shell(_text(file, file.name), file.name)


def _missing(file: Path) -> Iterator[str]:
    if not file.is_file():
        yield f"{file.name}: missing"


def _user_data(file: Path) -> Iterator[str]:
    text = _text(file, file.name)
    if not text.startswith("#cloud-config\n"):
        yield "user-data: its first line must be #cloud-config"
    script = _HEREDOC.search(text)
    if script is None:
        yield "user-data: no bootcmd begins the setup"
    else:
        lines = script["script"].splitlines()
        yield from _shell("\n".join(line[4:] for line in lines) + "\n", "user-data, bootcmd")
    yield from _by_schema(file, "cloud-config")


def _meta_data(file: Path) -> Iterator[str]:
    if "instance-id:" not in _text(file, file.name):
        yield "meta-data: has no instance-id"


def _network(file: Path) -> Iterator[str]:
    """See that it is what it says: nothing here reads YAML, so cloud-init alone can say more."""
    if not _VERSION.search(_text(file, file.name)):
        yield "network-config: says no `version: 2`, so no network; render makes one that does"
    yield from _by_schema(file, "network-config")


def _by_schema(file: Path, kind: str) -> Iterator[str]:
    """Ask cloud-init itself, where it is here and knows this kind of file."""
    program = shutil.which("cloud-init")
    if program is None or not _knows(program, kind):
        return
    command = [program, "schema", "--config-file", str(file)]
    done = _run(command if kind == "cloud-config" else [*command, "--schema-type", kind])
    if done.returncode != 0:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        yield f"{file.name}: cloud-init refuses it: {' '.join(said)}"


def _knows(program: str, kind: str) -> bool:
    """Say whether a cloud-init has a kind's schema; older ones know that of user-data alone."""
    return kind == "cloud-config" or "--schema-type" in _run([program, "schema", "--help"]).stdout


def _shell(text: str, name: str) -> Iterator[str]:
    done = _run(["/bin/sh", "-n"], text)
    if done.returncode != 0:
        yield f"{name}: {'; '.join(done.stderr.split(chr(10))).strip('; ')}"


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # the commands are those above
        command,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _credentials(folder: Path) -> Iterator[str]:
    """See that nobody but their owner reads them, where the file system keeps owners."""
    for file in sorted(folder.glob("*")):
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield f"{file.parent.name}/{file.name}: others can read it; chmod 600 it"


def _device(folder: Path) -> Iterator[str]:
    credentials = folder / "mien/credentials"
    told = credentials / "device-id"
    if not told.is_file() or _text(told, str(told)).strip() != folder.name:
        yield f"devices/{folder.name}: its device-id is missing or another one"
    yield from (f"devices/{folder.name}: {line}" for line in _credentials(credentials))
