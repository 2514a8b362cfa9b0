"""The wheels that a card carries: named and hashed by a lock, fetched or taken from a folder.

A lock (`locks/NAME.txt`) is a pip requirements file with one exact version and one hash a package,
those of the one wheel that a board's Python and machine take. Mien's own wheel is not in it: that
is built, or given, when a card is made.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError, MienError
from firmware_configs.board import Image
from firmware_configs.device.files import sha256

LOCKS = Path(__file__).parent / "locks"
SOURCE = Path(__file__).parents[1]

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ]+) --hash=sha256:(?P<sha>[0-9a-f]{64})"
)
_OWN = re.compile(r"mien-(?P<version>[A-Za-z0-9_.+!]+)-py3-none-any\.whl")
_OLDEST_GLIBC = 17
"""manylinux_2_17 is manylinux2014; nothing older has Python 3.10."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One wheel: the project, its version, and the SHA-256 of the file."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        """Write the line of a requirements file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def normal(name: str) -> str:
    """Return a project's name as all its spellings have in common (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(text: str, source: str) -> list[Pin]:
    """Read a lock, which `source` names in errors.

    Raises
    ------
    ConfigError
        A line is neither a comment nor an exact version with one hash.
    """
    pins = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _PIN.fullmatch(line.strip())
        if match is None:
            raise ConfigError(
                f"{source}, line {number}: not NAME==VERSION --hash=sha256:HEX; make the lock anew"
            )
        pins.append(Pin(normal(match["name"]), match["version"], match["sha"]))
    return pins


def read_lock(image: Image) -> list[Pin]:
    """Return the pins of an image's lock.

    Raises
    ------
    ConfigError
        There is no such file, or it is not a lock.
    """
    file = LOCKS / f"{image.lock}.txt"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"lock {image.lock}: {exc.strerror}; mien-flash lock makes it") from exc
    return parse(text, file.name)


def platforms(image: Image) -> list[str]:
    """Return the platform tags that an image's system takes, the newest first.

    pip expands none of them by itself when it is asked for another machine.
    """
    newest = int(image.glibc.partition(".")[2])
    tags = [f"manylinux_2_{minor}_{image.machine}" for minor in range(newest, 16, -1)]
    return [*tags, f"manylinux2014_{image.machine}"] if newest >= _OLDEST_GLIBC else tags


def pip_target(image: Image) -> list[str]:
    """Return the options with which pip fetches wheels for an image, not for this machine."""
    return [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={image.python}",
        *(f"--platform={tag}" for tag in platforms(image)),
    ]


def pip(arguments: Iterable[str], failed: str) -> None:
    """Run pip of this Python; `failed` begins the one line of the error."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(  # noqa: S603  # our own interpreter
        command, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines
        said = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {done.returncode}"
        raise MienError(f"{failed}: pip: {said}")


def collect(image: Image, given: Path | None, into: Path) -> list[Pin]:
    """Put an image's wheels into a folder: out of the folder `given`, or fetched by pip.

    Raises
    ------
    MienError
        A wheel is missing or is not the one that was locked, pip cannot fetch one, or the disk
        does not take it.
    """
    pins = read_lock(image)
    if given is None:
        _fetch(image, pins, into)
    else:
        for pin in pins:
            wheel = _locked(pin, wheels_of(given, pin.name), image)
            shutil.copyfile(wheel, into / wheel.name)
    for pin in pins:
        _locked(pin, wheels_of(into, pin.name), image)
    return pins


def _fetch(image: Image, pins: Sequence[Pin], into: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
        pip(
            [
                *("download", "--no-deps", "--require-hashes", "-d", str(into)),
                *pip_target(image),
                *("-r", str(requirements)),
            ],
            f"the wheels of {image.lock} for Python {image.python} on {image.machine}",
        )


def wheels_of(folder: Path, name: str) -> list[Path]:
    """Return the wheels of one project in a folder."""
    return sorted(
        file for file in folder.glob("*.whl") if normal(file.name.partition("-")[0]) == normal(name)
    )


def _locked(pin: Pin, found: Sequence[Path], image: Image) -> Path:
    """Return the wheel that a pin means."""
    for file in found:
        if sha256(file) == pin.sha256:
            return file
    wanted = f"{pin.name} {pin.version} for Python {image.python} on {image.machine}"
    if not found:
        raise MienError(f"{wanted}: the wheel is missing; give a --wheelhouse that has it")
    raise MienError(f"{found[0]}: not the wheel of {image.lock}: {wanted} has another hash")


def own_wheel(given: Path | None, into: Path) -> Pin:
    """Put Mien's own wheel into a folder: the one given, or one built from this source tree.

    Raises
    ------
    MienError
        It is not a wheel of Mien, or there is no source tree to build it from.
    """
    if given is None:
        if not (SOURCE / "pyproject.toml").exists():
            raise MienError("Mien's own wheel: no source tree to build it from; give --mien WHEEL")
        pip(["wheel", "--no-deps", "-w", str(into), str(SOURCE)], "Mien's own wheel")
        (given,) = wheels_of(into, "mien")
    match = _OWN.fullmatch(given.name)
    if match is None or not given.is_file() or not zipfile.is_zipfile(given):
        raise MienError(
            f"{given}: not a wheel of Mien; pip wheel makes one, mien-VERSION-py3-none-any.whl"
        )
    if given.parent != into:
        shutil.copyfile(given, into / given.name)
    return Pin("mien", match["version"], sha256(into / given.name))


def requirements(pins: Sequence[Pin]) -> str:
    """Write pins as a requirements file, sorted by name."""
    return "".join(f"{pin}\n" for pin in sorted(pins, key=lambda pin: pin.name))
