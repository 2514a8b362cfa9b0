"""Boards and roles: what is true of each board, with its source, and what each use wants.

`boards/NAME.toml` is one board, `roles/NAME.toml` one use. A board may begin from another one
(`extends`) and give only the tables that differ. Each table of facts names where they were read, or
says that nobody could look them up; a table that does neither is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edge.errors import ConfigError, UsageError
from edge.settings import EvenPixels, FramesPerSecond, PacedFps, Preset, Seconds

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOARDS = Path(__file__).parent / "boards"
ROLES = Path(__file__).parent / "roles"

Line = Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\n]*$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\.[0-9]+$")]
Url = Annotated[str, msgspec.Meta(pattern=r"^https://[^ ]+$")]
Package = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
RoleName = Literal["kiosk", "robot"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manner of every table."""


class Facts(_Table, frozen=True, kw_only=True):
    """What is said to be true: `source` is where it was read, `unverified` what was not."""

    source: tuple[Url, ...] = ()
    unverified: str = ""

    def __post_init__(self) -> None:
        """Refuse facts that come from nowhere and do not say so."""
        if not self.source and not self.unverified:
            raise ValueError("no source, and it is not said to be unverified")


class Budget(Facts, frozen=True, kw_only=True):
    """The frames a second that a board is meant to keep up with; budgets follow from it."""

    fps: Annotated[float, msgspec.Meta(gt=0.0, le=240.0)]


class Image(Facts, frozen=True, kw_only=True):
    """An operating system's image that a card may begin from.

    `boot` is what it does at its first start: `cloud-init` reads user-data on the boot partition,
    `firstrun` runs a script that Raspberry Pi Imager names on the kernel's command line, and
    `by-hand` nothing, so a person starts the script. `mount` is where the boot partition is then.
    `lock` is the file of `locks/` with its wheels, `requirements` what that was made from. Of the
    Debian packages the image has `packages`; those in `missing` have to be brought (`--debs`).
    `cmdline` are words that its kernel's command line has to have.
    """

    os: Line
    python: Version
    machine: Literal["aarch64", "x86_64"]
    glibc: Version
    boot: Literal["cloud-init", "firstrun", "by-hand"]
    mount: Annotated[str, msgspec.Meta(pattern=r"^/[a-z/-]+$")]
    lock: Name | None = None
    library: Literal["ai-edge-litert", "tflite-runtime"] = "ai-edge-litert"
    requirements: tuple[Line, ...] = ()
    packages: tuple[Package, ...] = ()
    missing: tuple[Package, ...] = ()
    cmdline: tuple[Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$")], ...] = ()


class Camera(Facts, frozen=True, kw_only=True):
    """The camera a board has unless told otherwise, and at what size it is read."""

    uri: Line
    width: EvenPixels
    height: EvenPixels
    fps: FramesPerSecond
    config_txt: tuple[Line, ...] = ()


class Accelerator(Facts, frozen=True, kw_only=True):
    """A Coral Edge TPU: the firmware's lines for it, and the Debian packages it needs."""

    bus: Literal["usb", "pcie"]
    config_txt: tuple[Line, ...] = ()
    missing: tuple[Package, ...] = ()


class Power(Facts, frozen=True, kw_only=True):
    """How fast the board may run: a mode of NVIDIA's nvpmodel by its name, and fixed clocks."""

    nvpmodel: Line | None = None
    jetson_clocks: bool = False


class Watchdog(Facts, frozen=True, kw_only=True):
    """The hardware watchdog: the seconds (`RuntimeWatchdogSec`) that systemd may be silent."""

    seconds: Annotated[int, msgspec.Meta(ge=5, le=300)]


class Thermal(Facts, frozen=True, kw_only=True):
    """The degrees at which the board slows itself down, and at which Mien does so before it."""

    throttles_celsius: Annotated[float, msgspec.Meta(ge=40.0, le=120.0)]
    hot_celsius: Annotated[float, msgspec.Meta(ge=40.0, le=120.0)]


class Work(Facts, frozen=True, kw_only=True):
    """How much of each second the models may have."""

    detect_every: Annotated[int, msgspec.Meta(ge=1, le=30)]
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)]


class Legacy(Facts, frozen=True, kw_only=True):
    """Why no card is made for a board, and what can be done with it all the same."""

    why: Line
    possible: tuple[Line, ...]
    impossible: tuple[Line, ...]


class Board(_Table, frozen=True, kw_only=True):
    """A board. `models` is how the names begin that it gives itself; `image` its usual image.

    `refuses` are the roles that it cannot carry, each with the reason. Without a `budget` of its
    own a board is judged as one that `mien selftest` does not know.
    """

    title: Line
    image: Name
    images: dict[Name, Image]
    camera: Camera
    watchdog: Watchdog
    thermal: Thermal
    work: Work
    extends: Name | None = None
    models: tuple[Line, ...] = ()
    budget: Budget | None = None
    accelerator: Accelerator | None = None
    power: Power | None = None
    refuses: dict[RoleName, Line] = {}
    legacy: Legacy | None = None

    def __post_init__(self) -> None:
        """Refuse a usual image that is not there, and one without wheels on a board in use."""
        if self.image not in self.images:
            raise ValueError(f"image {self.image!r} is not among images")
        if self.legacy is None and not all(each.lock for each in self.images.values()):
            raise ValueError("an image has no lock, so no card can be made for it")


class Role(_Table, frozen=True, kw_only=True):
    """What a use wants of any board."""

    title: Line
    why: Line
    detector: Literal["blazeface-short", "blazeface-full"]
    most_faces: Annotated[int, msgspec.Meta(ge=1, le=256)]
    preset: Preset
    idle_after_s: Seconds
    idle_fps: PacedFps


def board_names() -> list[str]:
    """Return the names that `load_board` knows."""
    return sorted(file.stem for file in BOARDS.glob("*.toml"))


def role_names() -> list[str]:
    """Return the names that `load_role` knows."""
    return sorted(file.stem for file in ROLES.glob("*.toml"))


def load_board(name: str) -> Board:
    """Read one board.

    Raises
    ------
    UsageError
        There is no board of that name.
    ConfigError
        Its file is not what it should be.
    """
    if name not in board_names():
        raise UsageError(f"board {name!r}: there is none; the boards are {_listed(board_names())}")
    return _converted(BOARDS / f"{name}.toml", _whole(name, seen=()), Board)


def load_role(name: str) -> Role:
    """Read one role; errors as in `load_board`."""
    if name not in role_names():
        raise UsageError(f"role {name!r}: there is none; the roles are {_listed(role_names())}")
    file = ROLES / f"{name}.toml"
    return _converted(file, _read(file), Role)


def _whole(name: str, *, seen: tuple[str, ...]) -> dict[str, Any]:
    """Return what a board's file says, and for what it leaves out the board it begins from.

    Tables are taken whole, so that no fact is left beside the source of another one.
    """
    file = BOARDS / f"{name}.toml"
    table = _read(file)
    base = table.get("extends")
    if base is None:
        return table
    if base in (*seen, name) or base not in board_names():
        raise ConfigError(f"{file.name}: extends: {base!r} is no board that it can begin from")
    return {**_whole(base, seen=(*seen, name)), **table}


def _read(file: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{file.name}: cannot be read: {exc}") from exc
    return table


_Kind = TypeVar("_Kind", Board, Role)


def _converted(file: Path, table: Mapping[str, Any], kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{file.name}: {exc}") from exc


def _listed(names: list[str]) -> str:
    return ", ".join(names)
