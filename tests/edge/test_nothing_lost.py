"""Whatever happens to broker, network and process: every event arrives, once, in order, counted.

The invariant of every test here, after a subscriber's deduplication by `id`: what was appended and
not counted as dropped has arrived, in `seq` order within its `boot_id`, and nothing else has.
Under load means 200 events a second all the while.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from realbroker import CONTINUE, STOP, Ear, Mosquitto, eventually, figure
from test_outbox import event
from tools.faultproxy import FaultProxy

from edge import spool, telemetry
from edge.backoff import Backoff
from edge.mqtt import Publisher
from edge.settings import Mqtt, Settings
from edge.spool import Spool

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
EVENTS = "mien/kiosk/camera/door/event"
AT_ONCE = "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0"
"""The broker passes on what it takes before it acknowledges it, so that one that is killed does
not take along what it has acknowledged: keeping that is the broker's own promise."""

BrokerMaker = Callable[..., Mosquitto]
EarMaker = Callable[..., Ear]


def spooled(folder: Path) -> Spool:
    return Spool(folder, most_bytes=64_000_000, most_age_s=1e6, memory=1000)


class Device:
    """A publisher with a spool, fed with events in a thread until it is told to stop."""

    def __init__(self, url: str, folder: Path, keepalive_s: int = 30) -> None:
        self.emitted = 0
        self.longest_s = 0.0
        self.publisher = Publisher(
            Mqtt(url=url, keepalive_s=keepalive_s),
            "kiosk",
            ("door",),
            outbox=spooled(folder),
            backoff=Backoff(shortest_s=0.05, longest_s=0.2),
        )
        self.publisher.start()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        while not self._stop.wait(0.005):
            begun = time.monotonic()
            self.publisher.send(event(self.emitted + 1))
            self.longest_s = max(self.longest_s, time.monotonic() - begun)
            self.emitted += 1

    def connected(self) -> None:
        eventually(lambda: self.publisher.link().connected, "the connection")

    def disconnected(self) -> None:
        eventually(lambda: not self.publisher.link().connected, "the end of the connection")

    def finish(self) -> None:
        """Emit no more, and deliver what there is."""
        self._stop.set()
        self._thread.join()
        eventually(lambda: self.publisher.link().depth == 0, "the empty spool")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.publisher.close()


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Callable[..., Device]]:
    made: list[Device] = []

    def make(url: str, **options: int) -> Device:
        made.append(Device(url, tmp_path / "spool", **options))
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def proxied() -> Iterator[Callable[[Mosquitto], FaultProxy]]:
    made: list[FaultProxy] = []

    def make(broker: Mosquitto) -> FaultProxy:
        made.append(FaultProxy(broker.port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def in_order(heard: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The `seq` of each boot in the order of arrival, every id once."""
    boots: dict[str, list[int]] = {}
    for each in {each["id"]: each for each in heard}.values():
        boots.setdefault(each["boot_id"], []).append(each["seq"])
    return boots


def nothing_lost(device: Device, *ears: Ear) -> None:
    """Check the invariant by counting."""
    device.finish()
    last = device.emitted
    eventually(lambda: any(each["seq"] == last for each in ears[-1].json(EVENTS)), "the last event")
    heard = [each for ear in ears for each in ear.json(EVENTS)]
    link = device.publisher.link()
    assert (link.dropped, link.refused) == (0, 0)
    arrived = in_order(heard)["boot"]
    assert sorted(set(range(1, last + 1)) - set(arrived)) == [], "these are lost"
    late = [seq for before, seq in pairwise(arrived) if seq < before]
    assert late == [], "these came after newer ones"
    assert arrived == list(range(1, last + 1))
    figure(
        f"{last} emitted, {last} arrived, {len(heard) - last} of them twice, 0 dropped; "
        f"the longest send took {device.longest_s * 1000:.1f} ms"
    )


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_broker_killed_under_load_that_comes_back_empty(
    *,
    times: int,
    brokers: BrokerMaker,
    ears: EarMaker,
    devices: Callable[..., Device],
    proxied: Callable[[Mosquitto], FaultProxy],
) -> None:
    broker = brokers(AT_ONCE)
    proxy = proxied(broker)
    listening = [ears(broker, EVENTS, qos=0)]
    device = devices(proxy.url)
    for _ in range(times):
        device.connected()
        time.sleep(random.uniform(0.1, 0.4))  # noqa: S311  # any moment
        broker.kill()
        # Nobody is let in before somebody listens: the broker came back without its subscribers.
        proxy.refusing = True
        device.disconnected()
        listening[-1].leave()
        broker.start()
        listening.append(ears(broker, EVENTS, qos=0))
        proxy.refusing = False
    device.connected()
    nothing_lost(device, *listening)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2.0, 60.0])
def test_a_broker_that_is_paused_under_load(
    seconds: float, brokers: BrokerMaker, ears: EarMaker, devices: Callable[..., Device]
) -> None:
    broker = brokers(AT_ONCE)
    ear = ears(broker, EVENTS)
    device = devices(broker.url)
    device.connected()
    broker.signal(STOP)
    time.sleep(seconds)
    broker.signal(CONTINUE)
    nothing_lost(device, ear)
    assert device.longest_s < 0.5


def test_a_broker_that_refuses_for_a_while(
    brokers: BrokerMaker,
    ears: EarMaker,
    devices: Callable[..., Device],
    proxied: Callable[[Mosquitto], FaultProxy],
) -> None:
    broker = brokers(AT_ONCE)
    ear = ears(broker, EVENTS)
    proxy = proxied(broker)
    device = devices(proxy.url)
    for _ in range(3):
        device.connected()
        time.sleep(0.1)
        proxy.refusing = True
        proxy.reset()
        device.disconnected()
        time.sleep(0.3)
        proxy.refusing = False
    device.connected()
    nothing_lost(device, ear)
    replayed = {each["seq"] for each in ear.json(EVENTS) if each["replayed"]}
    assert len(replayed) >= 3 * 20


@pytest.mark.parametrize("keepalive_s", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_connection_that_is_half_open(
    *,
    keepalive_s: int,
    brokers: BrokerMaker,
    ears: EarMaker,
    devices: Callable[..., Device],
    proxied: Callable[[Mosquitto], FaultProxy],
) -> None:
    broker = brokers(AT_ONCE)
    ear = ears(broker, EVENTS)
    proxy = proxied(broker)
    device = devices(proxy.url, keepalive_s=keepalive_s)
    device.connected()
    time.sleep(0.2)
    proxy.swallowing = True
    begun = time.monotonic()
    device.disconnected()
    noticed_s = time.monotonic() - begun
    assert noticed_s < 2 * keepalive_s + 2
    proxy.swallowing = False
    proxy.reset()
    device.connected()
    nothing_lost(device, ear)
    figure(f"noticed after {noticed_s:.1f} s")


CHILD = """
import os, sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_nothing_lost import spooled
from test_outbox import event
from edge import spool, telemetry
from edge.backoff import Backoff
from edge.mqtt import Publisher
from edge.settings import Mqtt, Settings
url, folder, boot = sys.argv[1:4]
publisher = Publisher(
    Mqtt(url=url), "kiosk", ("door",), outbox=spooled(Path(folder)), backoff=Backoff(0.05, 0.2)
)
publisher.start()
for seq in range(1, 100_000):
    publisher.send(replace(event(seq), id=f"{boot}-{seq}", boot_id=boot))
    os.write(1, b"%d\\n" % seq)
    time.sleep(0.001)
"""


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_process_killed_under_load(
    times: int, brokers: BrokerMaker, ears: EarMaker, tmp_path: Path
) -> None:
    broker = brokers(AT_ONCE)
    ear = ears(broker, EVENTS)
    emitted: dict[str, int] = {}
    for turn in range(times):
        boot = f"boot{turn}"
        here = str(Path(__file__).parent)
        command = [sys.executable, "-c", CHILD, broker.url, str(tmp_path / "spool"), boot, here]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environ) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(random.uniform(0.05, 0.4))  # noqa: S311  # any moment
            child.send_signal(signal.SIGKILL)
            emitted[boot] = int((first + child.stdout.read()).split()[-1])
    after = Device(broker.url, tmp_path / "spool")
    after.finish()
    after.close()
    arrived = in_order(ear.json(EVENTS))
    counted = {boot: arrived[boot] for boot in emitted}
    for boot, last in emitted.items():
        # The one after the last may have been taken in and not been told of.
        assert counted[boot] in (list(range(1, last + 1)), list(range(1, last + 2)))
    assert arrived.get("boot", []) == list(range(1, after.emitted + 1))
    figure(f"{sum(emitted.values())} emitted by {times} killed processes, none lost")


def run(folder: Path, url: str, events: Path) -> subprocess.CompletedProcess[str]:
    """The whole daemon on the sample clip, as fast as it can, as systemd would start it."""
    settings = folder / "mien.toml"
    settings.write_text(
        f'device_id = "kiosk"\n[mqtt]\nurl = "{url}"\n'
        f'[[camera]]\nname = "door"\nuri = "clip:{SAMPLE}?pace=fast"\n'
    )
    return subprocess.run(
        [sys.executable, "-m", "edge", "run", "--config", str(settings), "--events", str(events)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "STATE_DIRECTORY": str(folder / "state")},
    )


def test_a_run_without_a_broker_is_told_by_the_next_one(
    brokers: BrokerMaker, ears: EarMaker, tmp_path: Path
) -> None:
    lost = run(tmp_path, "mqtt://127.0.0.1:1", tmp_path / "first.jsonl")
    first = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text().splitlines()]
    assert f"{len(first)} events wait on disk for the next start" in lost.stderr
    broker = brokers(AT_ONCE)
    ear = ears(broker, EVENTS)
    run(tmp_path, broker.url, tmp_path / "second.jsonl")
    second = [json.loads(line) for line in (tmp_path / "second.jsonl").read_text().splitlines()]
    eventually(lambda: len(ear.json(EVENTS)) >= len(first) + len(second), "all events")
    heard = ear.json(EVENTS)
    assert [each["id"] for each in heard] == [each["id"] for each in first + second]
    assert [{**each, "replayed": False} for each in heard[: len(first)]] == first
    assert all(each["replayed"] for each in heard[: len(first)])


def test_a_disk_that_fails_is_a_problem_in_the_health_report_until_it_works(
    brokers: BrokerMaker, ears: EarMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_HEALTH_S", "HEALTH_EVERY_S"):
        monkeypatch.setattr(telemetry, name, 0.0)
    monkeypatch.setattr(spool, "RETRY_S", 0.05)
    broker = brokers()
    ear = ears(broker, "mien/kiosk/health")
    (tmp_path / "state").write_text("not a folder")
    outbox = spooled(tmp_path / "state" / "spool")
    publisher = Publisher(Mqtt(url=broker.url), "kiosk", (), outbox=outbox)
    bundle: Any = SimpleNamespace(ident="test@1+0", sha256="0" * 64, labels=())
    told = telemetry.Telemetry(publisher, Settings(device_id="kiosk"), bundle, "boot")
    publisher.start()
    told.tick(())
    ear.wait("mien/kiosk/health")
    (problem,) = ear.json("mien/kiosk/health")[0]["problems"]
    assert problem["code"] == "spool-failing"
    assert "events wait in memory" in problem["text"]
    (tmp_path / "state").unlink()
    eventually(lambda: not outbox.troubles)
    told.tick(())
    ear.wait("mien/kiosk/health", 2)
    assert ear.json("mien/kiosk/health")[-1]["problems"] == []
    publisher.close()


def test_boots_are_told_apart() -> None:
    other = replace(event(1), id="other-1", boot_id="other")
    heard = [
        json.loads(f'{{"id":"{e.id}","boot_id":"{e.boot_id}","seq":{e.seq}}}')
        for e in (event(1), other, event(1), event(2))
    ]
    assert in_order(heard) == {"boot": [1, 2], "other": [1]}
