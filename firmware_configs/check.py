"""Validates a card: one that was made just now, one that lay about, one that was edited by hand."""

from __future__ import annotations

import ast
import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge import config
from edge.errors import MienError
from firmware_configs import wheelhouse
from firmware_configs.board import Image, load_board
from firmware_configs.device.card import SCHEMA, Manifest
from firmware_configs.render import seal, sealed

_HEREDOC = re.compile(r"(?m)^bootcmd:\n  - \|\n(?P<script>(?:    .*\n|\n)+)")


def check(folder: Path) -> list[str]:
    """Return what is wrong with a card, or with a fleet's; nothing where it is right.

    Raises
    ------
    MienError
        It is no card at all.
    """
    card = folder / "card" if (folder / "card/mien/card.json").is_file() else folder
    mien = card / "mien"
    if not (mien / "card.json").is_file():
        raise MienError(f"{folder}: no card: it has no mien/card.json")
    manifest = _manifest(mien / "card.json")
    image = _image(manifest)
    return [
        *_hashes(mien, manifest),
        *_settings(mien, manifest),
        *_requirements(mien, image),
        *_programs(mien),
        *_boot(card, image),
        *_credentials(mien / "credentials"),
        *(found for device in sorted((folder / "devices").glob("*")) for found in _device(device)),
    ]


def seal_again(folder: Path) -> None:
    """Take a card that was edited by hand as it is: count its files anew; errors as `check`."""
    card = folder / "card" if (folder / "card/mien/card.json").is_file() else folder
    file = card / "mien/card.json"
    if not file.is_file():
        raise MienError(f"{folder}: no card: it has no mien/card.json")
    seal(card / "mien", _manifest(file))


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
        elif wheelhouse.sha256(there[name]) != manifest.files[name]:
            yield f"mien/{name}: not what card.json counted; mien-flash check --seal takes it in"


def _settings(mien: Path, manifest: Manifest) -> Iterator[str]:
    try:
        settings = config.load(mien / "mien.toml", {})
    except MienError as exc:
        yield str(exc)
        return
    if settings.device_id != manifest.device_id:
        yield (
            f"mien/mien.toml: device_id is {settings.device_id!r}, and {manifest.device_id!r} in "
            "card.json, which counts"
        )
    if not settings.camera:
        yield "mien/mien.toml: names no camera"


def _requirements(mien: Path, image: Image) -> Iterator[str]:
    """Hold the wheels against the requirements, each way, and those against the image."""
    file = mien / "requirements.txt"
    try:
        pins = wheelhouse.parse(file.read_text(encoding="utf-8"), "mien/requirements.txt")
    except (OSError, MienError) as exc:
        yield str(exc)
        return
    meant = {pin.sha256: pin for pin in pins}
    there = {wheelhouse.sha256(wheel): wheel for wheel in sorted((mien / "wheels").glob("*.whl"))}
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


def _boot(card: Path, image: Image) -> Iterator[str]:
    """See that what the image reads at its first boot is there and can be read."""
    if image.boot == "firstrun":
        script = card / "firstrun.sh"
        yield from [*_missing(script)] or _shell(script.read_text(encoding="utf-8"), script.name)
    if image.boot == "cloud-init":
        files = [card / name for name in ("user-data", "meta-data", "network-config")]
        missing = [line for file in files for line in _missing(file)]
        yield from missing or _cloud_init(*files)


def _missing(file: Path) -> Iterator[str]:
    if not file.is_file():
        yield f"{file.name}: missing"


def _cloud_init(user_data: Path, meta_data: Path, network: Path) -> Iterator[str]:
    text = user_data.read_text(encoding="utf-8")
    if not text.startswith("#cloud-config\n"):
        yield "user-data: its first line must be #cloud-config"
    script = _HEREDOC.search(text)
    if script is None:
        yield "user-data: no bootcmd begins the setup"
    else:
        lines = script["script"].splitlines()
        yield from _shell("\n".join(line[4:] for line in lines) + "\n", "user-data, bootcmd")
    if "instance-id:" not in meta_data.read_text(encoding="utf-8"):
        yield "meta-data: has no instance-id"
    program = shutil.which("cloud-init")
    if program is not None:
        kinds = ((user_data, "cloud-config"), (network, "network-config"))
        for file, kind in kinds:
            yield from _by_schema(program, file, kind)


def _by_schema(program: str, file: Path, kind: str) -> Iterator[str]:
    """Ask cloud-init itself; older ones know user-data alone."""
    command = [program, "schema", "--config-file", str(file)]
    if kind != "cloud-config":
        known = _run([program, "schema", "--help"])
        if "--schema-type" not in known.stdout:
            return
        command += ["--schema-type", kind]
    done = _run(command)
    if done.returncode != 0:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        yield f"{file.name}: cloud-init refuses it: {' '.join(said)}"


def _shell(text: str, name: str) -> Iterator[str]:
    done = _run(["/bin/sh", "-n"], text)
    if done.returncode != 0:
        yield f"{name}: {done.stderr.strip()}"


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # the commands are those above
        command, input=text, capture_output=True, text=True, check=False
    )


def _credentials(folder: Path) -> Iterator[str]:
    """See that nobody but their owner reads them, where the file system keeps owners."""
    for file in sorted(folder.glob("*")):
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield f"{file.parent.name}/{file.name}: others can read it; chmod 600 it"


def _device(folder: Path) -> Iterator[str]:
    credentials = folder / "mien/credentials"
    told = credentials / "device-id"
    if not told.is_file() or told.read_text(encoding="utf-8").strip() != folder.name:
        yield f"devices/{folder.name}: its device-id is missing or another one"
    yield from (f"devices/{folder.name}: {line}" for line in _credentials(credentials))
