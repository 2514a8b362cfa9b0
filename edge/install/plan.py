"""What will be done, in order: a value, made from what is wanted and what is there.

Nothing here touches the machine. A second installation of the same is an empty plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edge.install.place import SERVICE, Place
from edge.install.shipped import File

Look = Callable[[Path], str | None]
"""What is at a path now: a file's text, "" for anything else, None for nothing."""

_SYSUSERS = Path("/etc/sysusers.d/mien.conf")
_TMPFILES = Path("/etc/tmpfiles.d/mien.conf")
_ACCOUNTS = Path("/etc/passwd")
_UDEV = Path("/run/udev/control")


@dataclass(frozen=True, slots=True)
class Write:
    """Put a file in place, and the folders above it."""

    path: Path
    text: str
    why: str
    mode: int = 0o644

    def __str__(self) -> str:
        return f"write   {self.path}: {self.why}"


@dataclass(frozen=True, slots=True)
class Folder:
    """Make a folder, and those above it."""

    path: Path
    why: str
    mode: int = 0o755

    def __str__(self) -> str:
        return f"make    {self.path}: {self.why}"


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file and, with `folder`, the one it is in, where that is then empty."""

    path: Path
    folder: bool = False

    def __str__(self) -> str:
        return f"remove  {self.path}"


@dataclass(frozen=True, slots=True)
class Purge:
    """Remove a folder with all that is in it, for good."""

    path: Path
    last: ClassVar[bool] = True
    """There is no way back from it."""

    def __str__(self) -> str:
        return f"purge   {self.path}, with all that is in it"


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program. `undo` takes back what it did; where a `last` one fails, nothing is undone."""

    argv: tuple[str, ...]
    why: str
    undo: tuple[str, ...] = ()
    last: bool = False

    def __str__(self) -> str:
        return f"run     {' '.join(self.argv)}: {self.why}"


Action = Write | Folder | Remove | Purge | Command


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, what is run once more where that fails, and what there is to know."""

    actions: tuple[Action, ...]
    settle: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([*map(str, self.actions), *(f"note    {each}" for each in self.notes)])


def install(
    place: Place, wanted: Sequence[File], example: File, look: Look, *, start: bool
) -> Plan:
    """Return how to put an installation in place.

    Parameters
    ----------
    place
        Where.
    wanted
        Its files, but for the configuration.
    example
        The configuration to begin with, for where there is none.
    look
        What is there.
    start
        Whether the daemon is to run at once; it is enabled in any case.
    """
    changed = [file for file in wanted if look(place.at(file.path)) != file.text]
    begun = [example] if look(place.at(place.config_file)) is None else []
    missing = [folder for folder in _folders(place) if look(folder.path) is None]
    units = _enabled(file.path for file in wanted)
    linked = all(look(place.at(place.link(unit))) is not None for unit in units)
    if linked and not (changed or begun or missing):
        return Plan(
            (), notes=(f"all is in place{_by_hand(place, '; a new version is started by')}",)
        )
    when = "start with the machine" if place.scope == "system" else "start with your login"
    undo = () if linked else place.systemctl("disable", *units)
    actions = [
        *(Write(place.at(each.path), each.text, each.why, each.mode) for each in changed + begun),
        *missing,
        *_prepare(place, look),
        Command(place.systemctl("enable", *units), when, undo=undo),
    ]
    if start and place.live:
        actions.append(Command(place.systemctl("restart", *units), "start now", last=True))
    return Plan(tuple(actions), settle=_settle(place, look), notes=_notes(place, start=start))


def uninstall(place: Place, wanted: Iterable[Path], look: Look, *, purge: bool) -> Plan:
    """Return how to take an installation away.

    Parameters
    ----------
    place
        Where.
    wanted
        The files an installation has there, but for the configuration.
    look
        What is there.
    purge
        Whether configuration, secrets, waiting events and the user go too.
    """
    present = [path for path in wanted if look(place.at(path)) is not None]
    # Debian has the other folders by itself.
    alone = {place.drop_in, _SYSUSERS}
    actions: list[Action] = [
        *_stop(place, [path for path in present if path.parent == place.units]),
        *(Remove(place.at(path), folder=path in alone) for path in present),
        *(Command(argv, "forget them") for argv in _settle(place, look) if present),
    ]
    folders = (place.configuration, *place.state)
    kept = [path for path in folders if look(place.at(path)) is not None]
    user = place.scope == "system" and _has_user(place, look)
    if purge:
        actions += [Purge(place.at(path)) for path in kept]
        if user:
            actions.append(Command(_userdel(place), "the system user", last=True))
        kept, user = [], False
    left = [*map(str, kept), *(["the user mien"] if user else [])]
    notes = [f"{', '.join(left)} stay; --purge removes them"] if left else []
    if not actions and not left:
        notes = ["nothing is installed here"]
    return Plan(tuple(actions), settle=_settle(place, look), notes=tuple(notes))


def _stop(place: Place, units: Sequence[Path]) -> list[Command]:
    if not units:
        return []
    now = ("--now",) if place.live else ()
    argv = place.systemctl("disable", *now, *(path.name for path in units))
    undo = place.systemctl("enable", *now, *_enabled(units))
    return [Command(argv, "stop, and start no more", undo=undo)]


def _folders(place: Place) -> list[Folder]:
    """Return the folders that the units need to be there."""
    folders = [Folder(place.at(place.credentials), "the broker's secrets, each a file", 0o700)]
    if place.scope == "user":
        # systemd 254 and later would else take the configuration's folder for it, of a name.
        folders.append(Folder(place.state[0], "events that wait for the broker", 0o700))
    return folders


def _prepare(place: Place, look: Look) -> list[Action]:
    """Let systemd and udev read the new files; the user comes first, for files belong to it."""
    actions: list[Action] = []
    if place.scope == "system":
        undo = () if _has_user(place, look) else _userdel(place)
        actions = [
            Command(
                ("systemd-sysusers", *place.offline, _SYSUSERS.name),
                "make the system user mien, where there is none",
                undo=undo,
            ),
            Command(
                ("systemd-tmpfiles", "--create", *place.offline, _TMPFILES.name),
                "let only it read the configuration",
            ),
        ]
    return actions + [Command(argv, "read what is new") for argv in _settle(place, look)]


def _settle(place: Place, look: Look) -> tuple[tuple[str, ...], ...]:
    """Return what lets what runs here read its files anew."""
    if not place.live:
        return ()
    commands = [place.systemctl("daemon-reload")]
    # In a container there may be no udev.
    if place.scope == "system" and look(_UDEV) is not None:
        matched = (f"--subsystem-match={each}" for each in ("video4linux", "usb", "apex"))
        commands += [("udevadm", "control", "--reload"), ("udevadm", "trigger", *matched)]
    return tuple(commands)


def _notes(place: Place, *, start: bool) -> tuple[str, ...]:
    notes = []
    if not start:
        then = _by_hand(place, ", then")
        notes.append(f"not started: name camera and broker in {place.config_file}{then}")
    if not place.live:
        notes.append("it starts when that system does")
    if place.scope == "user":
        notes.append("it runs while you are logged in; loginctl enable-linger lets it stay")
    return tuple(notes)


def _by_hand(place: Place, before: str) -> str:
    """Return how it is started by hand, where that can be done."""
    return f"{before}: {' '.join(place.systemctl('restart', SERVICE))}" if place.live else ""


def _enabled(files: Iterable[Path]) -> list[str]:
    """Return the units among these files that start by themselves."""
    return [path.name for path in files if path.name == SERVICE or path.suffix == ".timer"]


def _has_user(place: Place, look: Look) -> bool:
    accounts = look(place.at(_ACCOUNTS)) or ""
    return any(line.startswith("mien:") for line in accounts.splitlines())


def _userdel(place: Place) -> tuple[str, ...]:
    return ("userdel", *(() if place.live else ("--prefix", str(place.root))), "mien")
