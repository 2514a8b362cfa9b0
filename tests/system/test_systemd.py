"""Mien as a service of a real systemd: installed from its wheel, confined, watched, taken away.

A Debian boots in a namespace; `mien install --system` puts the daemon there, with a folder of
pictures for a camera and a real mosquitto. There are no devices and no limits of memory in such a
machine: that cameras can be opened, and that `MemoryMax` holds, is not shown here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nspawn import Machine, booted, build, in_memory, prepared

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,udev,passwd,iproute2,python3,python3-venv,"
    "mosquitto,mosquitto-clients"
)
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
SUITES = {"bookworm": "311", "trixie": "313"}
"""Releases of Debian and their Python; MIEN_DEBIAN="bookworm trixie" tries both."""
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
MIEN = "/opt/mien/bin/mien"
BROKER, STRANGER = "10.9.9.2", "10.9.9.1"
PASSWORD = "correct-horse-battery"  # noqa: S105  # of a broker that lives for a minute
DROP_IN = "/etc/systemd/system/mien.service.d/99-test.conf"
CAMERA = "clip:/srv/faces?fps=4"

MOSQUITTO = f"""
allow_anonymous false
password_file /etc/mosquitto/passwd
listener 1883 {BROKER}
listener 1883 {STRANGER}
listener 1883 127.0.0.1
"""
CONFIG = f"""
device_id = "lobby"
[[camera]]
uri = "{CAMERA}"
[events]
heartbeat_s = 0.5
[mqtt]
url = "mqtt://{BROKER}"
username = "kiosk"
password_file = "credential:mqtt_password"
allow_plaintext_password = true
"""
PROBE = f"""
import ctypes, json, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)

def connect(host):
    with socket.socket() as s:
        s.settimeout(1.5)
        s.connect((host, 1883))

def send(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (host, 9))

TRIALS = {{
    "write /etc": lambda: open("/etc/mien-probe", "w"),
    "write /opt/mien": lambda: open("/opt/mien/mien-probe", "w"),
    "write /usr": lambda: open("/usr/mien-probe", "w"),
    "write /var/lib": lambda: open("/var/lib/mien-probe", "w"),
    "write where anybody may": lambda: open("/srv/open/probe", "w"),
    "write its state": lambda: open("/var/lib/mien/probe", "w"),
    "read /home": lambda: os.listdir("/home/joe"),
    "read what others keep in /tmp": lambda: open("/tmp/others"),
    "read the secrets": lambda: os.listdir("/etc/mien/credentials"),
    "read its configuration": lambda: open("/etc/mien/mien.toml"),
    "open a device": lambda: open("/dev/net/tun"),
    "open /dev/null": lambda: open("/dev/null"),
    "reach the broker": lambda: connect("{BROKER}"),
    "reach this machine": lambda: connect("127.0.0.1"),
    "reach a stranger": lambda: connect("{STRANGER}"),
    "tell a stranger": lambda: send("{STRANGER}"),
    "read packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, 0),
    "make a namespace": lambda: call("unshare", 0x20000),
    "trace": lambda: call("ptrace", 0, 0, 0, 0),
    "write and execute memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "give way to others": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "see other processes": lambda: os.stat("/proc/1/status"),
}}
done = []
for name, trial in TRIALS.items():
    try:
        trial()
        done.append(name)
    except OSError:
        pass
print(json.dumps(done))
"""
ALLOWED = {
    "write its state",
    "read its configuration",
    "open /dev/null",
    "reach the broker",
    "reach this machine",
    "give way to others",
}


@dataclass(frozen=True)
class Suite:
    """A release of Debian, and the Python it brings."""

    name: str
    python: str


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    (made,) = folder.glob("mien-*.whl")
    return made


@pytest.fixture(
    scope="module",
    params=[Suite(name, SUITES[name]) for name in os.environ.get("MIEN_DEBIAN", "trixie").split()],
    ids=lambda suite: suite.name,
)
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path
) -> Iterator[Machine]:
    """A booted Debian with Mien in /opt/mien and pictures to look at, and nothing installed."""
    prepared()
    suite: Suite = request.param
    root = tmp_path_factory.mktemp(suite.name) / "root"
    with in_memory(root):
        build(root, suite.name, PACKAGES)
        fetch(root / "srv/wheels", wheel, suite.python)
        picture(root / "srv/faces")
        with booted(root) as machine:
            install_wheel(machine)
            furnish(machine)
            yield machine


def picture(faces: Path) -> None:
    """Make a recording of a face that lasts for minutes."""
    faces.mkdir()
    first = faces / "0.webp"
    first.write_bytes((ROOT / "tests/data/astronaut.webp").read_bytes())
    for number in range(1, 2000):
        (faces / f"{number}.webp").hardlink_to(first)


def install_wheel(machine: Machine) -> None:
    """Do what the README says, but for where the wheels come from."""
    machine.run("python3", "-m", "venv", "/opt/mien")
    pip = ("/opt/mien/bin/pip", "install", "--no-index", "--find-links", "/srv/wheels")
    machine.run(*pip, "mien")


def fetch(folder: Path, wheel: Path, python: str) -> None:
    """Put the wheels that a machine needs into a folder, for it has no network."""
    folder.mkdir()
    shutil.copy(wheel, folder)
    platforms = [f"--platform={each}_x86_64" for each in PLATFORMS]
    kind = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]
    subprocess.run([*PIP, "download", "-d", str(folder), *kind, str(wheel)], check=True)


def furnish(machine: Machine) -> None:
    """Give the machine its addresses, a broker that wants a password, and somebody to log in."""
    for address in (BROKER, STRANGER):
        machine.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    machine.write("/etc/mosquitto/conf.d/lobby.conf", MOSQUITTO)
    machine.run("mosquitto_passwd", "-b", "-c", "/etc/mosquitto/passwd", "kiosk", PASSWORD)
    machine.run("chown", "mosquitto", "/etc/mosquitto/passwd")
    machine.run("systemctl", "restart", "mosquitto")
    machine.write("/srv/probe.py", PROBE)
    machine.run("useradd", "--create-home", "--shell", "/bin/sh", "--groups", "video", "joe")
    # The pictures are open to those who may use cameras, as the devices would be.
    machine.run("chgrp", "video", "/srv/faces")
    machine.run("chmod", "750", "/srv/faces")
    # What only the sandbox keeps from a user who is not root.
    machine.run("chmod", "755", "/home/joe")
    machine.run("install", "-d", "-m", "777", "/srv/open")
    machine.run("touch", "/tmp/others")  # noqa: S108  # of a machine that lasts a minute


@pytest.fixture
def mien(machine: Machine) -> Machine:
    """The machine with Mien installed, running and as new."""
    machine.remove(DROP_IN)
    if not (machine.root / "etc/mien/mien.toml").exists():
        machine.run(MIEN, "install", "--system", "--yes")
    machine.edit("/etc/mien/mien.toml", CONFIG)
    machine.write("/etc/mien/credentials/password", f"{PASSWORD}\n", 0o600)
    # Once more, for the address of the broker.
    machine.run(MIEN, "install", "--system", "--yes")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", "mien")
    machine.run("systemctl", "restart", "mien")
    return machine


def limits(machine: Machine, *lines: str) -> None:
    """Shorten what the unit waits for; everything else stays as it ships."""
    machine.write(DROP_IN, "\n".join(["[Service]", *lines, ""]))
    machine.run("systemctl", "daemon-reload")


def status(machine: Machine) -> dict[str, str]:
    """What the kernel says of the daemon's process."""
    text = machine.says("cat", f"/proc/{machine.shows('mien', 'MainPID')}/status")
    return {
        key: value.strip() for key, _, value in (each.partition(":") for each in text.split("\n"))
    }


def probed(machine: Machine) -> set[str]:
    """What a program can do in the place of the daemon: the unit as installed, another program."""
    unit = machine.says("cat", "/etc/systemd/system/mien.service")
    lines = [line for line in unit.splitlines() if not line.startswith(("Restart", "Watchdog"))]
    probe = "\n".join(lines).replace(f"{MIEN} run", "/opt/mien/bin/python /srv/probe.py")
    machine.write("/etc/systemd/system/probe.service", probe.replace("=notify", "=oneshot"))
    drop_in = machine.says("cat", "/etc/systemd/system/mien.service.d/50-mien.conf")
    machine.write("/etc/systemd/system/probe.service.d/50-mien.conf", drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "probe")
    for left in ("probe.service", "probe.service.d"):
        machine.remove(f"/etc/systemd/system/{left}")
    said = [line for line in machine.journal("probe").splitlines() if line.startswith("[")]
    return set(json.loads(said[-1]))


def heard(machine: Machine, topic: str, count: int = 1) -> list[str]:
    """The next messages on a topic, from a subscriber that knows the password."""
    login = ("-u", "kiosk", "-P", PASSWORD, "-h", BROKER)
    wanted = ("-C", str(count), "-W", "30", "-t", topic)
    done = machine.run("mosquitto_sub", *login, *wanted, check=False)
    if done.returncode != 0:
        status = machine.run("systemctl", "status", "--no-pager", "mien", "mosquitto", check=False)
        log = machine.says("tail", "-n", "30", "/var/log/mosquitto/mosquitto.log")
        raise AssertionError(f"nothing on {topic}: {done.stderr}\n{status.stdout}\n{log}")
    return done.stdout.splitlines()


def test_it_is_ready_enabled_and_not_root(mien: Machine) -> None:
    assert mien.says("systemctl", "is-active", "mien") == "active"
    assert mien.says("systemctl", "is-enabled", "mien") == "enabled"
    assert mien.shows("mien", "StatusText") != ""
    assert mien.shows("mien", "WatchdogUSec") == "30s"
    assert mien.shows("mien", "User") == "mien"
    assert status(mien)["Uid"].split()[0] == mien.says("id", "-u", "mien")


def test_what_belongs_to_the_group_of_cameras_is_open_to_it(mien: Machine) -> None:
    refused = mien.run("runuser", "-u", "nobody", "--", "ls", "/srv/faces", check=False)
    assert "Permission denied" in refused.stderr
    mien.eventually(
        lambda: "camera ok" in mien.shows("mien", "StatusText"), "the camera's pictures"
    )


def test_events_arrive_for_which_a_secret_was_needed(mien: Machine) -> None:
    anonymous = mien.run("mosquitto_sub", "-h", BROKER, "-t", "#", "-W", "5", check=False)
    assert "not authorised" in anonymous.stderr.lower()
    first, second = (json.loads(line) for line in heard(mien, "mien/lobby/camera/camera/event", 2))
    assert first["schema"] == "mien-event/1"
    assert second["seq"] > first["seq"]


def test_the_secret_is_in_no_command_line_environment_property_or_log(mien: Machine) -> None:
    heard(mien, "mien/lobby/availability")
    process = f"/proc/{mien.shows('mien', 'MainPID')}"
    places = {
        "command line": mien.says("cat", f"{process}/cmdline"),
        "environment": mien.says("cat", f"{process}/environ"),
        "properties": mien.says("systemctl", "show", "mien"),
        "log": mien.says("journalctl", "-b", "--no-pager"),
        "status": mien.says("systemctl", "status", "--no-pager", "mien"),
    }
    assert "CREDENTIALS_DIRECTORY" in places["environment"]
    assert [name for name, text in places.items() if PASSWORD in text] == []


def test_only_the_daemon_and_root_can_read_the_secret(mien: Machine) -> None:
    folder = "/run/credentials/mien.service"
    assert mien.says("ls", folder) == "mqtt_password"
    for path in (folder, "/etc/mien/credentials", "/etc/mien/mien.toml"):
        refused = mien.run("runuser", "-u", "joe", "--", "cat", path, check=False)
        assert "Permission denied" in refused.stderr


def test_a_secret_that_is_missing_is_named_and_is_not_asked_for_again_and_again(
    mien: Machine,
) -> None:
    mien.remove("/etc/mien/credentials/password")
    assert mien.run("systemctl", "restart", "mien", check=False).returncode != 0
    assert mien.shows("mien", "ExecMainStatus") == "78"
    assert "credential:mqtt_password: not among the credentials" in mien.journal("mien")


def test_without_secrets_nothing_is_missed(mien: Machine) -> None:
    mien.remove("/etc/mien/credentials/password")
    mien.edit("/etc/mien/mien.toml", f'[[camera]]\nuri = "{CAMERA}"\n')
    mien.run("systemctl", "restart", "mien")
    assert mien.says("systemctl", "is-active", "mien") == "active"


def test_the_sandbox_is_on(mien: Machine) -> None:
    kernel = status(mien)
    assert kernel["NoNewPrivs"] == "1"
    assert kernel["Seccomp"] == "2"
    assert {kernel[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    devices = mien.shows("mien", "DeviceAllow")
    kinds = ("video4linux", "media", "dma_heap", "usb_device", "apex")
    assert all(f"char-{kind} rw" in devices for kind in kinds)
    # ProtectClock= lets the clock be read.
    assert {each.split()[0] for each in devices.split("char-")[1:]} == {*kinds, "rtc"}
    allowed = set(mien.shows("mien", "IPAddressAllow").split())
    assert allowed == {"127.0.0.0/8", "::1/128", f"{BROKER}/32"}
    cores = mien.says("cat", f"/proc/{mien.shows('mien', 'MainPID')}/limits")
    assert "Max core file size        0                    0" in cores


def test_what_the_daemon_does_not_need_it_cannot_do(mien: Machine) -> None:
    free = set(json.loads(mien.says("/opt/mien/bin/python", "/srv/probe.py")))
    mien.run("sh", "-c", "rm -f /etc/mien-probe /usr/mien-probe /opt/mien/mien-probe /srv/open/*")
    mien.run("sh", "-c", "rm -f /var/lib/mien-probe /var/lib/mien/probe; umount /mnt")
    sys.stdout.write(f"without the unit root can also: {', '.join(sorted(free - ALLOWED))}\n")
    assert len(free - ALLOWED) > 15
    assert probed(mien) == ALLOWED


def test_one_that_hangs_is_killed_and_begins_anew(mien: Machine) -> None:
    limits(mien, "WatchdogSec=5", "RestartSec=100ms")
    mien.run("systemctl", "restart", "mien")
    before = mien.shows("mien", "MainPID")
    mien.run("sh", "-c", f"kill -STOP {before}")
    mien.eventually(lambda: mien.shows("mien", "NRestarts") == "1", "a restart")
    mien.eventually(lambda: mien.shows("mien", "ActiveState") == "active", "a second life")
    assert mien.shows("mien", "MainPID") != before
    assert "Watchdog timeout" in mien.journal("mien")


def test_a_failure_is_tried_again_and_a_wrong_configuration_is_not(mien: Machine) -> None:
    limits(mien, "RestartSec=100ms")
    mien.edit("/etc/mien/mien.toml", CONFIG.replace("/srv/faces", "/srv/nothing"))
    mien.run("systemctl", "restart", "mien", check=False)
    mien.eventually(lambda: int(mien.shows("mien", "NRestarts")) >= 2, "restarts")
    mien.run("systemctl", "stop", "mien")
    mien.run("systemctl", "reset-failed", "mien", check=False)
    mien.edit("/etc/mien/mien.toml", "devise_id = 1\n")
    assert mien.run("systemctl", "restart", "mien", check=False).returncode != 0
    time.sleep(2)
    assert mien.shows("mien", "NRestarts") == "0"
    assert mien.shows("mien", "ExecMainStatus") == "78"
    assert mien.shows("mien", "ActiveState") == "failed"
    assert "devise_id: unknown key; did you mean 'device_id'?" in mien.journal("mien")


def test_the_timer_has_the_daemon_test_itself(mien: Machine) -> None:
    assert mien.says("systemctl", "is-active", "mien-selftest.timer") == "active"
    heard(mien, "mien/lobby/camera/camera/event")
    before = json.loads(heard(mien, "mien/lobby/selftest")[0])
    mien.run("systemctl", "start", "mien-selftest")
    after = [json.loads(each) for each in heard(mien, "mien/lobby/selftest", 2)][-1]
    assert after["ts"] > before["ts"]
    assert {check["name"]: check["verdict"] for check in after["checks"]}[
        "broker-puback"
    ] == "passed"
    assert mien.shows("mien", "NRestarts") == "0"


def test_a_reload_puts_an_edited_configuration_in_force(mien: Machine) -> None:
    heard(mien, "mien/lobby/camera/camera/event")
    before = mien.shows("mien", "MainPID")
    mien.edit("/etc/mien/mien.toml", CONFIG.replace('uri = "', 'name = "door"\nuri = "'))
    mien.run("systemctl", "reload", "mien")
    heard(mien, "mien/lobby/camera/door/event")
    assert mien.shows("mien", "MainPID") == before


def test_it_stops_within_five_seconds_and_says_goodbye(mien: Machine) -> None:
    heard(mien, "mien/lobby/camera/camera/event")
    began_s = time.monotonic()
    mien.run("systemctl", "stop", "mien")
    took_s = time.monotonic() - began_s
    sys.stdout.write(f"stopped in {took_s:.2f} s\n")
    assert took_s < 5
    assert mien.shows("mien", "Result") == "success"
    assert mien.shows("mien", "ExecMainStatus") == "0"
    assert heard(mien, "mien/lobby/availability") == ["offline"]


def test_systemd_and_udev_of_this_release_find_nothing_to_say(mien: Machine) -> None:
    units = [f"/etc/systemd/system/{name}" for name in ("mien.service", "mien-selftest.timer")]
    verified = mien.run("systemd-analyze", "verify", *units)
    assert (verified.stdout, verified.stderr) == ("", "")
    judged = mien.says("systemd-analyze", "security", "--no-pager", "--threshold=15", "mien")
    sys.stdout.write(f"{judged.splitlines()[-1]}\n")
    # Until systemd 254 there was nothing to check udev's rules with.
    if "verify" in mien.says("udevadm", "--help"):
        mien.run("udevadm", "verify", "/etc/udev/rules.d/70-mien.rules")


def test_once_taken_away_nothing_is_left(mien: Machine) -> None:
    def everything() -> set[str]:
        found = mien.says("find", "/etc", "/var/lib", "/run", "-xdev", "-iname", "*mien*")
        return set(found.splitlines())

    mien.remove(DROP_IN)
    assert "/var/lib/mien" in everything()
    mien.run(MIEN, "uninstall", "--system", "--yes")
    assert everything() == {"/etc/mien", "/etc/mien/mien.toml", "/var/lib/mien", "/run/mien"}
    assert mien.says("id", "-un", "mien") == "mien"
    mien.run(MIEN, "uninstall", "--system", "--yes", "--purge")
    assert everything() == set()
    assert mien.run("id", "mien", check=False).returncode != 0
    assert mien.run("systemctl", "cat", "mien", check=False).returncode != 0
    left = mien.run("grep", "-rl", "mien", "/etc", check=False).stdout.split()
    assert [file for file in left if not file.endswith("-")] == []


def test_a_login_can_have_it_without_root(machine: Machine) -> None:
    uid = machine.says("id", "-u", "joe")
    machine.run("systemctl", "start", f"user@{uid}")
    environ = ("env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "HOME=/home/joe")
    joe = ("runuser", "-u", "joe", "--", *environ)
    machine.run(*joe, MIEN, "install", "--user", "--yes", "--camera", CAMERA)
    assert machine.says(*joe, "systemctl", "--user", "is-active", "mien") == "active"
    process = machine.says(*joe, "systemctl", "--user", "show", "--value", "-p", "MainPID", "mien")
    text = machine.says("cat", f"/proc/{process}/status")
    assert "NoNewPrivs:\t1" in text
    assert "Seccomp:\t2" in text
    machine.run(*joe, MIEN, "uninstall", "--user", "--yes", "--purge")
    assert machine.says("find", "/home/joe", "-name", "*mien*") == ""
