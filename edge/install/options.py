"""The command line of `mien install` and `mien uninstall`; nothing heavy is imported for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal


class Options(argparse.Namespace):
    """What the two commands are told."""

    scope: Literal["system", "user"]
    root: Path = Path("/")
    camera: Sequence[str] = ()
    mqtt: str | None = None
    allow: Sequence[str] = ()
    purge: bool = False
    dry_run: bool = False
    yes: bool = False


def add_install(parser: argparse.ArgumentParser) -> None:
    """Declare what `mien install` takes."""
    _add_common(parser)
    parser.add_argument(
        "--camera",
        metavar="URI",
        action="append",
        default=[],
        help="where there is no mien.toml yet: the camera it names; may be repeated",
    )
    parser.add_argument(
        "--mqtt", metavar="URL", help="where there is no mien.toml yet: the broker it names"
    )
    parser.add_argument(
        "--allow",
        metavar="ADDRESS[/BITS]",
        action="append",
        default=[],
        help="where brokers and cameras with a name rather than an address are; may be repeated; "
        "remembered",
    )


def add_uninstall(parser: argparse.ArgumentParser) -> None:
    """Declare what `mien uninstall` takes."""
    _add_common(parser)
    parser.add_argument(
        "--purge", action="store_true", help="remove configuration, secrets and waiting events too"
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group(required=True)
    scope.add_argument(
        "--system",
        dest="scope",
        action="store_const",
        const="system",
        help="for the machine: a user of its own, a locked-up unit, udev rules; needs root",
    )
    scope.add_argument(
        "--user",
        dest="scope",
        action="store_const",
        const="user",
        help="for your login only; what only root can enforce is left out",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="do it to the system that lies in DIR, which is not running (with --system)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
