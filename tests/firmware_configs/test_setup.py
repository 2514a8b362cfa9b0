"""A device is set up from its card, and updated, whatever happens in between.

The card is a real one; the device is a folder, and the programs of its system are stubs on PATH.
The setup is killed before each change that it makes; what a cut of the power does to data that is
not on the disk yet is not tried here.
"""

from __future__ import annotations

import dataclasses
import fcntl
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from smallcards import Device, Workshop

from firmware_configs import render
from firmware_configs.answers import Answers, Wifi
from firmware_configs.fleet import fleet

FIRST = Answers("lobby", "mqtt://10.0.0.1")
SECOND = Answers("lobby", "mqtt://10.0.0.2")
BROKER_FILE = "etc/systemd/system/mien.service.d/50-mien.conf"
FEWEST = 60
"""Changes that any run makes; fewer would mean that the killing does not work."""

SERIAL = "10000000deadbeef"


@pytest.fixture
def first(shop: Workshop) -> Path:
    return shop.card("first", answers=FIRST)


@pytest.fixture
def second(shop: Workshop) -> Path:
    return shop.card("second", answers=SECOND)


def assert_in_force(device: Device, address: str) -> None:
    """Program, settings and the system's files are those of one card, whole, and started."""
    assert_whole(device)
    assert f'url = "mqtt://{address}"' in device.text("etc/mien/mien.toml")
    assert f"IPAddressAllow={address}\n" in device.text(BROKER_FILE)
    assert device.running() == device.version()
    assert not (device.root / "opt/mien-versions/pending").exists()


def assert_whole(device: Device) -> None:
    """What the link leads to is complete, if it leads anywhere, with its settings."""
    if device.version() is not None:
        assert (device.root / "opt/mien/complete").exists()
        assert (device.root / "opt/mien/bin/mien").exists()
        assert (device.root / "opt/mien/tested").exists()
        assert "device_id" in device.text("opt/mien/mien.toml")


def test_a_first_boot_needs_nothing_but_the_card(device: Device, first: Path) -> None:
    done = device.setup(first)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mien-setup: the self-test ran: 3 checks, 0 failed\n" in done.stdout
    assert_in_force(device, "10.0.0.1")
    assert 'device_id = "lobby"' in device.text("etc/mien/mien.toml")
    assert "systemctl enable mien.service mien-settle.service" in device.log()
    assert {"systemd-sysusers mien.conf", "systemd-tmpfiles --create mien.conf"} <= set(
        device.log()
    )
    assert (device.root / "opt/mien-versions/done").exists()


def test_what_is_done_is_not_done_again(device: Device, first: Path) -> None:
    device.setup(first)
    log = device.log()
    assert device.setup(first).returncode == 0
    assert device.log() == log


def test_an_update_takes_the_place_of_what_was(device: Device, first: Path, second: Path) -> None:
    device.setup(first)
    before = device.version()
    assert device.setup(second).returncode == 0
    assert_in_force(device, "10.0.0.2")
    assert device.version() != before
    assert not (device.root / "opt/mien-versions" / str(before)).exists()


def test_the_daemon_at_work_is_not_held_against_an_idle_board(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    device.setup(second)
    tests = [line for line in device.log() if line.startswith("mien selftest")]
    assert [line.partition("--skip ")[2] for line in tests] == [
        "camera --skip broker",
        "camera --skip broker --skip idle",
    ]


@pytest.mark.parametrize("trouble", ["golden", "latency", "selftest-crash", "pip-fails"])
def test_an_update_that_fails_leaves_the_old_one_alone(
    device: Device, first: Path, second: Path, trouble: str
) -> None:
    device.setup(first)
    before, log = device.version(), device.log()
    if trouble == "pip-fails":
        (device.stubs / trouble).touch()
    else:
        device.fails(trouble, version_of(second))
    done = device.setup(second)
    assert done.returncode == 1
    assert f"{before} stays in force" in done.stderr
    assert done.stderr.count("\n") == 1
    assert_in_force(device, "10.0.0.1")
    assert [line for line in device.log()[len(log) :] if "restart" in line] == []
    device.fails(trouble, version_of(second), times=0)
    (device.stubs / trouble).unlink(missing_ok=True)
    assert device.setup(second).returncode == 0
    assert_in_force(device, "10.0.0.2")


def test_a_first_boot_that_fails_is_tried_again(device: Device, first: Path) -> None:
    device.fails("golden")
    done = device.setup(first)
    assert done.returncode == 1
    said = "the self-test failed: golden-frame: differs; nothing is installed"
    assert done.stderr == f"mien-setup: {said}\n"
    assert device.version() is None
    device.fails("golden", times=0)
    assert device.setup(first).returncode == 0
    assert_in_force(device, "10.0.0.1")


def test_a_device_that_is_slower_than_its_goals_is_set_up_and_tells_so(
    device: Device, first: Path, second: Path
) -> None:
    device.fails("latency")
    done = device.setup(first)
    assert done.returncode == 0
    assert "mien-setup: latency-busy-total fails: too slow\n" in done.stdout
    # It can be updated, for nothing fails that did not fail before.
    done = device.setup(second)
    assert done.returncode == 0
    assert "mien-setup: latency-busy-total fails: too slow\n" in done.stdout
    assert_in_force(device, "10.0.0.2")


def test_an_update_may_not_fail_what_did_not_fail_before(
    device: Device, first: Path, second: Path
) -> None:
    device.fails("latency")
    device.setup(first)
    device.fails("spool", version_of(second))
    done = device.setup(second)
    assert done.returncode == 1
    assert "the self-test failed: spool-writable: no room; " in done.stderr
    assert_in_force(device, "10.0.0.1")


def test_an_update_is_not_refused_for_a_busy_minute(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    device.fails("latency", version_of(second), times=2)
    done = device.setup(second)
    assert done.returncode == 0
    asked = "mien-setup: fails what did not fail before: latency-busy-total; it is asked again\n"
    assert done.stdout.count(asked) == 2
    assert_in_force(device, "10.0.0.2")


def test_an_update_is_not_refused_for_what_the_old_one_fails_by_now(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    device.fails("latency")
    done = device.setup(second)
    assert done.returncode == 0
    assert "mien-setup: latency-busy-total fails: too slow\n" in done.stdout
    assert_in_force(device, "10.0.0.2")


def test_a_check_that_the_old_one_does_not_have_is_not_held_against_an_update(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    device.fails("new-check", version_of(second))
    done = device.setup(second)
    assert done.returncode == 0
    assert "mien-setup: brand-new fails: unheard of\n" in done.stdout
    assert_in_force(device, "10.0.0.2")


def test_an_old_one_that_cannot_be_asked_any_more_keeps_no_update_out(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    device.fails("selftest-crash", version_of(first))
    device.fails("latency")
    assert device.setup(second).returncode == 0
    assert_in_force(device, "10.0.0.2")


def test_golden_vectors_that_fail_are_not_asked_again(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    device.fails("golden", version_of(second), times=1)
    device.fails("latency", version_of(second), times=1)
    assert device.setup(second).returncode == 1
    assert_in_force(device, "10.0.0.1")


def test_an_update_that_does_not_start_is_taken_back(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    (device.stubs / "do-not-start").write_text(f"{version_of(second)}\n")
    done = device.setup(second)
    assert done.returncode == 1
    assert "does not start: Job for mien.service failed.; " in done.stderr
    assert done.stderr.endswith("is in force again\n")
    assert_in_force(device, "10.0.0.1")


def test_a_card_that_does_not_start_keeps_the_next_one_out_no_longer(
    device: Device, first: Path, second: Path
) -> None:
    (device.stubs / "do-not-start").write_text(f"{version_of(first)}\n")
    assert device.setup(first).returncode == 1
    done = device.setup(second)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{version_of(first)} does not start" in done.stdout
    assert_in_force(device, "10.0.0.2")


def test_files_that_a_card_no_longer_brings_go_and_come_back_with_the_old_one(
    shop: Workshop, device: Device, second: Path
) -> None:
    card = shop.card("with-a-clock", answers=dataclasses.replace(FIRST, ntp="10.0.0.9"))
    clock = device.root / "etc/systemd/timesyncd.conf.d/50-mien.conf"
    device.setup(card)
    assert clock.read_text() == "[Time]\nNTP=10.0.0.9\n"
    (device.stubs / "do-not-start").write_text(f"{version_of(second)}\n")
    assert device.setup(second).returncode == 1
    assert clock.exists()
    (device.stubs / "do-not-start").unlink()
    assert device.setup(second).returncode == 0
    assert not clock.exists()


def version_of(card: Path) -> str:
    text = (card / "mien/card.json").read_text()
    return text.partition('"version": "')[2].partition('"')[0]


def copied(card: Path, to: Path) -> Path:
    """A card of its own for a trial, for the setup wipes what is on it."""
    shutil.copytree(card, to)
    return to


def killed(
    device: Device, card: Path, folder: Path, *, every: int
) -> Iterator[tuple[Device, Path]]:
    """Yield the device with a card of its own, killed before each `every`-th change it makes."""
    for number in itertools.count(1, every):
        trial, own = device.copy(folder / f"device-{number}"), folder / f"card-{number}"
        shutil.copytree(card, own)
        if trial.setup(own, kill_before=number).returncode >= 0:
            assert number > FEWEST
            return
        assert_whole(trial)
        yield trial, own


def kill_first_boots(shop: Workshop, device: Device, folder: Path, *, every: int) -> None:
    answers = Answers(
        "lobby",
        "mqtt://10.0.0.1",
        username="u",
        files={"password": b"secret\n"},
        plaintext_password=True,
    )
    card = shop.card("secret", answers=answers)
    for trial, own in killed(device, card, folder, every=every):
        again = trial.setup(own)
        assert (again.returncode, again.stderr) == (0, "")
        assert_in_force(trial, "10.0.0.1")
        assert "systemd-sysusers mien.conf" in trial.log()
        password = trial.root / "etc/mien/credentials/password"
        assert password.read_text() == "secret\n"
        assert password.stat().st_mode & 0o777 == 0o600
        assert list((own / "mien/credentials").glob("*")) == []


def kill_updates(device: Device, first: Path, second: Path, folder: Path, *, every: int) -> None:
    device.setup(first)
    before, after = device.version(), version_of(second)
    for trial, own in killed(device, second, folder, every=every):
        assert trial.version() in {before, after}
        # The machine starts again without the card; then somebody begins the update anew.
        assert trial.settle().returncode == 0
        assert_in_force(trial, "10.0.0.1" if trial.version() == before else "10.0.0.2")
        again = trial.setup(own)
        assert (again.returncode, again.stderr) == (0, "")
        assert_in_force(trial, "10.0.0.2")


def test_a_first_boot_may_be_cut_off(shop: Workshop, device: Device, tmp_path: Path) -> None:
    kill_first_boots(shop, device, tmp_path, every=31)


@pytest.mark.slow
def test_a_first_boot_may_be_cut_off_before_each_change_it_makes(
    shop: Workshop, device: Device, tmp_path: Path
) -> None:
    kill_first_boots(shop, device, tmp_path, every=1)


def test_an_update_may_be_cut_off(
    device: Device, first: Path, second: Path, tmp_path: Path
) -> None:
    kill_updates(device, first, second, tmp_path, every=31)


@pytest.mark.slow
def test_an_update_may_be_cut_off_before_each_change_it_makes(
    device: Device, first: Path, second: Path, tmp_path: Path
) -> None:
    kill_updates(device, first, second, tmp_path, every=1)


@pytest.mark.slow
def test_an_update_that_cannot_start_may_be_cut_off_too(
    device: Device, first: Path, second: Path, tmp_path: Path
) -> None:
    device.setup(first)
    (device.stubs / "do-not-start").write_text(f"{version_of(second)}\n")
    for trial, _ in killed(device, second, tmp_path, every=3):
        trial.settle()
        assert_in_force(trial, "10.0.0.1")


def test_secrets_go_where_only_root_reads_them_and_are_wiped_from_the_card(
    shop: Workshop, device: Device
) -> None:
    files = {"password": b"hunter2\n", "ca.pem": b"PEM\n"}
    wifi = Wifi("lobby net", "ab" * 32, "GB")
    answers = Answers("lobby", "mqtts://broker", username="u", files=files, wifi=wifi)
    card = shop.card("secret", answers=answers)
    assert device.setup(card).returncode == 0
    kept = device.root / "etc/mien/credentials"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == files
    network = device.root / "etc/netplan/60-mien-wifi.yaml"
    for file in (*kept.iterdir(), network):
        assert file.stat().st_mode & 0o777 == 0o600
    assert "ab" * 32 in network.read_text()
    assert {"rfkill unblock wifi", "netplan apply"} <= set(device.log())
    for file in (*card.rglob("*"), *device.stubs.iterdir()):
        if file.is_file():
            assert b"hunter2" not in file.read_bytes()
            assert b"ab" * 32 not in file.read_bytes()


def test_the_selftest_is_handed_the_credentials_as_the_unit_is(
    shop: Workshop, device: Device
) -> None:
    answers = Answers("lobby", "mqtts://broker", username="u", files={"password": b"p\n"})
    device.setup(shop.card("secret", answers=answers))
    assert (device.stubs / "handed-over").read_text().split() == ["mqtt_password"]
    assert not (device.root / "run/mien-setup/credentials").exists()
    assert 'password_file = "credential:mqtt_password"' in device.text("etc/mien/mien.toml")


def test_a_new_password_starts_the_daemon_anew(shop: Workshop, device: Device) -> None:
    for password in (b"old\n", b"new\n"):
        answers = Answers("lobby", "mqtts://broker", username="u", files={"password": password})
        card = shop.card(password.decode().strip(), answers=answers)
        assert device.setup(card).returncode == 0
    assert device.log().count("systemctl restart mien.service") == 2
    assert device.text("etc/mien/credentials/password") == "new\n"


def test_the_id_may_be_the_boards_own_number(shop: Workshop, device: Device) -> None:
    card = shop.card("any", answers=Answers("serial", "mqtt://10.0.0.1"))
    done = device.setup(card)
    assert done.returncode == 1
    assert "the board says no serial number; render the card with --device-id ID" in done.stderr
    number = device.root / "proc/device-tree/serial-number"
    number.parent.mkdir(parents=True)
    number.write_text(f"{SERIAL}\0")
    assert device.setup(card).returncode == 0
    assert f'device_id = "{SERIAL}"\n' in device.text("etc/mien/mien.toml")


@pytest.mark.parametrize(
    "text",
    ["None", "0", "0000000000000000", "Default", "Default string", "System Serial Number",
     "To be filled by O.E.M.", "To-be-filled-by-O.E.M."],
)  # fmt: skip
def test_what_stands_in_a_numbers_place_is_no_number(
    shop: Workshop, device: Device, text: str
) -> None:
    number = device.root / "sys/class/dmi/id/product_serial"
    number.parent.mkdir(parents=True)
    number.write_text(f"{text}\n")
    card = shop.card("any", answers=Answers("serial", "mqtt://10.0.0.1"))
    done = device.setup(card)
    assert done.returncode == 1
    assert "the board says no serial number" in done.stderr


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "devices.csv"
    file.write_text(f"device_id,username,password\n{SERIAL},anna,one\nother,otto,two\n")
    return file


def test_a_fleets_device_takes_its_own_credentials(
    shop: Workshop, device: Device, table: Path, tmp_path: Path
) -> None:
    out = shop.card("all", answers=Answers("fleet", "mqtts://b", fleet=fleet(table)))
    card = copied(out / "card", tmp_path / "card")
    done = device.setup(card)
    assert done.returncode == 1
    assert "no credentials: copy what is in devices/ID onto the card" in done.stderr
    shutil.copytree(out / "devices/other", card, dirs_exist_ok=True)
    assert device.setup(card).returncode == 0
    settings = device.text("etc/mien/mien.toml")
    assert 'device_id = "other"\n' in settings
    assert 'username = "otto"\n' in settings
    assert device.text("etc/mien/credentials/password") == "two\n"


def test_a_credential_that_is_no_text_is_named(shop: Workshop, device: Device, table: Path) -> None:
    out = shop.card("all", answers=Answers("fleet", "mqtts://b", fleet=fleet(table)))
    shutil.copytree(out / "devices/other", out / "card", dirs_exist_ok=True)
    file = out / "card/mien/credentials/username"
    file.write_bytes(b"\xff\xfe")
    done = device.setup(out / "card")
    assert done.returncode == 1
    assert done.stderr == f"mien-setup: {file}: not UTF-8; write it anew\n"


def test_credentials_of_another_board_are_refused(
    shop: Workshop, device: Device, table: Path
) -> None:
    answers = Answers("serial", "mqtts://b", fleet=fleet(table))
    out = shop.card("all", answers=answers)
    shutil.copytree(out / "devices/other", out / "card", dirs_exist_ok=True)
    number = device.root / "proc/device-tree/serial-number"
    number.parent.mkdir(parents=True)
    number.write_text(f"{SERIAL}\0")
    done = device.setup(out / "card")
    assert done.returncode == 1
    assert done.stderr == (
        f"mien-setup: the card's credentials are those of other, and this is {SERIAL}\n"
    )
    assert not (device.root / "etc/mien/credentials/password").exists()


def test_settings_that_a_person_changed_outlive_an_update(
    device: Device, first: Path, second: Path
) -> None:
    device.setup(first)
    file = device.root / "etc/mien/mien.toml"
    mine = file.read_text().replace('preset = "calm"', 'preset = "quick"')
    # An editor may write a new file in the place of the link.
    file.unlink()
    file.write_text(mine)
    done = device.setup(second)
    assert done.returncode == 0
    assert "/etc/mien/mien.toml is no card's and is kept" in done.stdout
    assert file.read_text() == mine
    assert 'url = "mqtt://10.0.0.2"' in device.text("opt/mien/mien.toml.card")


def test_an_installation_that_no_card_made_is_left_alone(device: Device, first: Path) -> None:
    (device.root / "opt/mien/bin").mkdir(parents=True)
    done = device.setup(first)
    assert done.returncode == 1
    assert "/opt/mien was not made by a card" in done.stderr
    assert list((device.root / "opt").iterdir()) == [device.root / "opt/mien"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda mien: next(mien.glob("wheels/numpy*")).write_bytes(b""), "missing or damaged"),
        (lambda mien: (mien / "mien.toml").unlink(), "missing or damaged"),
        (lambda mien: (mien / "card.json").write_text("{}"), "card.json: cannot be read"),
        (lambda mien: (mien / "card.json").unlink(), "card.json: cannot be read"),
    ],
)
def test_a_card_that_is_damaged_is_refused(
    device: Device, first: Path, spoil: object, said: str
) -> None:
    assert callable(spoil)
    spoil(first / "mien")
    done = device.setup(first)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (device.root / "opt").exists()


def test_a_card_for_another_python_is_refused(shop: Workshop, device: Device) -> None:
    card = shop.folder / "other"
    render.render(shop.order("jetson-orin", out=card))
    manifest = json.loads((card / "mien/card.json").read_text())
    table = {**manifest, "python": "3.9"}
    (card / "mien/card.json").write_text(json.dumps(table))
    done = device.setup(card)
    assert done.returncode == 1
    assert "the card is for Python 3.9 on aarch64 (JetPack 6" in done.stderr


def test_packages_that_the_card_brings_are_installed_first(
    shop: Workshop, device: Device, tmp_path: Path
) -> None:
    debs = tmp_path / "debs"
    debs.mkdir()
    (debs / "libedgetpu1-std_16.0_arm64.deb").write_bytes(b"deb")
    card = shop.card("coral", board="pi-5-coral-usb", debs=debs)
    assert device.setup(card).returncode == 0
    (line,) = [line for line in device.log() if line.startswith("dpkg")]
    assert line.endswith("/mien/debs/libedgetpu1-std_16.0_arm64.deb")


def test_the_firmwares_lines_come_into_config_txt_once(
    shop: Workshop, device: Device, tmp_path: Path
) -> None:
    debs = tmp_path / "debs"
    debs.mkdir()
    for name in ("libedgetpu1-std", "gasket-dkms"):
        (debs / f"{name}_1_arm64.deb").write_bytes(b"deb")
    card = shop.card("coral", board="pi-5-coral-m2", debs=debs)
    config = card / "config.txt"
    config.write_text("[pi4]\narm_boost=1\n")
    for _ in range(2):
        assert device.setup(card).returncode == 0
    assert config.read_text() == (
        "[pi4]\narm_boost=1\n\n# mien: begin\n[all]\ndtparam=pciex1\n"
        "dtoverlay=pciex1-compat-pi5,no-mip\ndtoverlay=pcie-32bit-dma-pi5\nkernel=kernel8.img\n"
        "# mien: end\n"
    )
    assert device.log().count("systemctl reboot") == 1


def test_an_update_from_elsewhere_finds_the_boot_partition_and_takes_old_lines_away(
    shop: Workshop, device: Device
) -> None:
    boot = device.root / "boot/firmware"
    boot.mkdir(parents=True)
    (boot / "config.txt").write_text("[pi4]\n\n# mien: begin\n[all]\nold=1\n# mien: end\n[all]\n")
    assert device.setup(shop.card("pi", board="pi-5")).returncode == 0
    assert (boot / "config.txt").read_text() == "[pi4]\n\n[all]\n"


def test_the_kernels_command_line_gets_the_words_that_it_lacks(
    shop: Workshop, device: Device
) -> None:
    card = shop.card("pi", board="pi-5")
    line = card / "cmdline.txt"
    line.write_bytes(b"console=tty1 root=PARTUUID=4d80-02 name=\xff rootwait\n")
    for _ in range(2):
        assert device.setup(card).returncode == 0
    words = b"console=tty1 root=PARTUUID=4d80-02 name=\xff rootwait cgroup_enable=memory\n"
    assert line.read_bytes() == words
    assert device.log().count("systemctl reboot") == 1


def test_nvidias_power_mode_is_found_by_its_name(shop: Workshop, device: Device) -> None:
    card = shop.card("orin", board="jetson-orin")
    (device.root / "etc/nvpmodel.conf").write_text(
        "< POWER_MODEL ID=0 NAME=MAXN_SUPER >\n< POWER_MODEL ID=2 NAME=15W >\n"
    )
    assert device.setup(card).returncode == 0
    assert "nvpmodel -m 2" in device.log()


def test_two_setups_do_not_run_at_once(device: Device, first: Path) -> None:
    lock = device.root / "run/mien-setup/lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = device.setup(first)
    assert done.returncode == 1
    assert done.stderr == "mien-setup: this device is being set up already\n"


def test_who_updates_the_system_can_ask_whether_it_is_well(device: Device, first: Path) -> None:
    device.setup(first)
    assert device.setup_of_its_own("--selftest").returncode == 0
    device.fails("spool", times=1)
    assert device.setup_of_its_own("--selftest").returncode == 0
    device.fails("spool")
    done = device.setup_of_its_own("--selftest")
    said = "mien-setup: the self-test failed: spool-writable: no room\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert_in_force(device, "10.0.0.1")


def test_nothing_that_is_installed_is_not_well(device: Device, first: Path) -> None:
    done = device.setup(first, "--selftest")
    assert (done.returncode, done.stderr) == (1, "mien-setup: nothing is installed\n")
