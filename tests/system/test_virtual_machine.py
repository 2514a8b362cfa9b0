"""A card in a virtual machine: what a namespace cannot show, with a kernel and disks of its own.

The card is a FAT disk that the machine mounts, its broker is on this machine, one camera is the
kernel's own test device (vivid), the other a folder of pictures of a face. Its power is cut in the
midst of an update, and its disk forgets what was not flushed. There is no boot loader, and nothing
here is as fast as on hardware. The tests are one story, in this order.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from machine import (
    HOST,
    Hardware,
    VirtualMachine,
    fat,
    powered,
    prepared,
    served,
    system,
)
from realbroker import CONTINUE, STOP, Ear, Mosquitto, eventually, figure, program

from firmware_configs.answers import wifi
from firmware_configs.board import load_board
from firmware_configs.boot import NETWORKS, wireless

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "passwd,iproute2,dosfstools,e2fsprogs,cloud-init,openssh-client,netplan.io,v4l-utils,"
    "wpasupplicant,hostapd,iw,wireless-regdb,network-manager"
)
P = "mien/lobby"
VIVID, FACES = f"{P}/camera/camera", f"{P}/camera/camera-2"
CGROUP = "/sys/fs/cgroup/system.slice/mien.service"
DRIVER = "/sys/bus/platform/drivers/vivid"
NETWORK, PASSPHRASE = 'Café de l\'Étoile: "5"', "correct horse battery"
ACCESS_POINT = f"""\
interface=wlan1
utf8_ssid=1
ssid2="{NETWORK}"
hw_mode=g
channel=1
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase={PASSPHRASE}
"""
ROUTER = """\
[Match]
Name=wlan1
[Network]
Address=10.9.0.1/24
DHCPServer=yes
"""
NETWORK_MANAGER = "etc/systemd/system/NetworkManager.service"
ONLY_THE_AIR = "[keyfile]\nunmanaged-devices=*,except:interface-name:wlan0\n"
GREEDY = "print(len(b'x' * (600 << 20)))"
"""More than the unit may have, less than the machine has."""
SETTLED_S = 5.0
"""What is older than a second, and the synchronisation then under way, survives the power."""
SPOOLED = """
import json, sqlite3
spool = sqlite3.connect("file:/var/lib/mien/spool/events.db?mode=ro", uri=True)
rows = spool.execute("SELECT event FROM events ORDER BY number")
print(json.dumps([json.loads(event)["id"] for (event,) in rows]))
"""


def flash(*arguments: str) -> None:
    """Do what a person does with mien-flash."""
    command = [sys.executable, "-m", "firmware_configs", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def render(out: Path, broker: str, role: str, *more: str) -> Path:
    """Make a card, and have it told of a face that does not change twice a second."""
    cameras = ("--camera", "v4l2:/dev/video0", "--camera", "clip:/srv/faces?fps=2")
    who = ("--board", "pc", "--role", role, "--device-id", "lobby", "--broker", broker)
    secret = out.with_name("passphrase")
    secret.write_text(PASSPHRASE)
    air = ("--wifi", NETWORK, "--wifi-password-file", str(secret), "--wifi-country", "GB")
    flash("render", *who, *cameras, *air, "--out", str(out), *more)
    settings = out / "mien/mien.toml"
    settings.write_text(settings.read_text().replace("[events]", "[events]\nheartbeat_s = 0.4"))
    flash("check", str(out), "--seal")
    return out


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker on this machine."""
    mosquitto = Mosquitto(program("mosquitto", "mosquitto"), tmp_path_factory.mktemp("broker"))
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


@pytest.fixture(scope="module")
def hardware(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hardware]:
    """A machine that was never switched on, with a card, and an update for later."""
    prepared()
    folder = tmp_path_factory.mktemp("machine")
    url = f"mqtt://{HOST}:{broker.port}"
    first = render(folder / "first", url, "kiosk")
    second = render(
        folder / "second", url, "robot", "--wheelhouse", str(folder / "first/mien/wheels")
    )
    with system(folder, PACKAGES) as root:
        furnish(root)
    cards = fat(first, folder / "card", "CIDATA"), fat(second, folder / "update", "UPDATE")
    yield Hardware(folder, cards)
    shutil.rmtree(folder)


def furnish(root: Path) -> None:
    """Give the machine its cameras: one of the kernel's, and half an hour of a face."""
    (root / "etc/modules-load.d/vivid.conf").write_text("vivid\n")
    (root / "etc/modprobe.d/vivid.conf").write_text("options vivid n_devs=1 node_types=0x1\n")
    (root / "etc/modules-load.d/wifi.conf").write_text("mac80211_hwsim\n")
    (root / "etc/hostapd/hostapd.conf").write_text(ACCESS_POINT)
    (root / "etc/systemd/network/router.network").write_text(ROUTER)
    # netplan has systemd-networkd do it; NetworkManager waits for its turn.
    (root / NETWORK_MANAGER).symlink_to("/dev/null")
    (root / "etc/NetworkManager/conf.d/air.conf").write_text(ONLY_THE_AIR)
    faces = root / "srv/faces"
    faces.mkdir()
    first = faces / "0.webp"
    first.write_bytes((ROOT / "tests/data/astronaut.webp").read_bytes())
    for number in range(1, 4000):
        (faces / f"{number}.webp").hardlink_to(first)


class Device:
    """The machine, which may lose its power and be started again."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._power = ExitStack()
        self.machine = self.start()

    def start(self) -> VirtualMachine:
        """Switch it on, and wait until Mien is ready."""
        began_s = time.monotonic()
        self.machine = self._power.enter_context(powered(self._hardware))
        awake_s = time.monotonic() - began_s
        self.machine.eventually(lambda: is_ready(self.machine), "Mien's start")
        figure(f"answers after {awake_s:.0f} s, ready after {time.monotonic() - began_s:.0f} s")
        return self.machine

    def lose_power(self) -> None:
        """End the machine and its disk at once."""
        self._power.close()

    def version(self) -> str:
        """Return the installation in force."""
        return self.machine.says("readlink", "/opt/mien").rpartition("/")[2]


@pytest.fixture(scope="module")
def ear(broker: Mosquitto) -> Iterator[Ear]:
    """Hears everything that arrives at the broker, from the beginning."""
    ear = Ear(broker.port)
    yield ear
    ear.close()


@pytest.fixture(scope="module")
def device(hardware: Hardware, ear: Ear) -> Iterator[Device]:
    """The machine after its first start with the card."""
    assert ear.heard == []
    device = Device(hardware)
    yield device
    device.lose_power()


@pytest.fixture
def machine(device: Device) -> VirtualMachine:
    return device.machine


def is_ready(machine: VirtualMachine) -> bool:
    setup = machine.run("systemctl", "is-failed", "mien-setup", check=False).stdout.strip()
    assert setup != "failed", machine.journal("mien-setup")
    return machine.run("systemctl", "is-active", "mien", check=False).stdout.strip() == "active"


def pictures(machine: VirtualMachine, ear: Ear) -> None:
    """Wait until the kernel's camera is well, and a report tells of its pictures."""
    machine.eventually(
        lambda: [each["status"] for each in ear.json(f"{VIVID}/status")][-1:] == ["ok"],
        "the camera",
    )
    before = len(ear.on(f"{P}/health"))
    machine.eventually(
        lambda: any(each["fps"]["camera"] > 0 for each in ear.json(f"{P}/health")[before:]),
        "its pictures",
    )
    figure(f"frames looked at a second: {ear.json(f'{P}/health')[-1]['fps']}")


def events(machine: VirtualMachine, ear: Ear, count: int = 1) -> None:
    """Wait for events from now on."""
    before = len(ear.on(f"{FACES}/event"))
    machine.eventually(lambda: len(ear.on(f"{FACES}/event")) >= before + count, "events")


def test_its_disk_forgets_what_was_not_flushed(tmp_path: Path) -> None:
    prepared()
    disk, at, log = (tmp_path / name for name in ("disk", "socket", "log"))
    disk.write_bytes(bytes(1 << 20))
    written = ("write -P 7 0 64k", "flush", "write -P 9 0 64k", "read -P 9 0 64k")
    steps = [part for step in (*written, "sleep 1000000") for part in ("-c", step)]
    machine = ["stdbuf", "-oL", "qemu-io", "-f", "raw", "-t", "none", *steps, f"nbd:unix:{at}"]
    with log.open("wb") as sink, ExitStack() as power:
        for command, ready in ((served(disk, at), at.exists), (machine, lambda: was_read(log))):
            process = subprocess.Popen(command, stdout=sink, stderr=sink)
            power.callback(process.wait)
            power.callback(process.kill)
            eventually(ready, "a disk that is written to")
    assert disk.read_bytes()[: 1 << 16] == bytes([7]) * (1 << 16)


def was_read(log: Path) -> bool:
    return "read 65536/65536" in log.read_text()


def test_the_card_boots_to_ready(device: Device, machine: VirtualMachine) -> None:
    assert machine.says("findmnt", "-n", "-o", "FSTYPE,LABEL", "/boot/firmware").split() == [
        *("vfat", "CIDATA")
    ]
    journal = machine.journal("mien-setup")
    sys.stdout.write(journal)
    assert f"{device.version()} is in force" in journal
    assert machine.shows("mien", "User") == "mien"
    assert machine.says("hostname") == "lobby"
    status = machine.run("cloud-init", "status", "--wait", "--long", check=False).stdout
    assert "errors: []" in status, status
    assert machine.says("stat", "-L", "-c", "%a %G", "/etc/mien/mien.toml") == "640 mien"


def joined(machine: VirtualMachine) -> bool:
    """Whether a wireless network has let the machine in, and given it an address."""
    return "10.9.0." in machine.says("ip", "-4", "-brief", "address", "show", "wlan0")


def test_the_cards_wireless_network_is_joined(machine: VirtualMachine) -> None:
    machine.eventually(lambda: joined(machine), "an address of the access point")
    assert "country GB" in machine.says("iw", "reg", "get")


def test_network_manager_joins_it_with_what_older_images_get(machine: VirtualMachine) -> None:
    machine.run("systemctl", "stop", "netplan-wpa-wlan0")
    machine.run("sh", "-c", "rm /run/systemd/network/*wlan0*; networkctl reload")
    machine.run("ip", "address", "flush", "dev", "wlan0")
    assert not joined(machine)
    image = load_board("pi-4").images["bookworm"]
    places, reload = NETWORKS[image.boot]
    for name, content in wireless(image, wifi(NETWORK, PASSPHRASE, "GB")).items():
        write = 'umask 077; printf %s "$1" >"$0"'
        machine.run("sh", "-c", write, f"/{places[name]}", content.decode())
    machine.run("sh", "-c", f"rm /{NETWORK_MANAGER}; systemctl daemon-reload")
    machine.run("systemctl", "start", "NetworkManager")
    # netplan has told it to leave the device alone.
    machine.run("nmcli", "device", "set", "wlan0", "managed", "yes")
    machine.run(*reload)
    machine.eventually(lambda: joined(machine), "an address of the access point")
    assert "mien-wifi" in machine.says("nmcli", "-g", "NAME", "connection", "show", "--active")
    machine.run("systemctl", "stop", "NetworkManager")


def test_a_broker_elsewhere_hears_of_it(machine: VirtualMachine, ear: Ear) -> None:
    events(machine, ear, 2)
    assert ear.texts(f"{P}/availability")[-1] == "online"
    checks = {check["name"]: check["verdict"] for check in ear.json(f"{P}/selftest")[-1]["checks"]}
    assert checks["bundles"] == checks["golden-frame"] == checks["golden-head"] == "passed"


def test_a_camera_of_the_kernel_is_read(machine: VirtualMachine, ear: Ear) -> None:
    pictures(machine, ear)


def test_unplugged_it_is_missed_and_under_another_number_it_is_found(
    machine: VirtualMachine, ear: Ear
) -> None:
    before = machine.shows("mien", "MainPID")
    # While somebody holds the old device open, its number is not free.
    hold = ("systemd-run", "--unit=holder", "--service-type=exec")
    machine.run(*hold, "sh", "-c", "exec 3</dev/video0; exec sleep infinity")
    machine.run("v4l2-ctl", "-d", "/dev/video0", "-c", "disconnect=1")
    machine.eventually(
        lambda: ear.json(f"{VIVID}/status")[-1]["status"] in {"stalled", "reconnecting"},
        "the loss of the camera",
    )
    figure(f"unplugged: {ear.json(f'{VIVID}/status')[-1]['reason']}")
    machine.run("sh", "-c", f"echo vivid.0 >{DRIVER}/unbind; echo vivid.0 >{DRIVER}/bind")
    machine.eventually(
        lambda: machine.says("sh", "-c", "echo /dev/video*") == "/dev/video1", "another number"
    )
    pictures(machine, ear)
    assert "its device is now /dev/video1" in machine.journal("mien")
    assert machine.shows("mien", "MainPID") == before


def test_the_unit_has_no_more_memory_than_it_may(machine: VirtualMachine) -> None:
    peak = int(machine.says("cat", f"{CGROUP}/memory.peak"))
    assert machine.says("cat", f"{CGROUP}/memory.max") == str(512 << 20)
    figure(f"the unit had {peak / 1e6:.0f} MB at most so far")
    before = int(machine.shows("mien", "NRestarts"))
    assert machine.says("python3", "-c", GREEDY) == str(600 << 20)
    join = f'echo $$ >{CGROUP}/cgroup.procs && exec python3 -c "$0"'
    assert machine.run("sh", "-c", join, GREEDY, check=False).returncode < 0
    machine.eventually(
        lambda: (
            int(machine.shows("mien", "NRestarts")) == before + 1
            and machine.shows("mien", "ActiveState") == "active"
        ),
        "a second life",
    )
    assert "killed by the OOM killer" in machine.journal("mien")
    assert "Memory cgroup out of memory" in machine.says("journalctl", "-b", "-k", "--no-pager")


def spooled(machine: VirtualMachine) -> list[str]:
    """Return the events that the broker has not acknowledged, in order."""
    ids: list[str] = json.loads(machine.says("python3", "-c", SPOOLED))
    return ids


def heard(ear: Ear) -> dict[str, bool]:
    """Return every event that arrived by its id, and whether it was ever replayed."""
    found: dict[str, bool] = {}
    messages = [each for each in list(ear.heard) if each.topic.endswith("/event")]
    for event in map(json.loads, (each.payload for each in messages)):
        found[event["id"]] = found.get(event["id"], False) or event["replayed"]
    return found


def test_the_power_is_cut_in_an_update_and_the_old_version_comes_back_with_every_event(
    device: Device, hardware: Hardware, broker: Mosquitto, ear: Ear
) -> None:
    machine, before = device.machine, device.version()
    events(machine, ear)
    other = json.loads((hardware.folder / "second/mien/card.json").read_text())["version"]
    half_made = f"/opt/mien-versions/{other}"
    machine.run("mount", "-o", "ro", "LABEL=UPDATE", "/mnt")
    machine.run("systemd-run", "--unit=update", "python3", "-B", "/mnt/mien/setup")
    machine.eventually(
        lambda: machine.run("test", "-e", f"{half_made}/bin/mien", check=False).returncode == 0,
        "the update's beginning",
    )
    broker.signal(STOP)
    machine.eventually(lambda: len(spooled(machine)) >= 5, "events that wait")
    waiting = spooled(machine)
    time.sleep(SETTLED_S)
    assert machine.run("test", "-e", f"{half_made}/complete", check=False).returncode != 0
    assert machine.shows("update", "ActiveState") == "active"
    device.lose_power()
    broker.signal(CONTINUE)

    machine = device.start()
    assert device.version() == before
    assert machine.run("test", "-e", f"{half_made}/complete", check=False).returncode != 0
    assert "skipped, unmet condition" in machine.journal("mien-setup")
    assert machine.says("cat", "/sys/module/cfg80211/parameters/ieee80211_regdom") == "GB"
    machine.eventually(lambda: set(waiting) <= heard(ear).keys(), "what waited")
    assert all(heard(ear)[each] for each in waiting)
    process, _, newest = waiting[-1].rpartition("-")
    missing = {f"{process}-{number}" for number in range(1, int(newest) + 1)} - heard(ear).keys()
    assert missing == set()
    figure(f"{newest} events before the cut, {len(waiting)} waited, none is missing")
