"""The files that the package brings for systemd and udev, made to fit this installation."""

from __future__ import annotations

import json
import re
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edge.errors import MienError, UsageError
from edge.install.network import Reach
from edge.install.place import Place
from edge.settings import Settings

PROGRAM = "/opt/mien/bin/mien"
"""Where the unit files say that the program is; put in its place is where it is."""

_PLAIN = re.compile(r"/[A-Za-z0-9/._+@-]*")
"""A path that means the same in a unit file, which gives other characters a meaning."""

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  # read, not written
"""What the locked-up unit cannot see."""

_TOLD = "# --allow "
_DESCRIPTION = re.compile(r"^Description=(.+)", re.MULTILINE)
_EXAMPLE_CAMERA = re.compile(r'^uri = .*\nname = "camera"(?=\s)', re.MULTILINE)
_EXAMPLE_BROKER = re.compile(r"^url = \S+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class File:
    """A file of an installation: where the installed system sees it, what is in it, and why."""

    path: Path
    text: str
    why: str
    mode: int = 0o644


def folder() -> Path:
    """Return the folder of what is shipped: data of the wheel, or `systemd` of a checkout."""
    package = Path(str(files("firmware_configs")))
    carried = package / "systemd"
    return carried if carried.is_dir() else package.parent / "systemd"


def program(place: Place) -> Path:
    """Return the program that the units are to start: the one of this environment.

    For a system in a folder it is this one where it lies in that folder, and otherwise the one
    in its /opt/mien.

    Raises
    ------
    MienError
        It is not installed, or is where the unit could not see it.
    """
    here = Path(sysconfig.get_path("scripts")) / "mien"
    if not place.live:
        return _program_within(place, here)
    if not here.exists():
        raise MienError(f"{here}: no such program; install Mien with pip, then run its `mien`")
    _plain(here, "the program")
    for needed in (here, Path(sys.executable).resolve()):
        hidden = [folder for folder in _HIDDEN if needed.is_relative_to(folder)]
        if place.scope == "system" and hidden:
            raise MienError(
                f"{needed}: the unit cannot see what is below {hidden[0]}; make the environment "
                "elsewhere (/usr/bin/python3 -m venv /opt/mien), or install for this login with "
                "--user"
            )
    return here


def _program_within(place: Place, here: Path) -> Path:
    seen = Path("/") / here.relative_to(place.root) if here.is_relative_to(place.root) else None
    program = seen or Path(PROGRAM)
    if not place.at(program).exists():
        raise MienError(f"{place.at(program)}: no such program; install Mien there first, with pip")
    _plain(program, "the program")
    return program


def units(place: Place, program: Path) -> tuple[File, ...]:
    """Return the units of a place, made to start the program."""
    source = folder() if place.scope == "system" else folder() / "user"
    named = sorted([*source.glob("*.service"), *source.glob("*.timer")])
    return tuple(_unit(place, each, program) for each in named)


def _unit(place: Place, source: Path, program: Path) -> File:
    text = source.read_text(encoding="utf-8")
    described = _DESCRIPTION.search(text)
    why = [described[1] if described else source.name]
    if PROGRAM in text:
        why.append(str(program))
    return File(place.units / source.name, text.replace(PROGRAM, str(program)), ", ".join(why))


def support(place: Place) -> tuple[File, ...]:
    """Return what a machine needs beside the units; a login needs nothing."""
    if place.scope == "user":
        return ()
    table = {
        "sysusers.d/mien.conf": (Path("/etc/sysusers.d"), "the system user mien"),
        "tmpfiles.d/mien.conf": (Path("/etc/tmpfiles.d"), "who may read /etc/mien"),
        "udev/70-mien.rules": (Path("/etc/udev/rules.d"), "who may use cameras and a Coral"),
    }
    return tuple(
        File(to / Path(name).name, (folder() / name).read_text(encoding="utf-8"), why)
        for name, (to, why) in table.items()
    )


def drop_in(place: Place, settings: Settings, reach: Reach) -> File:
    """Return what the locked-up unit must be allowed for this configuration."""
    lines = [
        f"# Written by `mien install` for {place.config_file}: run it again when the broker, a",
        "# network camera or the spool's folder changes. What else is to be allowed belongs in a",
        "# file of your own beside this one.",
        *(f"{_TOLD}{each}" for each in reach.told),
        "[Service]",
        *(f"IPAddressAllow={each}" for each in reach.addresses),
    ]
    spool = settings.spool.path
    usual = any(spool is not None and Path(spool).is_relative_to(each) for each in place.state)
    if spool is not None and not usual:
        _plain(Path(spool), "[spool] path")
        # The dash: a folder that is not there yet is no reason not to start.
        lines.append(f"ReadWritePaths=-{spool}")
    allowed = " ".join(reach.addresses) or "nobody but this machine"
    return File(place.drop_in, "\n".join(lines) + "\n", f"may speak to {allowed} ({reach.why})")


def told(drop_in: str) -> tuple[str, ...]:
    """Return what an earlier installation was told by `--allow`, from what it wrote."""
    lines = drop_in.splitlines()
    return tuple(line.removeprefix(_TOLD) for line in lines if line.startswith(_TOLD))


def configuration(place: Place, cameras: Sequence[str], broker: str | None) -> File:
    """Return the example with these cameras and this broker in it."""
    text = files("firmware_configs").joinpath("mien.example.toml").read_text(encoding="utf-8")
    if cameras:
        first, *more = cameras
        text = _EXAMPLE_CAMERA.sub(lambda _: _camera(first, "camera"), text, count=1)
        tables = [f"\n[[camera]]\n{_camera(uri, f'camera-{n}')}\n" for n, uri in enumerate(more, 2)]
        text += "".join(tables)
    if broker is not None:
        text = _EXAMPLE_BROKER.sub(lambda _: f"url = {json.dumps(broker)}", text, count=1)
    # It may hold the passwords of cameras.
    return File(place.config_file, text, "the example, with what was told here", mode=0o640)


def _camera(uri: str, name: str) -> str:
    # JSON's strings are TOML's.
    return f"uri = {json.dumps(uri)}\nname = {json.dumps(name)}"


def _plain(path: Path, what: str) -> None:
    if _PLAIN.fullmatch(str(path)) is None:
        raise UsageError(
            f"{what} {str(path)!r}: a unit file cannot name it as it is; use a path of letters, "
            "digits and / . _ + @ - only"
        )
