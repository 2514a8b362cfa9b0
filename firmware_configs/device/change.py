"""Changes the installation in force, and goes back where the new one does not start."""

from __future__ import annotations

from firmware_configs.device.commands import attempt, run, say, why
from firmware_configs.device.files import SetupError
from firmware_configs.device.versions import Pending, Versions

UNITS = ("mien.service", "mien-settle.service")
"""What starts with the machine: the daemon, and `settle`."""

_TAKES_IN = (
    ("/etc/sysusers.d/", ("systemd-sysusers", "mien.conf")),
    ("/etc/tmpfiles.d/", ("systemd-tmpfiles", "--create", "mien.conf")),
    ("/etc/systemd/system.conf.d/", ("systemctl", "daemon-reexec")),
    ("/etc/systemd/", ("systemctl", "daemon-reload")),
    ("/etc/systemd/journald.conf.d/", ("systemctl", "try-restart", "systemd-journald")),
    ("/etc/systemd/timesyncd.conf.d/", ("systemctl", "try-restart", "systemd-timesyncd")),
    ("/etc/chrony/", ("systemctl", "try-restart", "chrony")),
    ("/etc/udev/", ("udevadm", "control", "--reload")),
    (
        "/etc/udev/",
        ("udevadm", "trigger", *(f"--subsystem-match={name}" for name in ("video4linux", "usb"))),
    ),
)
"""Which folder's files are taken in by which command."""


def change(versions: Versions, after: str, *, renewed: bool = False) -> None:
    """Put a complete installation in force and start it.

    Parameters
    ----------
    versions
        The device's installations.
    after
        The one that is to be in force.
    renewed
        It has to be started anew although it is in force: its credentials changed.

    Raises
    ------
    SetupError
        It does not start. The one before is in force again, where there was one.
    """
    earlier = versions.pending()
    if earlier is not None and earlier.after != after:
        try:
            settle(versions)
        except SetupError as exc:
            # What does not start is no reason to keep what may mend it out.
            say(str(exc))
        earlier = None
    before = earlier.before if earlier is not None else versions.current()
    if before == after and not renewed:
        return
    versions.note(Pending(before, after))
    versions.put(after)
    _confirm(versions, Pending(before, after), "restart")


def settle(versions: Versions) -> None:
    """End a change that the power cut: start what is in force, or go back; errors as `change`."""
    pending = versions.pending()
    if pending is None:
        return
    if versions.current() == pending.after:
        _confirm(versions, pending, "start")
        return
    if pending.before is not None:
        versions.place(pending.before)
        _take_in(versions)
    versions.settled()


def _take_in(versions: Versions) -> None:
    """Have the system take in its files; all of them, since a run that was cut off may not have."""
    places = versions.system_files()
    for folder, command in _TAKES_IN:
        if any(place.startswith(folder) for place in places):
            attempt(*command)


def _confirm(versions: Versions, pending: Pending, verb: str) -> None:
    """Start what is in force and, where it does not start, what was before."""
    _take_in(versions)
    versions.give_settings()
    done = run("systemctl", "enable", *UNITS)
    if done.returncode == 0:
        done = run("systemctl", verb, UNITS[0])
    if done.returncode == 0:
        versions.settled()
        return
    failed = f"{pending.after} does not start: {why(done)}"
    if pending.before in {None, pending.after}:
        # The change stays noted, so that the next start of the machine tries again.
        raise SetupError(f"{failed}; see journalctl -u {UNITS[0]}")
    assert pending.before is not None  # noqa: S101  # for the type checker
    versions.put(pending.before)
    _take_in(versions)
    versions.give_settings()
    run("systemctl", "restart", UNITS[0])
    versions.settled()
    raise SetupError(f"{failed}; {pending.before} is in force again")
