"""What was tried on which board: tried.toml, and how `mien-flash list` shows it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import ConfigError
from firmware_configs.board import board_names, load_board, load_role, role_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("tried.toml")
How = Literal["emulated", "booted in a namespace", "booted in a virtual machine", "on hardware"]


class Tried(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that was tried; `log` is where it can be read again."""

    board: str
    image: str
    how: How
    what: str
    log: str
    role: str | None = None


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tried: tuple[Tried, ...] = ()


def read() -> tuple[Tried, ...]:
    """Return everything that was tried.

    Raises
    ------
    ConfigError
        tried.toml is not what it should be, or names what is not there.
    """
    try:
        table = msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), _Table)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        raise ConfigError(f"{FILE.name}: {exc}") from exc
    for each in table.tried:
        if each.board not in board_names() or each.image not in load_board(each.board).images:
            raise ConfigError(f"{FILE.name}: there is no board {each.board} with {each.image}")
        if each.role is not None and each.role not in role_names():
            raise ConfigError(f"{FILE.name}: there is no role {each.role}")
    return table.tried


def never_on_hardware(board: str) -> bool:
    """Say whether nobody has tried a board itself."""
    return not any(each.board == board and each.how == "on hardware" for each in read())


def listing() -> str:
    """Return all boards with their images, roles and what was tried on each, then the roles."""
    lines = ["boards"]
    for name in board_names():
        board = load_board(name)
        lines.append(f"  {name:<16} {board.title}")
        if board.legacy is not None:
            lines.append(f"  {'':<16} no card can be made: {board.legacy.why}")
            lines += [f"  {'':<16} possible: {each}" for each in board.legacy.possible]
            continue
        for image in sorted(board.images, key=lambda each: (each != board.image, each)):
            usual = " (usual)" if image == board.image else ""
            lines.append(f"  {'':<16} image {image}{usual}: {board.images[image].os}")
            lines.append(f"  {'':<18} Python {board.images[image].python}; {_tried(name, image)}")
        lines += [f"  {'':<16} not as {role}: {why}" for role, why in board.refuses.items()]
    lines.append("roles")
    for name in role_names():
        role = load_role(name)
        lines.append(f"  {name:<16} {role.title}: {role.why}")
    return "\n".join(lines)


def _tried(board: str, image: str) -> str:
    """Say what was tried on a board with an image, and what was not."""
    found = [each for each in read() if (each.board, each.image) == (board, image)]
    told = [
        f"{each.how}{f' with role {each.role}' if each.role else ''}: {each.what} ({each.log})"
        for each in found
    ]
    if not any(each.how == "on hardware" for each in found):
        told.append("on hardware: not yet")
    return "; ".join(told)
