"""Where on a machine the parts of an installation belong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import UsageError

SERVICE = "mien.service"


@dataclass(frozen=True, slots=True)
class Place:
    """One of the two ways to be installed.

    Every path is as the installed system itself sees it; `at` says where it lies now, which
    differs where the system is one that is being made in the folder `root`.
    """

    scope: Literal["system", "user"]
    root: Path
    units: Path
    configuration: Path
    state: tuple[Path, ...]
    wanted_by: str

    @property
    def live(self) -> bool:
        """Whether the system is the one that runs here."""
        return self.root == Path("/")

    @property
    def config_file(self) -> Path:
        """The configuration of the daemon."""
        return self.configuration / "mien.toml"

    @property
    def credentials(self) -> Path:
        """The folder of the broker's secrets."""
        return self.configuration / "credentials"

    @property
    def drop_in(self) -> Path:
        """What is added to the unit for this configuration."""
        return self.units / f"{SERVICE}.d/50-mien.conf"

    def at(self, path: Path) -> Path:
        """Return where a path of the installed system lies now."""
        return self.root / path.relative_to("/")

    def link(self, unit: str) -> Path:
        """Return the link that says that a unit is enabled."""
        wanted_by = "timers.target" if unit.endswith(".timer") else self.wanted_by
        return self.units / f"{wanted_by}.wants" / unit

    def systemctl(self, *arguments: str) -> tuple[str, ...]:
        """Return the command line that asks this place's service manager."""
        if self.scope == "user":
            return ("systemctl", "--user", *arguments)
        return ("systemctl", *self.offline, *arguments)

    @property
    def offline(self) -> tuple[str, ...]:
        """What tells systemd's tools to work on a system that is not running."""
        return () if self.live else (f"--root={self.root}",)


def find(scope: Literal["system", "user"], root: Path, environ: Mapping[str, str]) -> Place:
    """Return the place that the command line asks for.

    Raises
    ------
    UsageError
        `--root` is no folder, or is given for a login.
    """
    if scope == "user":
        if root != Path("/"):
            raise UsageError("--root: a login is of the system that runs; use it with --system")
        home = Path(environ.get("HOME") or Path.home())
        base = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        state = Path(environ.get("XDG_STATE_HOME") or home / ".local/state")
        runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
        return Place(
            scope="user",
            root=Path("/"),
            units=base / "systemd/user",
            configuration=base / "mien",
            state=(state / "mien", runtime / "mien"),
            wanted_by="default.target",
        )
    if not root.is_dir():
        raise UsageError(f"--root {root}: no such folder")
    return Place(
        scope="system",
        root=root.resolve(),
        units=Path("/etc/systemd/system"),
        configuration=Path("/etc/mien"),
        state=(Path("/var/lib/mien"), Path("/run/mien")),
        wanted_by="multi-user.target",
    )
