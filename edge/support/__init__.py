"""`mien support`: what a bug report needs, in one file, without what it must not have.

Versions, the configuration without secrets, a self-test, what the broker retains of the device's
health, the unit's log. No picture is looked at or stored, and nothing of who was in view is
taken. Names, addresses and places are replaced by pseudonyms (`edge.support.redaction`). It works
where everything else is broken: what cannot be gathered is said in the bundle, with the reason.
"""

from __future__ import annotations

import logging
import os
import subprocess
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge import config
from edge.errors import MienError
from edge.health import versions
from edge.support import archive, identity, parts
from edge.support.parts import Device, Heard
from edge.support.redaction import Redactor

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the bundle: what is in it, or why nothing is."""

    name: str
    about: str
    text: str
    trouble: str = ""


def run(file: Path | None, out: Path | None) -> str:
    """Gather the bundle of the device that `file` configures; return what to tell the user.

    Raises
    ------
    UsageError
        `out` exists, or cannot be written.
    MienError
        The bundle cannot be written.
    """
    target = archive.target(out)
    members = gathered(file)
    texts = {"README.txt": _readme(members), **{each.name: each.text for each in members}}
    archive.write(target, archive.packed(texts))
    return _told(target, members)


def gathered(file: Path | None, environ: Mapping[str, str] = os.environ) -> list[Member]:
    """Return everything but the README, redacted."""
    device = Device.read(file, environ)
    redactor = _redactor(device, environ)
    heard = Heard({})

    def broker() -> str:
        nonlocal heard
        heard = parts.heard(device)
        return parts.written(redactor.within(heard.topics))

    def selftest() -> str:
        _log.info("support: running the self-test, which takes a while")
        running = heard.online or parts.is_running()
        return redactor.text(parts.selftest(device, running=running))

    plan: Sequence[tuple[str, str, Callable[[], str]]] = (
        ("versions.txt", "what runs here", lambda: redactor.text(parts.versions_of(environ))),
        (
            "configuration.toml",
            "the configuration without secrets",
            lambda: parts.configuration(device, redactor),
        ),
        ("broker.json", "health, info, self-test and camera status on the broker", broker),
        ("selftest.txt", "a self-test of now", selftest),
        ("log.txt", "the last lines of the unit's log", lambda: redactor.text(parts.log())),
    )
    return [_member(name, about, gather, redactor) for name, about, gather in plan]


def _redactor(device: Device, environ: Mapping[str, str]) -> Redactor:
    """Return one that knows all that identifies this device, before anything is written."""
    installed = versions(parts.LIBRARIES).values()
    redactor = Redactor(safe={*identity.words(), *installed})
    identity.redacted(device.table, redactor)
    chosen = config.chosen(device.file, environ)
    if chosen is not None:
        identity.note_path(str(chosen), redactor)
        if not device.table:
            identity.note_loose_words(chosen, redactor)
    identity.note_password(device.table, redactor)
    identity.note_machine(redactor, environ=environ)
    return redactor


def _member(name: str, about: str, gather: Callable[[], str], redactor: Redactor) -> Member:
    try:
        return Member(name, about, gather())
    except (MienError, OSError, subprocess.SubprocessError) as exc:
        trouble = redactor.text(str(exc))
    except Exception:  # noqa: BLE001  # a defect is what such a bundle is for: it goes in whole
        trouble = redactor.text(traceback.format_exc())
    return Member(name, about, f"Could not be gathered: {trouble}\n", trouble)


def _readme(members: Sequence[Member]) -> str:
    """Write what the bundle is, for the one who sends it and the one who gets it."""
    listed = "".join(f"  {each.name:<20}{each.about}\n" for each in members)
    missing = "".join(f"  {each.name}: {each.trouble}\n" for each in members if each.trouble)
    return f"""\
What `mien support` gathered for a bug report. READ IT BEFORE YOU SEND IT.

{listed}
No picture is in it, and nothing of who was in view. Passwords, user names, host names, addresses,
serial numbers, network names, folders of people, and the names that the configuration gives to
device, cameras and files were taken out: *** stands for what is gone, host-1 for a host, the same
one throughout. A program cannot know everything: look for names that only you would know.

Could not be gathered:
{missing or "  nothing: all of it is here" + chr(10)}"""


def _told(target: Path, members: Sequence[Member]) -> str:
    lines = [f"{target}: for a bug report; only you can read it"]
    for each in members:
        missing = " (could not be gathered; it says why)" if each.trouble else ""
        lines.append(f"  {each.name:<20}{each.about}{missing}")
    lines.append("No picture is in it; secrets and names were taken out, as README.txt in it says.")
    lines.append(f"Read it before you send it: tar -xzOf {target} | less")
    return "\n".join(lines)
