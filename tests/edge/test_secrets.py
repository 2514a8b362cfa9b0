"""Passwords stay where they were written: no log, payload, status, file or command shows one."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from mjpeg import MjpegServer
from realbroker import Ear, Mosquitto, eventually, free_port, program
from service import Manager

ROOT = Path(__file__).parents[2]
BROKERS = "br0ker-Secret"
WRONG = "wr0ng-Secret"
CAMERAS = ("c4m-user-Secret", "c4m-wrong-Secret", "c4m-path-Secret", "c4m-query-Secret")
MISTAKES = {
    "m1-url-Secret": '[mqtt]\nurl = "mqtt://kiosk:m1-url-Secret@127.0.0.1"\n',
    "m2-query-Secret": '[mqtt]\nurl = "mqtt://127.0.0.1?password=m2-query-Secret"\n',
    "m3-kind-Secret": '[[camera]]\nname = "m"\nuri = "rstp://admin:m3-kind-Secret@127.0.0.1/x"\n',
    "m4-slash-Secret": '[[camera]]\nname = "m"\nuri = "rtsp://u:m4/m4-slash-Secret@127.0.0.1/x"\n',
    "m5-port-Secret": '[[camera]]\nname = "m"\nuri = "rtsp://m5-port-Secret:x@127.0.0.1:99999/x"\n',
    "m6-key-Secret": '[mqtt]\npassword = "m6-key-Secret"\n',
    "m7-half-Secret": '[[camera]]\nuri = "rtsp://u:m7-half-Secret@127.0.0.1/x\n',
}
SECRETS = (BROKERS, WRONG, *CAMERAS, *MISTAKES)


def shown_in(text: str) -> set[str]:
    """The secrets that a text shows: as they are, escaped, or as HTTP and base64 carry them."""
    found = set()
    for secret in SECRETS:
        logins = [f"{user}:{secret}".encode() for user in ("admin", "kiosk", "u")]
        coded = [base64.b64encode(each).decode().rstrip("=") for each in (*logins, secret.encode())]
        if any(form in text for form in (secret, quote(secret, safe=""), *coded)):
            found.add(secret)
    return found


def test_a_secret_that_is_shown_would_be_found() -> None:
    assert shown_in(f"http://admin:{CAMERAS[0]}@cam") == {CAMERAS[0]}
    assert shown_in(base64.b64encode(f"kiosk:{BROKERS}".encode()).decode()) == {BROKERS}
    assert shown_in("rtsp://***@cam") == set()


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(frames=10**6, moving=True, login=f"admin:{CAMERAS[0]}") as camera:
        thread = threading.Thread(target=camera.serve_forever, args=(0.05,))
        thread.start()
        yield camera
        camera.quit.set()
        camera.shutdown()
        thread.join()


@pytest.fixture
def broker(brokers: Callable[..., Mosquitto], tmp_path: Path) -> Mosquitto:
    """Lets in who names no user, for those who listen; whose password is wrong, it refuses."""
    passwords = tmp_path / "passwords"
    command = [program("mosquitto_passwd", "mosquitto"), "-c", "-b", str(passwords)]
    subprocess.run([*command, "kiosk", BROKERS], check=True, capture_output=True)
    return brokers(f"allow_anonymous true\npassword_file {passwords}")


@pytest.fixture
def config(tmp_path: Path, server: MjpegServer, broker: Mosquitto) -> Path:
    """A camera with the right password, one with a wrong one, one that is not there."""
    user, wrong, path, query = CAMERAS
    cameras = {
        "yard": f"http://admin:{user}@{server.address}/cam.mjpg",
        "gate": f"http://admin:{wrong}@{server.address}/cam.mjpg",
        "roof": f"rtsp://127.0.0.1:{free_port()}/user=admin&password={path}/1?pwd={query}",
    }
    password, file = tmp_path / "password", tmp_path / "mien.toml"
    password.write_text(BROKERS + "\n")
    file.write_text(
        'device_id = "lobby"\n'
        + "".join(f'[[camera]]\nname = "{n}"\nuri = "{uri}"\n' for n, uri in cameras.items())
        + f'[mqtt]\nurl = "{broker.url}"\nusername = "kiosk"\npassword_file = "{password}"\n'
        + f'[spool]\npath = "{tmp_path / "spool"}"\n[recovery]\nretry_longest_s = 0.5\n'
    )
    return file


def mien(*arguments: str, **environ: str) -> list[str]:
    """What a command says, its lines of standard output and of errors."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, **environ},
    )
    assert "Traceback" not in done.stderr
    return [done.stdout, done.stderr]


DEFECT = """
import sys
import cv2
sound = cv2.VideoCapture
def defect(uri, *options):
    if uri.startswith("http"):
        raise RuntimeError(f"cannot read {uri}")
    return sound(uri, *options)
cv2.VideoCapture = defect
from edge.__main__ import program
sys.argv[0:1] = ["mien"]
program()
"""


@pytest.mark.parametrize("where", ["admin:{}@cam/x", "cam/password={}/x", "cam/x?password={}"])
@pytest.mark.parametrize("command", [("run", "--no-mqtt"), ("aim",)])
def test_no_crash_shows_a_secret(where: str, command: tuple[str, ...]) -> None:
    uri = f"http://{where.format(CAMERAS[0])}"
    done = subprocess.run(
        [sys.executable, "-c", DEFECT, *command, "--camera", uri],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") or "\nTraceback" in done.stderr
    assert "RuntimeError: cannot read http://" in done.stderr
    assert shown_in(done.stdout + done.stderr) == set()


def wait_for_status(ear: Ear, camera: str, status: str) -> None:
    def last() -> dict[str, object]:
        return ear.json(f"mien/lobby/camera/{camera}/status")[-1]

    eventually(lambda: last()["status"] == status and last()["reason"] != "starting", camera)


def wait_for_problem(ear: Ear, code: str, texts: int) -> None:
    """Wait until health reports had so many texts for a problem."""

    def heard() -> set[str]:
        told = [each for health in ear.json("mien/lobby/health") for each in health["problems"]]
        return {each["text"] for each in told if each["code"] == code}

    eventually(lambda: len(heard()) == texts, f"{texts} times {code}")


@pytest.mark.slow
def test_the_running_daemon_shows_no_secret(
    tmp_path: Path, config: Path, broker: Mosquitto, ears: Callable[..., Ear], manager: Manager
) -> None:
    ear, log = ears(broker, "#"), tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "edge", "-v", "run", "--config", str(config)],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": manager.address, "STATE_DIRECTORY": str(tmp_path)},
        ) as process,
    ):
        try:
            ear.wait("mien/lobby/camera/roof/status")
            wait_for_status(ear, "yard", "ok")
            wait_for_status(ear, "gate", "reconnecting")
            wait_for_status(ear, "roof", "reconnecting")
            right = config.read_text()
            for count, mistake in enumerate(MISTAKES.values(), start=1):
                config.write_text(right + mistake if "camera" in mistake else mistake)
                process.send_signal(signal.SIGHUP)
                wait_for_problem(ear, "reload-refused", count)
            wait_for_problem(ear, "camera-away", 1)
            visible = [
                Path(f"/proc/{process.pid}/{name}").read_text() for name in ("cmdline", "environ")
            ]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    eventually(lambda: ear.texts("mien/lobby/availability")[-1:] == ["offline"], "the goodbye")
    payloads = [f"{message.topic} {message.payload!r}" for message in ear.heard]
    told = [text for _, text in manager.heard]
    kept = [file.read_bytes().decode("latin-1") for file in (tmp_path / "spool").iterdir()]

    reasons = [each["reason"] for each in ear.json("mien/lobby/camera/gate/status")]
    assert any("http://***@127.0.0.1" in reason for reason in reasons), "a URI was spoken of"
    assert shown_in("\n".join([log.read_text(), *payloads, *told, *kept, *visible])) == set()


@pytest.mark.slow
def test_no_command_shows_a_secret(
    tmp_path: Path, config: Path, broker: Mosquitto, ears: Callable[..., Ear]
) -> None:
    ear = ears(broker, "#")
    shown = mien("config", "show", "--config", str(config))
    assert f'password_file = "{tmp_path / "password"}"' in shown[0]
    assert 'uri = "http://***@127.0.0.1' in shown[0]
    shown += mien("config", "check", str(config))
    quick = [each for group in ("idle", "busy", "memory") for each in ("--skip", group)]
    shown += mien("-v", "selftest", "--json", "--config", str(config), *quick)
    report = json.loads(shown[4])
    failed = {check["name"] for check in report["checks"] if check["verdict"] == "failed"}
    assert {"camera-gate-opens", "camera-roof-opens"} <= failed
    ear.wait("mien/lobby/selftest")

    (tmp_path / "password").write_text(WRONG + "\n")
    shown += mien("-v", "selftest", "--config", str(config), *quick, "--skip", "camera")
    assert "refuses us" in shown[-1] + shown[-2]
    shown += mien("watch", "--config", str(config))
    assert "refused the connection" in shown[-1]

    for secret, mistake in MISTAKES.items():
        file = tmp_path / "mistaken.toml"
        file.write_text(mistake)
        shown += mien("config", "check", str(file))
        shown += mien("run", "--no-mqtt", "--config", str(file), MIEN_RECOVERY__HANG_S="0.5")
        assert shown[-1].splitlines()[-1].startswith("mien: "), secret
    shown += mien("config", "show", MIEN_MQTT__PASSWORD=BROKERS)
    shown += mien("config", "show", MIEN_MQTT__URL=f"mqtt://kiosk:{BROKERS}@127.0.0.1")
    payloads = [f"{message.topic} {message.payload!r}" for message in ear.heard]
    assert shown_in("\n".join([*shown, *payloads])) == set()
