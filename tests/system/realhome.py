"""A real Home Assistant core that knows a broker, and a camera that shows what a test wants."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest
from realbroker import free_port

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
REQUIREMENTS = Path(__file__).with_name("homeassistant.txt")
NEEDS = "Python 3.13, as python3.13 on the PATH or from pyenv"
PATIENCE_S = 60.0
"""How long Home Assistant may take to start, or to show what it was told, on a busy machine."""

_KEY, _TOKEN = "k" * 128, "t" * 128
_EPOCH = "2026-01-01T00:00:00+00:00"


def within(condition: Any, what: str, patience_s: float = PATIENCE_S) -> None:  # noqa: ANN401
    """Wait for a condition."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.05)


def installed() -> Path:
    """Install Home Assistant where it is not yet, and return its program.

    It lives beside nox's environments, in a folder named after what is pinned.
    """
    pinned = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".nox" / f"homeassistant-{pinned}"
    program, complete = folder / "bin" / "hass", folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([_python(), "-m", "venv", str(folder)], check=True)
        pip = (folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, "--no-deps", "-r", REQUIREMENTS], check=True)
        complete.touch()
    return program


def _python() -> str:
    """Return a Python that Home Assistant runs on."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for found in (shutil.which("python3.13"), *sorted(pyenv.glob("3.13.*/bin/python3.13"))):
        # pyenv's own python3.13 is there and does nothing where another version is chosen.
        if found and _works(str(found)):
            return str(found)
    assert os.environ.get("CI") != "true", f"CI must have {NEEDS}"
    pytest.skip(f"Home Assistant cannot be installed: it needs {NEEDS}")


def _works(python: str) -> bool:
    done = subprocess.run([python, "-c", ""], check=False, capture_output=True)
    return done.returncode == 0


class Home:
    """A Home Assistant that knows a broker. Its first user's token opens its REST API."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._said = 0
        self._furnish(broker_port)

    def start(self) -> None:
        program = installed()
        with (self._folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                [program, "-c", self._folder, "--skip-pip"], stdout=console, stderr=console
            )
        within(self._running, f"Home Assistant {self.log[-3000:]}")

    def stop(self) -> None:
        """End it as a service manager does, and hear that it has ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(PATIENCE_S)
            finally:
                self._process.kill()
            self._process = None

    @property
    def log(self) -> str:
        file = self._folder / "console.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def complaints(self) -> list[str]:
        """What it has warned of since it was asked last, as far as a device may be the cause."""
        new, self._said = self.log[self._said :], len(self.log)
        about = re.compile(r"mien|components\.(mqtt|sensor|binary_sensor|button)|helpers\.template")
        return [
            line
            for line in new.splitlines()
            if re.search(r" (WARNING|ERROR|CRITICAL) ", line) and about.search(line)
        ]

    def states(self, device: str) -> dict[str, str]:
        """The states of a device's entities by their ids; empty without the device."""
        found = self._api("GET", "states")
        known = re.compile(rf"[a-z_]+\.mien_{device}_")
        return {
            each["entity_id"]: each["state"] for each in found if known.match(each["entity_id"])
        }

    def state(self, entity: str) -> str | None:
        return next((each["state"] for each in self._found(entity)), None)

    def attributes(self, entity: str) -> dict[str, Any]:
        return next((each["attributes"] for each in self._found(entity)), {})

    def becomes(self, entity: str, *states: str) -> None:
        within(
            lambda: self.state(entity) in states,
            f"{entity} {' or '.join(states)}, it is {self.state(entity)}",
        )

    def device(self, entity: str, attribute: str) -> str:
        """What its device registry says of the device of an entity."""
        asked = f"{{{{ device_attr(device_id('{entity}'), '{attribute}') }}}}"
        text: str = self._api("POST", "template", {"template": asked}, plain=True)
        return text

    def press(self, entity: str) -> None:
        self._api("POST", "services/button/press", {"entity_id": entity})

    def _found(self, entity: str) -> list[dict[str, Any]]:
        return [each for each in self._api("GET", "states") if each["entity_id"] == entity]

    def _running(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Home Assistant has ended: {self.log[-3000:]}"
        try:
            return bool(self._api("GET", "config")["state"] == "RUNNING")
        except ConnectionError:
            return False

    def _api(self, method: str, path: str, body: object = None, *, plain: bool = False) -> Any:  # noqa: ANN401
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.closing(connection):
            connection.request(
                method,
                f"/api/{path}",
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {_access_token()}"},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        assert answer.status == http.HTTPStatus.OK, f"{path}: {answer.status} {text}"
        return text if plain else json.loads(text)

    def _furnish(self, broker_port: int) -> None:
        """Write what a person would have clicked: a user, and the MQTT integration."""
        (self._folder / "configuration.yaml").write_text(
            f"http:\n  server_host: 127.0.0.1\n  server_port: {self._port}\n"
            "logger:\n  default: info\n"
        )
        self._store("onboarding", {"done": ["user", "core_config", "analytics", "integration"]}, 4)
        self._store("auth", _auth())
        self._store("core.config_entries", {"entries": [_mqtt(broker_port)]}, 1, 5)

    def _store(self, key: str, data: object, version: int = 1, minor_version: int = 1) -> None:
        folder = self._folder / ".storage"
        folder.mkdir(exist_ok=True)
        content = {"version": version, "minor_version": minor_version, "key": key, "data": data}
        (folder / key).write_text(json.dumps(content))


def _auth() -> dict[str, Any]:
    user = {
        "id": "user",
        "name": "user",
        "group_ids": ["system-admin"],
        "is_owner": True,
        "is_active": True,
        "system_generated": False,
    }
    token = {
        "id": "token",
        "user_id": "user",
        "client_id": None,
        "client_name": "test",
        "token_type": "long_lived_access_token",
        "created_at": _EPOCH,
        "access_token_expiration": 315_360_000.0,
        "token": _TOKEN,
        "jwt_key": _KEY,
    }
    return {"users": [user], "groups": [], "credentials": [], "refresh_tokens": [token]}


def _mqtt(broker_port: int) -> dict[str, Any]:
    return {
        "entry_id": "mqtt",
        "domain": "mqtt",
        "title": "mqtt",
        "version": 1,
        "minor_version": 2,
        "data": {"broker": "127.0.0.1", "port": broker_port, "discovery": True},
        "options": {},
        "source": "user",
        "unique_id": None,
        "disabled_by": None,
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "created_at": _EPOCH,
        "modified_at": _EPOCH,
        "discovery_keys": {},
        "subentries": [],
    }


def _access_token() -> str:
    """The JSON web token of that user's long-lived one."""

    def encoded(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    now_s = int(time.time())
    claims = {"iss": "token", "iat": now_s, "exp": now_s + 3600}
    text = b".".join(
        encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    signature = hmac.new(_KEY.encode(), text, hashlib.sha256).digest()
    return f"{text.decode()}.{encoded(signature).decode()}"


class SampleCamera(ThreadingHTTPServer):
    """An MJPEG camera; the sample clip's person stands in front of it where `person` says so."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Pictures)
        self.person = True
        self.gone = threading.Event()
        frames = _frames()
        # There and back again, so that the person does not jump.
        self.scenes = {True: frames[60:120] + frames[120:60:-1], False: frames[160:190]}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def close(self) -> None:
        self.gone.set()
        self.shutdown()
        self.server_close()


class _Pictures(BaseHTTPRequestHandler):
    server: SampleCamera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        with contextlib.suppress(ConnectionError):
            while not self.server.gone.wait(1 / 15):
                scene = self.server.scenes[self.server.person]
                jpeg = scene[number % len(scene)]
                number += 1
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Say nothing: stderr is the test's."""


def _frames() -> list[bytes]:
    """The sample clip's pictures as JPEGs."""
    clip, pictures = cv2.VideoCapture(str(SAMPLE)), []
    while True:
        good, picture = clip.read()
        if not good:
            return pictures
        pictures.append(cv2.imencode(".jpg", picture)[1].tobytes())
