"""Makes a lock: the newest wheels that an image's requirements allow, with what those require.

pip judges the markers of requirements (`python_version < "3.11"`) by the Python it runs on, also
when it is asked for another one, so they are judged here, for the image's. There is no
backtracking: what narrows a version that was already chosen chooses it anew, until nothing changes;
where that finds none, the image's requirements have to say more.
"""

from __future__ import annotations

import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

from edge.errors import MienError
from firmware_configs.board import Image
from firmware_configs.device.files import sha256
from firmware_configs.wheelhouse import Pin, normal, pip, pip_target, wheels_of

PIP = "pip"
"""The first boot installs with the wheelhouse's own pip, for Debian's may be missing."""


def make(image: Image) -> str:
    """Return the lock of an image as text; it asks the package index.

    Raises
    ------
    MienError
        There is no wheel for the image, or the package `packaging` is not installed here.
    """
    try:
        from packaging.requirements import Requirement  # noqa: PLC0415  # for whoever makes locks
    except ImportError:
        raise MienError("a lock cannot be made without packaging: pip install packaging") from None
    environment = _environment(image)
    open_ones = [Requirement(text) for text in (*image.requirements, PIP)]
    # Known before anything is chosen: what a discarded version asked for would count for good.
    allowed = {
        normal(each.name): {str(specifier) for specifier in each.specifier} for each in open_ones
    }
    pins: dict[str, Pin] = {}
    with tempfile.TemporaryDirectory() as folder:
        while open_ones:
            requirement = open_ones.pop()
            if requirement.marker is not None and not requirement.marker.evaluate(environment):
                continue
            name = normal(requirement.name)
            specifiers = allowed.setdefault(name, set())
            narrower = {str(specifier) for specifier in requirement.specifier} - specifiers
            if name in pins and not narrower:
                continue
            specifiers |= narrower
            wheel = _newest(image, name, ",".join(sorted(specifiers)), Path(folder))
            pins[name] = Pin(name, wheel.name.split("-")[1], sha256(wheel))
            open_ones += [Requirement(text) for text in _requires(wheel)]
    return _text(image, list(pins.values()))


def _environment(image: Image) -> dict[str, str]:
    """Return what the markers of requirements are judged by on an image."""
    return {
        "python_version": image.python,
        "python_full_version": f"{image.python}.0",
        "platform_machine": image.machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }


def _newest(image: Image, name: str, specifiers: str, folder: Path) -> Path:
    """Fetch the newest wheel of a project that an image takes."""
    for earlier in wheels_of(folder, name):
        earlier.unlink()
    what = f"{name} for Python {image.python} on {image.machine}"
    pip(["download", "--no-deps", "-d", str(folder), *pip_target(image), name + specifiers], what)
    (wheel,) = wheels_of(folder, name)
    return wheel


def _requires(wheel: Path) -> list[str]:
    """Return what a wheel requires."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        message = Parser().parsestr(archive.read(metadata).decode())
    return message.get_all("Requires-Dist") or []


def _text(image: Image, pins: list[Pin]) -> str:
    head = (
        f"# {image.lock}: CPython {image.python} on {image.machine}, "
        f"glibc {image.glibc} or newer.\n"
        "# Made by mien-flash lock; the newest wheels that the board's file allows.\n"
    )
    return head + "".join(f"{pin}\n" for pin in sorted(pins, key=lambda pin: pin.name))
