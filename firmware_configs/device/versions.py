"""Which installation is in force: `/opt/mien` leads to one of those in `/opt/mien-versions`.

An installation is a virtual environment with its settings and the system's files that go with it.
It is complete once it stood its self-test, and the link only ever leads to what is complete.
Program and settings change in one instant, because /etc/mien/mien.toml goes through the same link.
"""

from __future__ import annotations

import grp
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from firmware_configs.device.files import link, synchronise, write

VERSIONS = Path("opt/mien-versions")
CURRENT = Path("opt/mien")
SETTINGS = Path("etc/mien/mien.toml")
GROUP = "mien"


@dataclass(frozen=True, slots=True)
class Pending:
    """A change from one installation (None: from none) to another that is not settled yet."""

    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Versions:
    """The installations below a root folder."""

    root: Path

    @property
    def folder(self) -> Path:
        """Where the installations are."""
        return self.root / VERSIONS

    def path(self, name: str) -> Path:
        """Return the folder of an installation."""
        return self.folder / name

    def names(self) -> list[str]:
        """Return all installations, complete or not."""
        if not self.folder.is_dir():
            return []
        return sorted(each.name for each in self.folder.iterdir() if each.is_dir())

    def current(self) -> str | None:
        """Return the installation in force."""
        place = self.root / CURRENT
        return place.readlink().name if place.is_symlink() else None

    def foreign(self) -> bool:
        """Say whether something that no card made is where the link should be."""
        place = self.root / CURRENT
        return place.exists() and not place.is_symlink()

    def complete(self, name: str) -> bool:
        """Say whether an installation stood its self-test."""
        return (self.path(name) / "complete").exists()

    def completed(self, name: str) -> None:
        """Note that an installation stood its self-test; all of it is on the disk before."""
        os.sync()
        write(self.path(name) / "complete", b"")

    def remove(self, name: str) -> None:
        """Remove an installation; first of all it ceases to be a complete one."""
        (self.path(name) / "complete").unlink(missing_ok=True)
        shutil.rmtree(self.path(name))
        synchronise(self.folder)

    def put(self, name: str) -> None:
        """Put a complete installation in force, with its files of the system."""
        if not self.complete(name):
            raise AssertionError(name)
        self.place(name)
        link(self.root / CURRENT, str(Path(VERSIONS.name, name)))
        link(self.root / SETTINGS, str(Path("../..", CURRENT, "mien.toml")))

    def give_settings(self) -> None:
        """Let the daemon's group read the settings in force, and nobody else.

        A person may write a camera's password into them. There is such a group once the system has
        taken in the files that came with them; without it the daemon has no user either, and they
        stay root's alone.
        """
        file = self.root / CURRENT / "mien.toml"
        try:
            group = grp.getgrnam(GROUP).gr_gid
        except KeyError:
            return
        os.chown(file, -1, group)
        file.chmod(0o640)

    def place(self, name: str) -> None:
        """Put an installation's system files in their places, and take other ones' away."""
        own = _files(self.path(name) / "system")
        for place in sorted(own):
            write(self.root / place, (self.path(name) / "system" / place).read_bytes())
        for place in sorted(self._system_files() - own):
            file = self.root / place
            if file.exists():
                file.unlink()
                synchronise(file.parent)

    def system_files(self) -> list[str]:
        """Return where the system has, or had, files of any installation."""
        return [f"/{place}" for place in sorted(self._system_files())]

    def _system_files(self) -> set[Path]:
        return {place for name in self.names() for place in _files(self.path(name) / "system")}

    def pending(self) -> Pending | None:
        """Return the change that is not settled."""
        file = self.folder / "pending"
        return Pending(**json.loads(file.read_text("utf-8"))) if file.exists() else None

    def note(self, pending: Pending) -> None:
        """Note a change before it is begun."""
        write(self.folder / "pending", json.dumps(asdict(pending)).encode())

    def settled(self) -> None:
        """Note that no change is under way."""
        (self.folder / "pending").unlink(missing_ok=True)
        synchronise(self.folder)


def _files(tree: Path) -> set[Path]:
    """Return the files of a tree, each below it."""
    return {file.relative_to(tree) for file in tree.rglob("*") if file.is_file()}
