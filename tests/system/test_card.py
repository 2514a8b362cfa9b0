"""A card on a real systemd: cloud-init begins the setup, and Mien is ready, without a network.

A Debian boots in a namespace, with the card where its boot partition would be. There is no boot
loader, no partition and no camera in such a machine: neither that a board's firmware reads a card
is shown here, nor that a camera's pictures are read.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from nspawn import Machine, boot_to_its_end, booted, build, in_memory, prepared

from firmware_configs.answers import Answers, admin
from firmware_configs.board import board_names, load_board
from firmware_configs.boot import firstrun, user_data

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,udev,passwd,iproute2,cloud-init,"
    "python3,mosquitto,mosquitto-clients,openssh-server,sudo"
)
BROKER = """
allow_anonymous false
password_file /etc/mosquitto/passwd
listener 1883 127.0.0.1
"""
PASSWORD = "correct-horse-battery"  # noqa: S105  # of a broker that lives for a minute
FIRSTRUN = (
    "systemd.run=/boot/firmware/firstrun.sh",
    "systemd.run_success_action=reboot",
    "systemd.unit=kernel-command-line.target",
)
"""What Raspberry Pi Imager adds to the kernel's command line."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDdu5kCfYZb6qZ7y0nFIyBqfWJtqnNpKyYsUrS9XkIWk anna@desk"
SEED = "var/lib/cloud/seed/nocloud"


def render(out: Path, *more: str) -> Path:
    """Make a card as a person does."""
    command = [
        *(sys.executable, "-m", "firmware_configs", "render", "--board", "pc", "--role", "kiosk"),
        *("--device-id", "lobby", "--broker", "mqtt://127.0.0.1", "--out", str(out), *more),
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return out


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two cards for one device: the second says another role."""
    prepared()
    folder = tmp_path_factory.mktemp("cards")
    secret = folder / "secret"
    secret.write_text(f"{PASSWORD}\n")
    who = ["--username", "kiosk", "--password-file", str(secret)]
    first = render(folder / "first", *who)
    wheels = ["--wheelhouse", str(first / "mien/wheels")]
    render(folder / "second", *who, *wheels, "--role", "robot")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def root(cards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian 13 with a broker and the first card, never started."""
    folder = tmp_path_factory.mktemp("machine")
    with in_memory(folder / "memory"):
        root = folder / "memory/root"
        build(root, "trixie", PACKAGES)
        (root / "etc/mosquitto/conf.d/test.conf").write_text(BROKER)
        program = ["chroot", str(root), "mosquitto_passwd", "-c", "-b", "/etc/mosquitto/passwd"]
        subprocess.run([*program, "kiosk", PASSWORD], check=True)
        (root / "etc/mosquitto/passwd").chmod(0o644)
        shutil.copytree(cards / "first", root / "boot/firmware", dirs_exist_ok=True)
        yield root


@pytest.fixture(scope="module")
def older(root: Path) -> Path:
    """The same, for an image that knows nothing of cloud-init and runs a script once."""
    older = root.with_name("older")
    subprocess.run(["cp", "-a", root, older], check=True)
    (older / "etc/cloud/cloud-init.disabled").touch()
    text = firstrun(load_board("pi-4").images["bookworm"], admin("anna", KEY))
    script = older / "boot/firmware/firstrun.sh"
    script.write_text(text)
    # FAT, which every boot partition has, lets every file be executed.
    script.chmod(0o755)
    (older / "boot/firmware/cmdline.txt").write_text(f"console=tty1 {' '.join(FIRSTRUN)} quiet\n")
    return older


class Device:
    """A machine that may lose its power and be started again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._power = ExitStack()
        self.machine = self.start()

    def start(self) -> Machine:
        """Start it, and wait until Mien is ready."""
        self.machine = self._power.enter_context(booted(self.root))
        self.machine.eventually(lambda: is_active(self.machine), "Mien's start")
        return self.machine

    def lose_power(self) -> None:
        """End everything in it at once."""
        self._power.close()

    def version(self) -> str:
        """Return the installation in force."""
        return (self.root / "opt/mien").readlink().name


@pytest.fixture(scope="module")
def device(root: Path, older: Path) -> Iterator[Device]:
    """The machine, after its first start with the card."""
    assert older.exists(), "copied before anything ran"
    seed(root)
    device = Device(root)
    yield device
    device.lose_power()


@pytest.fixture
def first_boot(device: Device) -> Machine:
    return device.machine


def seed(root: Path) -> None:
    """Tell cloud-init of the card."""
    (root / SEED).mkdir(parents=True, exist_ok=True)
    for name in ("user-data", "meta-data", "network-config"):
        shutil.copyfile(root / "boot/firmware" / name, root / SEED / name)


def is_active(machine: Machine) -> bool:
    return machine.run("systemctl", "is-active", "mien", check=False).stdout.strip() == "active"


def retained(machine: Machine, topic: str) -> str:
    who = ("-u", "kiosk", "-P", PASSWORD)
    return machine.says("mosquitto_sub", *who, "-t", topic, "-C", "1", "-W", "20")


def test_cloud_init_begins_the_setup_and_mien_is_ready(device: Device, first_boot: Machine) -> None:
    assert f"{device.version()} is in force" in first_boot.journal("mien-setup")
    assert first_boot.shows("mien", "User") == "mien"
    status = first_boot.run("cloud-init", "status", "--long", check=False).stdout
    assert "errors: []" in status, status
    assert first_boot.says("hostname") == "lobby"


def every_user_data() -> Iterator[tuple[str, str]]:
    """What cloud-init would read of every card that there can be, by a name for it."""
    who = admin("anna", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample anna@desk")
    for name in board_names():
        board = load_board(name)
        for image_name, image in board.images.items():
            if board.legacy is None and image.boot == "cloud-init":
                for device_id, may in (("serial", None), ("Lobby_2.east", None), ("lobby", who)):
                    answers = Answers(device_id, "mqtt://10.0.0.5", admin=may)
                    yield f"{name}-{image_name}-{device_id}", user_data(board, image, answers)


def test_cloud_inits_own_schema_finds_nothing_wrong_with_any_card(first_boot: Machine) -> None:
    files = [("network-config", "/boot/firmware/network-config")]
    for name, text in every_user_data():
        first_boot.write(f"/srv/{name}", text)
        files.append(("cloud-config", f"/srv/{name}"))
    assert len(files) > 20
    script = "\n".join(
        f"cloud-init schema --schema-type {kind} --config-file {file} 2>&1" for kind, file in files
    )
    first_boot.write("/srv/check-all", script)
    said = first_boot.says("sh", "/srv/check-all").splitlines()
    assert [line for line in said if not line.startswith("Valid schema")] == []
    assert len(said) == len(files)


def test_secrets_are_where_only_root_reads_them(first_boot: Machine) -> None:
    folder = "/etc/mien/credentials"
    assert first_boot.says("stat", "-c", "%a %U", folder, f"{folder}/password").split() == [
        *("700", "root"),
        *("600", "root"),
    ]
    assert first_boot.says("stat", "-L", "-c", "%a %G", "/etc/mien/mien.toml") == "640 mien"
    found = first_boot.run("grep", "-rlF", PASSWORD, "/boot", "/opt", "/etc", "/run", check=False)
    # systemd has made the daemon's own copy of the credential.
    files = [file for file in found.stdout.split() if not file.startswith("/run/credentials/")]
    assert files == [f"{folder}/password"]


def test_the_broker_hears_of_the_device_and_its_selftest(first_boot: Machine) -> None:
    assert retained(first_boot, "mien/lobby/availability") == "online"
    checks = json.loads(retained(first_boot, "mien/lobby/selftest"))["checks"]
    verdicts = {check["name"]: check["verdict"] for check in checks}
    assert verdicts["bundles"] == verdicts["golden-frame"] == verdicts["golden-head"] == "passed"


def test_the_log_has_a_limit_and_the_hardware_watchdog_is_asked_for(first_boot: Machine) -> None:
    assert "SystemMaxUse=50M" in first_boot.says(
        "systemd-analyze", "cat-config", "systemd/journald.conf"
    )
    manager = first_boot.says("systemd-analyze", "cat-config", "systemd/system.conf")
    assert "RuntimeWatchdogSec=30" in manager


def test_the_machine_loses_its_power_in_an_update_and_comes_back_on_the_old_version(
    device: Device, cards: Path
) -> None:
    before, card = device.version(), device.root / "srv/second"
    shutil.copytree(cards / "second/mien", card)
    other = json.loads((card / "card.json").read_text())["version"]
    device.machine.run("systemd-run", "--unit=update", "python3", "-B", "/srv/second/setup")
    half_made = device.root / "opt/mien-versions" / other / "bin/mien"
    device.machine.eventually(half_made.exists, "the update's beginning")
    device.lose_power()
    assert not (half_made.parents[1] / "complete").exists()
    machine = device.start()
    assert device.version() == before
    assert "skipped, unmet condition" in machine.journal("mien-setup")
    assert retained(machine, "mien/lobby/availability") == "online"


def test_then_the_update_is_begun_anew_and_ends(device: Device) -> None:
    before = device.version()
    device.machine.run("python3", "-B", "/srv/second/setup")
    assert device.version() != before
    assert is_active(device.machine)
    assert 'preset = "quick"' in (device.root / "opt/mien/mien.toml").read_text()
    device.lose_power()
    machine = device.start()
    assert machine.says("systemctl", "is-enabled", "mien", "mien-settle") == "enabled\nenabled"


def test_an_older_image_runs_the_script_once_and_then_sets_itself_up(older: Path) -> None:
    # As on a Pi, but for the new start, which this machine would take with the same options.
    first, _, last = FIRSTRUN
    boot_to_its_end(older, first, "systemd.run_success_action=poweroff", last)
    card = older / "boot/firmware"
    assert (card / "cmdline.txt").read_text() == "console=tty1 quiet\n"
    assert not (card / "firstrun.sh").exists()
    with booted(older) as machine:
        machine.eventually(lambda: is_active(machine), "Mien's start")
        assert machine.shows("mien-setup", "Result") == "success"
        assert retained(machine, "mien/lobby/availability") == "online"
        keys = "/home/anna/.ssh/authorized_keys"
        assert machine.says("runuser", "-u", "anna", "--", "cat", keys) == KEY
        assert "NOPASSWD: ALL" in machine.says("sudo", "-l", "-U", "anna")
        assert machine.says("systemctl", "is-enabled", "ssh") == "enabled"
