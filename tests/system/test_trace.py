"""No picture is stored or sent, and nobody but the broker is spoken to: the kernel is the witness.

strace notes every call of the daemon by which data can leave it: what it opens for writing, what it
writes and sends, and where to; what it connects, binds, listens on, maps and starts. All of that is
held against a list of what is expected, and all that was written is searched for the clip's pixels
and for what the networks were given and gave.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confinement import Allowed, complaints, written
from mjpeg import MjpegServer
from packets import packets
from pictures import coded_in, shown_in
from planted import LEAKS
from realbroker import Ear, Mosquitto, figure, program
from service import Manager
from syscalls import calls, traced

from edge import __version__, homeassistant
from edge.bundle import load_stream
from edge.cameras import open_uri
from edge.datatypes import Event
from edge.events import EventFactory
from edge.health import Sensors
from edge.homeassistant import Device
from edge.payloads import CameraState, CameraStatus, Health, Info, SelfTest
from edge.pipeline import Pipeline, load_models
from edge.runtime import Array, Model
from edge.settings import Settings

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
FAST = f"clip:{SAMPLE}?pace=fast"
PAYLOADS = {
    "info": Info,
    "health": Health,
    "selftest": SelfTest,
    "camera/door/status": CameraStatus,
    "camera/door/state": CameraState,
    "camera/door/event": Event,
}
COUNTING = (sys.executable, "-I", "-S", "-c")
"""How the self-test begins what keeps all cores busy."""

pytestmark = pytest.mark.system


@pytest.fixture(scope="session", autouse=True)
def strace() -> None:
    """Some containers let nobody trace."""
    command = [program("strace", "strace"), "-o", os.devnull, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        assert os.environ.get("CI") != "true", f"CI must let strace trace: {done.stderr}"
        pytest.skip(f"strace may not trace here: {done.stderr}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(program("mosquitto", "mosquitto"), tmp_path)
    made.start()
    yield made
    made.kill()


class Run:
    """A traced command of `mien`, its configuration and what may be done by it."""

    def __init__(
        self, folder: Path, broker: Mosquitto, camera: str, *, notify: str = "", url: str = ""
    ) -> None:
        self.folder, self.spool = folder, folder / "state" / "spool"
        self.spool.mkdir(parents=True)
        self._environ = {
            # Else whoever runs it first from a writable folder leaves compiled modules there.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(ROOT),
            "STATE_DIRECTORY": str(self.spool.parent),
            "MIEN_SPOOL__PATH": str(self.spool),
            **({"NOTIFY_SOCKET": notify, "WATCHDOG_USEC": "30000000"} if notify else {}),
        }
        self._config = folder / "mien.toml"
        self._config.write_text(
            'device_id = "lobby"\n[events]\nheartbeat_s = 0.5\n'
            f'[[camera]]\nname = "door"\nuri = "{camera}"\n'
            f'[mqtt]\nurl = "{url or broker.url}"\n'
        )
        self.broker = broker.url.removeprefix("mqtt://")
        self.allowed = Allowed(
            folders=(str(self.spool),),
            files=(str(folder / "log"), os.devnull),
            addresses=(self.broker, *([notify] if notify else [])),
        )

    def start(
        self, *command: str, by: tuple[str, ...] = ("-m", "edge")
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        whole = [sys.executable, *by, *command, "--config", str(self._config)]
        return traced(whole, self.folder, self._environ, cwd=ROOT)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def whole(self, *command: str, by: tuple[str, ...] = ("-m", "edge")) -> None:
        """Run it to its end; a self-test may fail, where the machine is busy."""
        with self.start(*command, by=by) as process:
            assert process.wait(300) in ((0, 1) if "selftest" in command else (0,)), self.log


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def seen(clip: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, np.ndarray]]:
    """Every picture of a clip, and every tensor that goes into and comes out of a network for it:
    faces as they are cropped, embeddings and the head's state among them."""
    tensors: list[Array] = []
    call = Model.__call__

    def noted(self: Model, *inputs: Array) -> tuple[Array, ...]:
        outputs = call(self, *inputs)
        tensors.extend((*inputs, *outputs))
        return outputs

    monkeypatch.setattr(Model, "__call__", noted)
    models = load_models(Settings())
    pipeline = Pipeline("door", Settings(), models, EventFactory("boot", models.bundle.ident))
    camera = open_uri(clip)
    for number, frame in enumerate(iter(camera.read, None), start=1):
        tensors.clear()
        pipeline(frame)
        yield f"the colour of frame {number}", frame.colour
        yield f"the luma of frame {number}", frame.luma
        for tensor in tensors:
            yield f"a tensor of frame {number}", tensor
    camera.close()


def counted(
    pictures: Iterator[tuple[str, np.ndarray]], names: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Note the names of those that go by."""
    for name, values in pictures:
        names.append(name)
        yield name, values


def _again(payload: bytes, kind: type) -> bytes | None:
    """What a payload becomes that is read as its type says and written again."""
    try:
        return msgspec.json.encode(msgspec.json.decode(payload, type=kind))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def announcements() -> set[bytes]:
    """What Home Assistant may be told of the device that is traced."""
    bundle, _ = load_stream(Settings().emotion.bundle)
    board = Sensors().board()
    return {
        homeassistant.message(
            Device("mien/lobby", ("door",), bundle.labels, board, __version__, thermometer)
        )
        for thermometer in (False, True)
    }


def unexplained(stream: bytes) -> list[str]:
    """What was sent to the broker and is not, byte for byte, one of the payloads documented."""
    found = []
    for packet in packets(stream):
        name = packet.topic.removeprefix("mien/lobby/")
        if packet.kind != "PUBLISH":
            explained = len(packet.body) < 200
        elif name in PAYLOADS:
            explained = _again(packet.body, PAYLOADS[name]) == packet.body
        elif packet.topic == homeassistant.topic("homeassistant", "mien/lobby"):
            explained = packet.body in announcements()
        else:
            explained = (name, packet.body) in {
                ("availability", b"online"),
                ("availability", b"offline"),
            }
        if not explained:
            found.append(f"{packet.kind} {packet.topic}: {packet.body[:80]!r}")
    return found


def test_a_whole_run_tells_the_broker_what_is_documented_and_nobody_anything_else(
    tmp_path: Path, broker: Mosquitto, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, broker, FAST, notify=manager.address)
    run.whole("run")
    noted = calls(tmp_path)
    assert complaints(noted, run.allowed) == []
    data = written(noted)
    assert {run.broker, manager.address, str(run.spool / "events.db-wal")} <= set(data)
    assert unexplained(data[run.broker]) == []
    assert b'"type":"start"' in data[run.broker]
    assert b'"type":"start"' in data[str(run.spool / "events.db-wal")]
    left = {str(file): file.read_bytes() for file in run.spool.iterdir()}
    assert coded_in(data | left) == []
    sought: list[str] = []
    assert list(shown_in(data | left, counted(seen(FAST, monkeypatch), sought))) == []
    total = sum(len(each) for each in data.values())
    figure(f"{len(noted)} calls, {total} bytes written, {len(sought)} pictures and tensors sought")


def test_a_broker_that_is_named_is_looked_up_by_the_system_and_nothing_else_is(
    tmp_path: Path, broker: Mosquitto
) -> None:
    run = Run(tmp_path, broker, FAST, url=broker.url.replace("127.0.0.1", "localhost"))
    run.whole("run")
    noted = calls(tmp_path)
    told = [f"{host}:{broker.port} was connected to" for host in ("127.0.0.1", "::1")]
    # What glibc asks first, where there is one.
    told.append("/var/run/nscd/socket was connected to")
    allowed = replace(run.allowed, addresses=())
    said = [each for each in complaints(noted, allowed) if not each.startswith("data was sent")]
    assert told[0] in said
    assert set(said) <= set(told)


def test_a_full_self_test_starts_processes_that_count_and_no_other(
    tmp_path: Path, broker: Mosquitto
) -> None:
    run = Run(tmp_path, broker, FAST)
    run.whole("selftest")
    assert "latency-busy-total" in run.log
    assert "broker-round-trip" in run.log
    noted = calls(tmp_path)
    assert complaints(noted, replace(run.allowed, programs=(COUNTING,))) == []
    assert coded_in(written(noted)) == []


@pytest.fixture
def camera() -> Iterator[MjpegServer]:
    with MjpegServer(frames=10**6, moving=True) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.quit.set()
        server.shutdown()
        thread.join()


def test_a_camera_on_the_network_is_contacted_and_nobody_else(
    tmp_path: Path, broker: Mosquitto, camera: MjpegServer
) -> None:
    run = Run(tmp_path, broker, f"http://{camera.address}/cam.mjpg")
    ear = Ear(broker.port)
    try:
        with run.start("run") as process:
            ear.wait("mien/lobby/camera/door/event", 2)
            (daemon,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(daemon), signal.SIGTERM)
            assert process.wait(60) == 0, run.log
    finally:
        ear.close()
    noted = calls(tmp_path)
    assert complaints(noted, run.allowed) == [f"{camera.address} was connected to"]
    data = written(noted)
    assert data.pop(camera.address).startswith(b"GET /cam.mjpg HTTP/1.1\r\n")
    assert unexplained(data[run.broker]) == []
    assert coded_in(data) == []
    jpegs = (np.frombuffer(jpeg, np.uint8) for jpeg in camera.jpegs)
    assert list(shown_in(data, (("a picture as it came", jpeg) for jpeg in jpegs))) == []


NOTICED = {
    "kept": "/state/face was opened for writing",
    "spooled": "a tensor of frame N, unsigned is in /state/spool/face",
    "glimpsed": "a tensor of frame N, unsigned is in /state/spool/lock",
    "encoded": "an encoded picture in /state/spool/events.db-face",
    "compressed": "compressed data in /state/spool/events.db-face",
    "logged": "a list of numbers in /log",
    "shared": "/psm_ was opened for writing",
    "beaconed": "data was sent to 127.0.0.1:9",
    "called": "127.0.0.1:9 was connected to",
    "listened": "listen was called",
    "received": "a socket was bound to 0.0.0.0:0",
    "started": "-c pass was started",
    "published": "letters as of base64 in the broker",
    "named": "PUBLISH mien/lobby/face",
    "remembered": "a tensor of frame N is in /state/spool/events.db-face",
}
"""What is said of each leak in `planted`."""


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_noticed(
    leak: str, tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, broker, FAST)
    run.whole(leak, "run", by=(str(Path(__file__).with_name("planted.py")),))
    noted = calls(tmp_path)
    data = written(noted)
    found = complaints(noted, run.allowed) + coded_in(data) + unexplained(data[run.broker])
    if NOTICED[leak].startswith("a tensor"):
        found.append(next(shown_in(data, seen(FAST, monkeypatch))))
    said = "\n".join(found).replace(run.broker, "the broker").replace(str(tmp_path), "")
    assert NOTICED[leak] in re.sub(r"frame \d+", "frame N", re.sub(r"psm_\w+", "psm_", said))
