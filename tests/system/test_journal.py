"""`mien support` reads a real journal with the real journalctl."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from realbroker import program

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
REMOTE = "/lib/systemd/systemd-journal-remote"
ENTRY = """__REALTIME_TIMESTAMP=179525650{number}000000
__MONOTONIC_TIMESTAMP={number}000000
_BOOT_ID=0123456789abcdef0123456789abcdef
_HOSTNAME=kiosk-of-ada
PRIORITY={priority}
{unit}
MESSAGE={message}

"""
SCRIPT = """
set -eu
mkdir -p /var/log/journal
mount -t tmpfs tmpfs /var/log/journal
mkdir /var/log/journal/$(cat /etc/machine-id)
{remote} -o /var/log/journal/$(cat /etc/machine-id)/system.journal - < {entries}
{mien} support --out {out}
"""
JOURNAL = (
    ("_SYSTEMD_UNIT=mien.service", 6, "mien: camera door: open"),
    ("_SYSTEMD_UNIT=ssh.service", 6, "nobody asked for this"),
    ("_SYSTEMD_UNIT=mien.service", 4, "mien: mqtt: hub-of-ada:1883: cannot be reached"),
    ("_PID=1\nUNIT=mien.service", 3, "mien.service: Watchdog timeout (limit 30s)!"),
)


def test_the_log_is_that_of_the_unit_and_of_systemd_about_it(tmp_path: Path) -> None:
    journal = tmp_path / "entries"
    journal.write_text(
        "".join(
            ENTRY.format(number=number, unit=unit, priority=priority, message=message)
            for number, (unit, priority, message) in enumerate(JOURNAL, start=1)
        )
    )
    if os.geteuid() != 0:
        pytest.skip("only root may lay a journal of its own over the machine's")
    script = SCRIPT.format(
        remote=program(REMOTE, "systemd-journal-remote"),
        entries=shlex.quote(str(journal)),
        mien=f"{shlex.quote(sys.executable)} -m edge",
        out=shlex.quote(str(tmp_path / "a.tgz")),
    )
    # In a mount namespace: the machine's own journal is neither read nor written.
    subprocess.run(
        [program("unshare", "util-linux"), "--mount", "sh", "-c", script],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    with tarfile.open(tmp_path / "a.tgz") as opened:
        member = opened.extractfile("mien-support/log.txt")
        assert member is not None
        log = member.read().decode()
    assert log.splitlines() == [
        "2026-11-21T10:21:41.000+00:00 info    mien: camera camera-1: open",
        "2026-11-21T10:21:43.000+00:00 warning mien: mqtt: host-1:1883: cannot be reached",
        "2026-11-21T10:21:44.000+00:00 error   mien.service: Watchdog timeout (limit 30s)!",
    ]
