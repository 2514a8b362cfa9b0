"""A bundle for a bug report has what helps, and nothing of who and where."""

from __future__ import annotations

import io
import json
import os
import resource
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from paho.mqtt.publish import multiple
from realbroker import Ear, Mosquitto, free_port, program

from edge import support
from edge.errors import MienError
from edge.support import archive, identity, parts
from edge.support.redaction import Redactor

ROOT = Path(__file__).parents[2]
NAMES = [
    "README.txt",
    "versions.txt",
    "configuration.toml",
    "broker.json",
    "selftest.txt",
    "log.txt",
]
DEVICE = "lobby-adlon"
PASSWORD = "c0rrect-horse"  # noqa: S105  # planted, to be looked for
BASE = f"hotelgroup/mien/{DEVICE}"

OPENCV = version("opencv-python-headless")
"""Four numbers, as an address has."""

PLANTED = (
    DEVICE, PASSWORD, "hotelgroup", "reception-desk", "broker-user", "mqtt-adlon", "pw-of-adlon",
    "camviewer", "hunter2/x", "hunter2", "10.20.30.40", "cam-7.adlon.example", "adlon", "hallway",
    "SN99887766", "192.168.77.5", "fe80::1234:5678:9abc:def0", "b8:27:eb:12:34:56",
    "AdlonGuestWiFi", "ada.lovelace", "lovelace", "ada@hotel.example", "Rezeption Süd",
    "s3cr3t-in-log", "10.9.8.7",
)  # fmt: skip
"""What must be in no member, whatever case it is written in."""

CONFIG = """
device_id = "lobby-adlon"
[[camera]]
name = "reception-desk"
uri = "rtsp://camviewer:hunter2/x@cam-7.adlon.example:8554/hallway?auth=hunter2"
[[camera]]
name = "back"
uri = "v4l2:/dev/v4l/by-id/usb-Acme_Cam_SN99887766-video-index0"
[[camera]]
name = "clip"
uri = "clip:{folder}/Rezeption Süd.mp4?pace=fast"
[mqtt]
url = "{url}"
prefix = "hotelgroup/mien"
username = "broker-user"
password_file = "{folder}/pw-of-adlon"
[spool]
path = "{folder}/mqtt-adlon-spool"
"""

HEALTH = {
    "schema": "mien-health/1",
    "uptime_s": 4711.5,
    "fps": {"reception-desk": 14.2},
    "problems": [
        {
            "code": "camera-away",
            "text": "reception-desk: camera rtsp://***@cam-7.adlon.example:8554/hallway: "
            "192.168.77.5 port 8554 cannot be reached from fe80::1234:5678:9abc:def0",
            "since": "2026-11-21T10:18:23.887Z",
        }
    ],
}

LOG = (
    "mqtt: mqtt-adlon:1883: it refuses us; trying again",
    "camera reception-desk: rtsp://camviewer:hunter2/x@cam-7.adlon.example/hallway is away",
    "wlan0: associated with ssid 'AdlonGuestWiFi', b8:27:eb:12:34:56, 10.20.30.40/24",
    "spool: /home/ada.lovelace/mien/spool: No space left on device",
    "sudo: ADA.LOVELACE : COMMAND=/usr/bin/mien; password=s3cr3t-in-log mail ada@hotel.example",
    f"publishing to {BASE}/health as mien-{DEVICE} from ::ffff:10.9.8.7",
    f"bundle mien-consensus@2+436955897bc5; opencv {OPENCV}; watchdog at 17:42:02",
)

JOURNALCTL = """#!/bin/sh
cat {folder}/journal.json
"""


def entry(text: str) -> str:
    return json.dumps(
        {
            "__REALTIME_TIMESTAMP": "1795256503000000",
            "__CURSOR": "s=adlon;i=1",
            "_HOSTNAME": "lobby-adlon",
            "PRIORITY": "4",
            "MESSAGE": text,
        }
    )


def mien(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environ},
    )


def members(file: Path) -> dict[str, str]:
    with tarfile.open(file) as opened:
        found = {}
        for each in opened.getmembers():
            content = opened.extractfile(each)
            assert content is not None
            found[each.name.removeprefix("mien-support/")] = content.read().decode()
        return found


def leaks(file: Path) -> list[str]:
    """What was planted and is still there, in names, headers or texts of an archive."""
    with tarfile.open(file) as opened:
        assert opened.fileobj is not None
        opened.fileobj.seek(0)
        raw = opened.fileobj.read().decode(errors="replace").casefold()  # type: ignore[attr-defined]
    return [each for each in PLANTED if each.casefold() in raw]


@pytest.fixture(scope="module")
def hotel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A configuration, a broker that wants a password, a journal: all full of names."""
    folder = tmp_path_factory.mktemp("hotel")
    (folder / "pw-of-adlon").write_text(PASSWORD + "\n")
    users = folder / "users"
    subprocess.run(
        [program("mosquitto_passwd", "mosquitto"), "-b", "-c", users, "broker-user", PASSWORD],
        check=True,
        capture_output=True,
    )
    lines = f"allow_anonymous false\npassword_file {users}"
    broker = Mosquitto(program("mosquitto", "mosquitto"), folder, lines)
    broker.start()
    (folder / "mien.toml").write_text(CONFIG.format(folder=folder, url=broker.url))
    (folder / "journal.json").write_text("".join(f"{entry(line)}\n" for line in LOG))
    (folder / "bin").mkdir()
    journalctl = folder / "bin" / "journalctl"
    journalctl.write_text(JOURNALCTL.format(folder=folder))
    journalctl.chmod(0o755)
    told = {"availability": "online", "health": json.dumps(HEALTH), "camera/back/state": "{}"}
    multiple(
        [(f"{BASE}/{name}", payload, 1, True) for name, payload in told.items()],
        port=broker.port,
        auth={"username": "broker-user", "password": PASSWORD},
    )
    yield folder
    broker.kill()


@pytest.fixture(scope="module")
def bundle(hotel: Path) -> Path:
    """What `mien support` makes of it."""
    done = mien(
        "support", "--config", "mien.toml", "--out", "report.tar.gz",
        cwd=hotel, PATH=f"{hotel}/bin:/usr/bin:/bin", SUDO_USER="ada.lovelace",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not [each for each in PLANTED if each.casefold() in done.stdout.casefold()]
    return hotel / "report.tar.gz"


def test_none_of_the_secrets_and_names_is_in_any_member(bundle: Path) -> None:
    assert list(members(bundle)) == NAMES
    assert leaks(bundle) == []


def test_what_helps_is_still_there(bundle: Path) -> None:
    found = members(bundle)
    health = json.loads(found["broker.json"])["health"]
    assert health["uptime_s"] == 4711.5
    assert health["problems"][0]["code"] == "camera-away"
    assert "golden-frame" in found["selftest.txt"]
    assert "numpy: " in found["versions.txt"]
    log = found["log.txt"].splitlines()
    assert len(log) == len(LOG)
    assert log[0].startswith("2026-11-21T")
    assert " warning " in log[0]
    assert log[3].endswith("spool: /home/***: No space left on device")
    assert log[6].endswith(LOG[6])


def test_one_thing_has_one_name_throughout(bundle: Path) -> None:
    found = members(bundle)
    (camera,) = json.loads(found["broker.json"])["health"]["fps"]
    assert camera == "camera-1"
    assert 'name = "camera-1"' in found["configuration.toml"]
    assert "camera camera-1: rtsp://***@host-1/*** is away" in found["log.txt"]
    assert 'uri = "rtsp://***@host-1:8554/***"' in found["configuration.toml"]
    assert 'device_id = "device-1"' in found["configuration.toml"]
    assert "as mien-device-1 from" in found["log.txt"]


def test_nothing_of_who_is_in_view_is_taken_and_no_picture(bundle: Path) -> None:
    assert set(json.loads(members(bundle)["broker.json"])) == {"availability", "health"}


def test_a_running_daemon_keeps_its_cameras_and_the_broker_its_report(
    tmp_path: Path, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    multiple([("mien/lobby/availability", "online", 1, True)], port=broker.port)
    (tmp_path / "mien.toml").write_text(
        f'device_id = "lobby"\n[mqtt]\nurl = "{broker.url}"\n[[camera]]\nuri = "v4l2:/dev/video0"\n'
    )
    ear = ears(broker)
    assert mien("support", "--config", "mien.toml", "--out", "a.tgz", cwd=tmp_path).returncode == 0
    table = members(tmp_path / "a.tgz")["selftest.txt"]
    assert "skipped  the daemon has the cameras" in table
    assert "broker-round-trip" in table
    assert "camera-camera" not in table
    assert not ear.on("mien/lobby/selftest")


@pytest.mark.slow
def test_where_no_daemon_runs_the_whole_self_test_does_and_publishes_no_report(
    tmp_path: Path, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    ear = ears(broker)
    (tmp_path / "mien.toml").write_text(f'device_id = "lobby"\n[mqtt]\nurl = "{broker.url}"\n')
    assert mien("support", "--config", "mien.toml", "--out", "a.tgz", cwd=tmp_path).returncode == 0
    table = members(tmp_path / "a.tgz")["selftest.txt"]
    assert "latency-busy-total" in table
    assert ear.on("mien/lobby/selftest/probe")
    assert not ear.on("mien/lobby/selftest")


BROKEN = {
    "no file": None,
    "no TOML": f'device_id = "{DEVICE}"\n[mqtt\npassword = {PASSWORD}\n',
    "a wrong key": f'device_id = "{DEVICE}"\n[mqtt]\npassword = "{PASSWORD}"\n',
    "a wrong value": f'device_id = "{DEVICE}"\n[events]\npreset = "{PASSWORD}"\n',
    "a password in the broker's URL": f'[mqtt]\nurl = "mqtt://u5er:{PASSWORD}@{DEVICE}"\n',
    "a camera without its scheme": f'[[camera]]\nuri = "u5er:{PASSWORD}@{DEVICE}/x"\n',
    "a broker that is away": f'device_id = "{DEVICE}"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n',
}


@pytest.mark.slow
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_it_works_when_everything_is_broken(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "mien.toml").write_text(text)
    done = mien("support", "--config", "mien.toml", "--out", "a.tgz", cwd=tmp_path, PATH="/nowhere")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    found = members(tmp_path / "a.tgz")
    assert list(found) == NAMES
    assert "broker.json: " in found["README.txt"]
    assert "there is no journalctl" in found["log.txt"]
    assert "numpy: " in found["versions.txt"]
    assert leaks(tmp_path / "a.tgz") == []


def test_a_wrong_configuration_is_shown_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "mien.toml").write_text(BROKEN["a wrong key"] or "")
    assert mien("support", "--config", "mien.toml", "--out", "a.tgz", cwd=tmp_path).returncode == 0
    shown = members(tmp_path / "a.tgz")["configuration.toml"]
    assert shown.startswith("# Refused: mien.toml: mqtt.password: unknown key; did you mean")
    assert 'password = "***"' in shown
    assert 'device_id = "device-1"' in shown


@pytest.mark.slow
def test_a_variable_of_the_environment_is_named_and_its_value_hidden(tmp_path: Path) -> None:
    done = mien("support", "--out", "a.tgz", cwd=tmp_path, MIEN_DEVICE_ID=DEVICE)
    assert done.returncode == 0
    assert "variables: MIEN_DEVICE_ID" in members(tmp_path / "a.tgz")["versions.txt"]
    assert leaks(tmp_path / "a.tgz") == []


def test_only_its_owner_can_read_it_and_nothing_else_is_left(tmp_path: Path) -> None:
    os.umask(os.umask(0o000))
    archive.write(tmp_path / "a.tgz", archive.packed({"log.txt": "x"}))
    assert [each.name for each in tmp_path.iterdir()] == ["a.tgz"]
    assert stat.S_IMODE((tmp_path / "a.tgz").stat().st_mode) == 0o600


def test_the_archive_does_not_say_who_made_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive.packed({"log.txt": "x"}))) as opened:
        (member,) = opened.getmembers()
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_text("mine")
    done = mien("support", "--out", "a.tgz", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mien: a.tgz: there is one already; it is left as it is: name another\n"
    with pytest.raises(MienError, match="there is one already"):
        archive.write(tmp_path / "a.tgz", b"theirs")
    assert (tmp_path / "a.tgz").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_not_there_is_named_before_anything_is_done(tmp_path: Path) -> None:
    done = mien("support", "--out", "none/a.tgz", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "mien: none/a.tgz: there is no folder none; name one that exists\n"


def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(MienError, match=r"a\.tgz: cannot be written: File too large"):
            archive.write(tmp_path / "a.tgz", bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_self_test_that_crashes_or_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    device = parts.Device(None, None, {})
    monkeypatch.setattr(parts, "_SELFTEST", ("/bin/false",))
    with pytest.raises(MienError, match="the self-test ended with 1 and said: nothing"):
        parts.selftest(device, running=False)
    monkeypatch.setattr(parts, "_SELFTEST", ("sleep", "60"))
    monkeypatch.setattr(parts, "SELFTEST_S", 0.2)
    with pytest.raises(MienError, match=r"the self-test did not end within 0\.2 s"):
        parts.selftest(device, running=False)


def test_a_defect_in_one_part_goes_into_the_bundle_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def defective(*_: object) -> str:
        raise RuntimeError(f"of {DEVICE}")

    monkeypatch.setattr(parts, "versions_of", defective)
    monkeypatch.setattr(parts, "selftest", lambda *_, **__: "well\n")
    found = support.gathered(
        None, {"MIEN_DEVICE_ID": DEVICE, "MIEN_MQTT__URL": "mqtt://127.0.0.1:1"}
    )
    assert "Traceback" in found[0].text
    assert "RuntimeError: of device-1" in found[0].text
    assert found[3].text == "well\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("at mqtt://u:p@broker.example:1883/x, again", "at mqtt://***@host-1:1883/***, again"),
        ("rtsp://admin:p/w@d@10.0.0.7/live?k=1", "rtsp://***@address-1/***"),
        ("from 10.0.0.7 to 10.0.0.8 and 10.0.0.7", "from address-1 to address-2 and address-1"),
        ("on 127.0.0.1:1883 and ::1 and localhost", "on 127.0.0.1:1883 and ::1 and localhost"),
        ("fe80::1%wlan0 at 12:30:59", "address-1 at 12:30:59"),
        ("[::ffff:10.1.2.3]:99", "[address-1]:99"),
        ("AA:bb:cc:DD:ee:ff and aa-bb-cc-dd-ee-fe", "mac-1 and mac-2"),
        ("enxaabbccddeeff: link is up", "mac-1: link is up"),
        ("cannot open '/home/ada/My film.mp4'", "cannot open '/home/***'"),
        ("/var/home/ada/x: no", "/var/home/***: no"),
        ("/dev/v4l/by-id/usb-A_B_123-index0 is away", "/dev/v4l/by-id/*** is away"),
        ('"token": "abc def", x', '"token": ***, x'),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("set [mqtt] username and password_file", "set [mqtt] username and password_file"),
        ('ssid="Guests of Ada"', "ssid=network-1"),
        ("mail ada.l@x.example now", "mail *** now"),
        ("-----BEGIN PRIVATE KEY-----\nMIIx\n-----END PRIVATE KEY-----\n", "***\n"),
        ("mien-consensus@2+436955897bc5 cv::Video", "mien-consensus@2+436955897bc5 cv::Video"),
        ("numpy 1.26.4, edge/loop.py", "numpy 1.26.4, edge/loop.py"),
        ("mqtt: hub-of-ada:1883: connected", "mqtt: host-1:1883: connected"),
        ("ada-laptop.local is there", "host-1 is there"),
        ("camera hall-of-ada: open; camera: none", "camera camera-1: open; camera: none"),
        ("publishing to mien/hall/health", "publishing to mien/device-1/health"),
        ("mqtt.password: unknown key", "mqtt.password: unknown key"),
    ],
)  # fmt: skip
def test_what_looks_as_if_it_identified_is_replaced_and_nothing_else(text: str, told: str) -> None:
    assert Redactor().text(text) == told


def test_a_name_is_replaced_as_a_word_and_a_secret_anywhere() -> None:
    redactor = Redactor(safe=["mien"])
    redactor.hide("device", "Straße")
    redactor.hide("camera", "ann")
    redactor.hide("host", "mien")
    redactor.secret("pa%73s")
    assert (
        redactor.text("mien-STRASSE straße/x: ann annoys")
        == "mien-STRASSE device-1/x: camera-1 annoys"
    )
    assert redactor.text("xpassx pa%73s") == "x***x ***"


def test_users_that_come_with_an_image_identify_nobody_and_its_name_stays(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("debian:x:1000:1000:Debian,,,:/home/debian:/bin/sh\n")
    redactor = Redactor(safe=identity.words())
    identity.note_machine(redactor, tmp_path, {"USER": "debian"})
    assert redactor.text("system: Debian GNU/Linux 12") == "system: Debian GNU/Linux 12"


def test_what_the_machine_knows_of_itself_is_found(tmp_path: Path) -> None:
    for name, text in {
        "etc/hostname": "kiosk-7.adlon.example\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/passwd": "root:x:0:0::/root:\nada:x:1000:1000:Ada Lovelace,,,:/srv/ada:/bin/sh\n",
        "proc/device-tree/serial-number": "10000000deadbeef\0",
        "sys/class/net/wlan0/address": "b8:27:eb:12:34:56\n",
        "sys/bus/usb/devices/1-1/serial": "SN99887766\n",
        "sys/bus/usb/devices/1-2/serial": "2.0\n",
        "etc/wpa_supplicant/wpa_supplicant.conf": 'network={\n ssid="Adlon"\n psk="gu3sts!!"\n}\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    redactor = Redactor()
    identity.note_machine(redactor, tmp_path, {"USER": "grace"})
    said = (
        "kiosk-7.adlon.example kiosk-7 0123456789abcdef0123456789abcdef ada|Ada Lovelace|/srv/ada "
        "10000000deadbeef b827eb123456 sn99887766 Adlon gu3sts!! grace usb 2.0"
    )
    told = redactor.text(said)
    for each in (
        "kiosk",
        "adlon",
        "0123",
        "ada",
        "lovelace",
        "beef",
        "b827",
        "sn99",
        "gu3",
        "grace",
    ):
        assert each not in told.casefold(), told
    assert told.endswith("usb 2.0")


def test_a_line_of_nothing_but_letters_takes_no_time() -> None:
    redactor = Redactor()
    redactor.hide("device", "lobby")
    begun_s = time.process_time()
    for text in ("a" * 500_000, "a." * 250_000, "a:" * 250_000, "/home" * 100_000):
        redactor.text(text)
    assert time.process_time() - begun_s < 30


@pytest.mark.parametrize("message", [None, [104, 105], "hi", 7])
def test_whatever_the_journal_holds_becomes_a_line(message: object) -> None:
    line = json.dumps({"__REALTIME_TIMESTAMP": "1795256503000000", "MESSAGE": message})
    (told,) = parts.journal_lines(line.encode() + b"\nnonsense\n{}\n")
    assert told.startswith("2026-11-21T")
    assert told.split(maxsplit=2)[2] in {"hi", "(not a text)"}


def test_a_broker_that_knows_nothing_of_the_device_is_told(
    brokers: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    file = tmp_path / "mien.toml"
    file.write_text(f'[mqtt]\nurl = "{brokers().url}"\n')
    with pytest.raises(MienError, match="the broker has nothing of this device"):
        parts.heard(parts.Device.read(file, {}))
    file.write_text(f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n')
    with pytest.raises(MienError, match="cannot be reached"):
        parts.heard(parts.Device.read(file, {}))
