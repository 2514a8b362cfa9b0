"""The script of older images does its part once, and the same when it was cut off."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_configs import boot
from firmware_configs.answers import admin
from firmware_configs.board import load_board

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample anna@desk"
CMDLINE = "console=tty1 root=PARTUUID=1 rootwait quiet"
RUN = "systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel.target"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder that stands for a booting Raspberry Pi OS, with stubs for its programs."""
    for name in ("id", "useradd", "usermod", "chown", "systemctl", "sync"):
        stub = tmp_path / "bin" / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/log"\n')
        stub.chmod(0o755)
    firmware = tmp_path / "boot/firmware"
    firmware.mkdir(parents=True)
    (firmware / "cmdline.txt").write_text(f"{CMDLINE} {RUN}\n")
    (tmp_path / "etc/sudoers.d").mkdir(parents=True)
    text = boot.firstrun(load_board("pi-4").images["bookworm"], admin("anna", KEY))
    for place in ("/etc", "/boot", "/home"):
        text = text.replace(f"{place}/", f"{tmp_path}{place}/").replace(
            f" {place};", f" {tmp_path}{place};"
        )
    (firmware / "firstrun.sh").write_text(text)
    return tmp_path


def run(image: Path, script: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{image / 'bin'}:/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_enables_the_setup_lets_the_admin_in_and_takes_itself_away(image: Path) -> None:
    script = image / "boot/firmware/firstrun.sh"
    kept = shutil.copyfile(script, image / "kept.sh")
    for each in (script, kept):
        run(image, each)
        units = image / "etc/systemd/system"
        assert "/boot/firmware/mien/setup" in (units / "mien-setup.service").read_text()
        link = units / "multi-user.target.wants/mien-setup.service"
        assert link.resolve() == units / "mien-setup.service"
        assert (image / "home/anna/.ssh/authorized_keys").read_text() == f"{KEY}\n"
        assert (image / "boot/firmware/cmdline.txt").read_text() == f"{CMDLINE}\n"
        assert not script.exists()


def test_a_host_name_is_made_of_the_id_where_that_can_be() -> None:
    assert boot._host_name("Lobby_2.east") == ['hostname: "lobby-2-east"']  # noqa: SLF001
    assert boot._host_name("serial") == []  # noqa: SLF001
