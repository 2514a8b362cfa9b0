"""The system's files that a card brings: units, rules, limits of the log, clock, watchdog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.install import shipped
from edge.install.network import reach
from edge.install.place import find
from edge.settings import Settings
from firmware_configs.answers import Answers
from firmware_configs.board import Board, Image

DEVICE = find("system", Path("/"), {})
"""Where `mien install` puts things on a machine; a card puts them there too."""

_PLACES = {
    ".": "etc/systemd/system",
    "sysusers.d": "etc/sysusers.d",
    "tmpfiles.d": "etc/tmpfiles.d",
    "udev": "etc/udev/rules.d",
}
"""Where the files of a folder of systemd/ belong on a device."""

SETTLE = """\
[Unit]
Description=End an update of Mien that the power cut
ConditionPathExists=/opt/mien-versions/pending
After=mien.service mien-setup.service

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -B /opt/mien/setup --settle

[Install]
WantedBy=multi-user.target
"""

JOURNAL = """\
# The log wears a card out, and may not fill it.
[Journal]
SystemMaxUse=50M
RuntimeMaxUse=16M
MaxRetentionSec=1month
"""

CHRONY = """\
# A board without a battery starts years ago: step at once, then keep the kernel's clock told.
makestep 1 3
rtcsync
"""


def shared() -> Iterator[tuple[str, Path]]:
    """Yield the files of systemd/, each with the folder on a device that it belongs in."""
    for folder, place in _PLACES.items():
        if (shipped.folder() / folder).is_dir():
            for file in sorted((shipped.folder() / folder).iterdir()):
                if file.is_file():
                    yield place, file


def setup_unit(image: Image) -> str:
    """Return the unit that sets a device up at its first boot, again and again where it fails."""
    return f"""\
[Unit]
Description=Set this device up for Mien, from its card
ConditionPathExists=!/opt/mien-versions/done
RequiresMountsFor={image.mount}

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -B {image.mount}/mien/setup
TimeoutStartSec=1h
# What went wrong may be gone in a while, and nobody comes to try again.
Restart=on-failure
RestartSec=5min
StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
"""


def files(board: Board, settings: Settings, answers: Answers) -> dict[str, str]:
    """Return every file by its place below the root."""
    found = {f"{place}/{file.name}": file.read_text(encoding="utf-8") for place, file in shared()}
    found["etc/systemd/system/mien-settle.service"] = SETTLE
    found["etc/systemd/journald.conf.d/50-mien.conf"] = JOURNAL
    # In the place of the one that is shipped, which does not know the board.
    found["etc/systemd/system.conf.d/mien-watchdog.conf"] = (
        "# The hardware watchdog: systemd feeds it, and the board starts anew when it does not.\n"
        f"[Manager]\nRuntimeWatchdogSec={board.watchdog.seconds}\nRebootWatchdogSec=2min\n"
    )
    allowed = shipped.drop_in(DEVICE, settings, reach(settings))
    found[str(allowed.path.relative_to("/"))] = allowed.text
    found["etc/chrony/conf.d/50-mien.conf"] = CHRONY + (
        f"server {answers.ntp} iburst\n" if answers.ntp else ""
    )
    if answers.ntp:
        found["etc/systemd/timesyncd.conf.d/50-mien.conf"] = f"[Time]\nNTP={answers.ntp}\n"
    return dict(sorted(found.items()))
