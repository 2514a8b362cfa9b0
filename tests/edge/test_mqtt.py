"""What a subscriber of a real broker hears, and what becomes of events when the broker is away."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from realbroker import CONTINUE, STOP, Cable, Ear, Mosquitto, eventually, program

from edge import mqtt, payloads, schema
from edge.backoff import Backoff
from edge.datatypes import Event, EventBox, Latency, TrackInfo
from edge.mqtt import Publisher
from edge.payloads import BundleInfo, CameraStatus, Drops, FaceNow, Health, Info
from edge.settings import Mqtt

TS = "2026-01-02T03:04:05.678Z"
BASE = "mien/kiosk"
AVAILABILITY = f"{BASE}/availability"
EVENTS = f"{BASE}/camera/door/event"


def event(seq: int) -> Event:
    return Event(
        id=f"boot-{seq}",
        seq=seq,
        boot_id="boot",
        type="update",
        camera="door",
        track=TrackInfo(id=1, age_ms=seq),
        box=EventBox(x=0.1, y=0.2, width=0.3, height=0.4),
        emotion="happy",
        confidence=0.9,
        probs={"happy": 0.9, "sad": 0.1},
        valence=0.6,
        ts=TS,
        clock_synced=True,
        latency_ms=Latency(capture=1.0, detect=2.0, crop=0.1, frame=1.0, head=0.1, total=4.5),
        bundle="test@1+0",
    )


INFO = Info(
    device_id="kiosk",
    boot_id="boot",
    started=TS,
    clock_synced=True,
    versions={"mien": "0.1.0"},
    board="Test Board",
    machine="x86_64",
    bundle=BundleInfo(ident="test@1+0", sha256="0" * 64),
    backend="cpu",
    cameras=("door",),
)
HEALTH = Health(
    boot_id="boot",
    ts=TS,
    clock_synced=True,
    uptime_s=1.0,
    fps={"door": 15.0},
    latency_ms={},
    rss_mb=90.0,
    celsius=None,
    throttled=None,
    drops=Drops(frames={"door": 0}, events=0),
    spool_depth=0,
    problems=(),
)
STATUS = CameraStatus(camera="door", status="ok", since=TS, clock_synced=True, reason="")

BrokerMaker = Callable[..., Mosquitto]
EarMaker = Callable[..., Ear]
CableMaker = Callable[..., Cable]
PublisherMaker = Callable[..., Publisher]


@pytest.fixture
def publishers() -> Iterator[PublisherMaker]:
    """Makes publishers that try again soon; all of them are closed with the test."""
    made: list[Publisher] = []

    def make(url: str, cameras: Sequence[str] = ("door",), **settings: str | int) -> Publisher:
        made.append(
            Publisher(
                Mqtt(url=url, **settings),
                "kiosk",
                cameras,
                backoff=Backoff(shortest_s=0.05, longest_s=0.2),
            )
        )
        made[-1].start()
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


def connected(publisher: Publisher) -> None:
    eventually(lambda: publisher.link().connected, "the connection")


def drained(publisher: Publisher) -> None:
    eventually(lambda: publisher.link().depth == 0, "the empty outbox")


def numbers(ear: Ear) -> list[int]:
    return [each["seq"] for each in ear.json(EVENTS)]


def deduplicated(ear: Ear) -> list[int]:
    """What a subscriber keeps, who ignores every id it knows."""
    return list(dict.fromkeys(numbers(ear)))


def fits(name: str, payload: bytes) -> None:
    Draft202012Validator(json.loads(schema.text(name))).validate(json.loads(payload))


def test_the_birth_tells_how_things_stand(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    publisher = publishers(broker.url)
    publisher.info(INFO)
    publisher.health(HEALTH)
    publisher.status(STATUS)
    for topic in ("info", "health", "camera/door/status", "camera/door/state"):
        ear.wait(f"{BASE}/{topic}")
    eventually(lambda: ear.json(f"{BASE}/camera/door/status")[-1]["status"] == "ok")
    assert ear.heard[0].topic == AVAILABILITY
    assert ear.heard[0].payload == b"online"
    assert ear.json(f"{BASE}/camera/door/state")[0]["faces"] == 0
    assert all(message.retain for message in ear.heard)
    late = ears(broker)
    late.wait(f"{BASE}/health")
    for message in late.heard:
        if message.topic != AVAILABILITY:
            fits(message.topic.rsplit("/", 1)[1], message.payload)
            assert message.properties.ContentType == "application/json"
            assert message.properties.UserProperty == [
                ("schema", json.loads(message.payload)["schema"])
            ]


def test_what_is_published_before_the_start_is_part_of_the_birth(
    brokers: BrokerMaker, ears: EarMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    publisher = Publisher(Mqtt(url=broker.url), "kiosk", ("door",))
    publisher.health(HEALTH)
    publisher.info(INFO)
    publisher.start()
    ear.wait(f"{BASE}/health")
    publisher.close()
    assert [message.topic.removeprefix(f"{BASE}/") for message in ear.heard][:5] == [
        "availability",
        "info",
        "camera/door/status",
        "camera/door/state",
        "health",
    ]
    assert ear.json(f"{BASE}/camera/door/status")[0]["status"] == "reconnecting"


def test_an_event_arrives_once_and_is_not_retained(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    publisher = publishers(broker.url, event_expiry_s=99)
    connected(publisher)
    publisher.send(event(1))
    ear.wait(EVENTS)
    drained(publisher)
    (message,) = ear.on(EVENTS)
    fits("event", message.payload)
    assert json.loads(message.payload)["replayed"] is False
    assert (message.qos, message.retain) == (1, False)
    assert message.properties.ContentType == "application/json"
    assert message.properties.UserProperty == [("schema", "mien-event/1")]
    assert 0 < message.properties.MessageExpiryInterval <= 99
    late = ears(broker)
    late.wait(AVAILABILITY)
    assert late.on(EVENTS) == []


def test_a_state_names_the_faces_and_replaces_the_one_before(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    publisher = publishers(broker.url)
    face = FaceNow(track=3, emotion="sad", confidence=0.5, box=event(1).box)
    publisher.state(payloads.state("door", [face], ts=TS, clock_synced=True))
    publisher.close()
    ear = ears(broker)
    ear.wait(f"{BASE}/camera/door/state")
    (state,) = ear.json(f"{BASE}/camera/door/state")
    assert (state["faces"], state["emotion"], state["present"][0]["track"]) == (1, "sad", 3)


def test_close_hands_over_what_waits_and_then_says_offline(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    publisher = publishers(broker.url)
    for seq in range(1, 301):
        publisher.send(event(seq))
    publisher.close()
    ear.wait(AVAILABILITY, 2)
    assert numbers(ear) == list(range(1, 301))
    assert ear.texts(AVAILABILITY) == ["online", "offline"]
    assert ear.heard[-1].topic == AVAILABILITY
    assert "Received DISCONNECT from mien-kiosk" in broker.log
    late = ears(broker)
    late.wait(AVAILABILITY)
    assert late.texts(AVAILABILITY) == ["offline"]
    assert late.on(AVAILABILITY)[0].retain


CHILD = """
import sys
from edge.settings import Mqtt
from edge.mqtt import Publisher
publisher = Publisher(Mqtt(url=sys.argv[1]), "kiosk", ["door"])
publisher.start()
print("started", flush=True)
sys.stdin.read()
publisher.close()
"""


def test_a_killed_process_is_offline_by_its_last_will(brokers: BrokerMaker, ears: EarMaker) -> None:
    broker = brokers()
    ear = ears(broker)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, broker.url],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        ear.wait(f"{BASE}/camera/door/state")
        child.send_signal(signal.SIGKILL)
        ear.wait(AVAILABILITY, 2)
    finally:
        child.kill()
        child.communicate()
    assert ear.texts(AVAILABILITY) == ["online", "offline"]
    late = ears(broker)
    late.wait(AVAILABILITY)
    assert late.texts(AVAILABILITY) == ["offline"]
    assert late.on(AVAILABILITY)[0].retain


@pytest.mark.parametrize(
    "refusal", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""], ids=["3.1.1", "5", "hangs up"]
)
def test_a_broker_that_takes_no_mqtt_5_is_spoken_to_in_3_1_1(
    *,
    refusal: bytes,
    brokers: BrokerMaker,
    ears: EarMaker,
    cables: CableMaker,
    publishers: PublisherMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    broker = brokers()
    ear = ears(broker, version=4)
    cable = cables(broker, refusal)
    cable.plug()
    publisher = publishers(cable.url)
    connected(publisher)
    publisher.send(event(1))
    ear.wait(EVENTS)
    fits("event", ear.on(EVENTS)[0].payload)
    assert publisher.link().protocol == "3.1.1"
    assert caplog.messages == [
        f"mqtt: {cable.url[7:]}: connected with MQTT 3.1.1; the broker takes no MQTT 5"
    ]
    cable.pull()
    eventually(lambda: not publisher.link().connected)
    cable.plug()
    connected(publisher)
    assert cable.refused == 1  # what worked is remembered
    publisher.close()
    ear.wait(AVAILABILITY, 4)
    assert ear.texts(AVAILABILITY) == ["online", "offline", "online", "offline"]


def test_refused_credentials_are_said_once_and_work_when_mended(
    brokers: BrokerMaker,
    publishers: PublisherMaker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        [program("mosquitto_passwd", "mosquitto"), "-c", "-b", str(passwords), "kiosk", "sesame"],
        check=True,
        capture_output=True,
    )
    broker = brokers(f"allow_anonymous false\npassword_file {passwords}")
    secret = tmp_path / "secret"
    secret.write_text("wr0ng-secret\n")
    publisher = publishers(broker.url, username="kiosk", password_file=str(secret))
    eventually(lambda: broker.log.count("not authorised") >= 3, "three refusals")
    trouble = publisher.link().trouble
    assert trouble is not None
    assert "set [mqtt] username and password_file" in trouble
    secret.write_text("sesame\n")
    connected(publisher)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(said) == 1
    assert not any("wr0ng" in record.getMessage() for record in caplog.records)


def test_a_connection_that_breaks_under_load_loses_nothing(
    brokers: BrokerMaker, ears: EarMaker, cables: CableMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    cable = cables(broker)
    cable.plug()
    publisher = publishers(cable.url)
    connected(publisher)
    seq = 0
    for turn in range(5):
        # A connection that ends before its birth arrived is none that a subscriber heard of.
        eventually(lambda turn=turn: ear.texts(AVAILABILITY).count("online") == turn + 1)
        for _ in range(100):
            publisher.send(event(seq := seq + 1))
        cable.pull()
        publisher.send(event(seq := seq + 1))
        eventually(lambda: not publisher.link().connected)
        publisher.send(event(seq := seq + 1))
        cable.plug()
        connected(publisher)
    drained(publisher)
    publisher.send(event(seq := seq + 1))
    eventually(lambda: seq in numbers(ear), "the last event")
    assert deduplicated(ear) == list(range(1, seq + 1))
    assert publisher.link().dropped == 0
    assert ear.json(EVENTS)[-1]["replayed"] is False
    held = {each["seq"] for each in ear.json(EVENTS) if each["replayed"]}
    assert {102 * turn for turn in range(1, 6)} <= held
    # Each break is told by the will, each return by a birth, whatever was in flight.
    assert ear.texts(AVAILABILITY) == ["online", *["offline", "online"] * 5]


def test_a_broker_that_is_killed_and_comes_back_empty_gets_what_it_missed(
    brokers: BrokerMaker, ears: EarMaker, cables: CableMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    cable = cables(broker)
    cable.plug()
    publisher = publishers(cable.url)
    publisher.info(INFO)
    for seq in range(1, 51):
        publisher.send(event(seq))
    eventually(lambda: 50 in numbers(ear))
    ear.forget()
    cable.pull()
    broker.kill()
    for seq in range(51, 101):
        publisher.send(event(seq))
    broker.start()
    ear.subscribed()
    cable.plug()
    eventually(lambda: 100 in numbers(ear), "the last event")
    assert deduplicated(ear) == list(range(1, 101))
    late = ears(broker)
    for topic in ("availability", "info", "camera/door/status", "camera/door/state"):
        late.wait(f"{BASE}/{topic}")
    assert late.texts(AVAILABILITY) == ["online"]


def test_a_full_queue_drops_the_oldest_and_counts_them(
    brokers: BrokerMaker,
    ears: EarMaker,
    cables: CableMaker,
    publishers: PublisherMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = brokers()
    ear = ears(broker)
    cable = cables(broker)
    publisher = publishers(cable.url, queue=10)
    for seq in range(1, 26):
        publisher.send(event(seq))
    link = publisher.link()
    assert (link.connected, link.depth, link.dropped) == (False, 10, 15)
    cable.plug()
    eventually(lambda: 25 in numbers(ear), "the newest event")
    assert numbers(ear) == list(range(16, 26))
    assert publisher.link().dropped == 15
    assert "15 events were dropped" in caplog.text


def test_a_hanging_broker_holds_nobody_up(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    ear = ears(broker)
    publisher = publishers(broker.url, queue=500)
    connected(publisher)
    publisher.send(event(1))
    ear.wait(EVENTS)
    drained(publisher)
    broker.signal(STOP)
    try:
        for seq in range(2, 302):
            publisher.send(event(seq))
            publisher.status(STATUS)
        # All were taken in while the broker acknowledged none.
        assert publisher.link().depth == 300
    finally:
        broker.signal(CONTINUE)
    eventually(lambda: 301 in numbers(ear), "the last event")
    assert deduplicated(ear) == list(range(1, 302))


@pytest.mark.slow
def test_close_does_not_wait_for_a_hanging_broker_for_ever(
    brokers: BrokerMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    publisher = publishers(broker.url)
    connected(publisher)
    broker.signal(STOP)
    for seq in range(1, 51):
        publisher.send(event(seq))
    publisher.close()
    assert publisher.link().depth == 50
    broker.signal(CONTINUE)


def test_what_other_configurations_left_behind_is_cleared(
    brokers: BrokerMaker, ears: EarMaker, publishers: PublisherMaker
) -> None:
    broker = brokers()
    old = publishers(broker.url, cameras=("door", "attic"))
    connected(old)
    old.close()
    neighbour = ears(broker)
    neighbour.wait(f"{BASE}/camera/attic/state")
    publisher = publishers(broker.url)
    eventually(lambda: neighbour.texts(f"{BASE}/camera/attic/state")[-1] == "")
    eventually(lambda: neighbour.texts(f"{BASE}/camera/attic/status")[-1] == "")
    connected(publisher)
    late = ears(broker)
    late.wait(f"{BASE}/camera/door/state")
    assert late.on(f"{BASE}/camera/attic/state") == []
    assert late.on(f"{BASE}/camera/attic/status") == []


def test_events_the_broker_refuses_are_counted_and_said_once(
    brokers: BrokerMaker,
    publishers: PublisherMaker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic read mien/#\n")
    broker = brokers(f"allow_anonymous true\nacl_file {rights}")
    publisher = publishers(broker.url)
    for seq in range(1, 6):
        publisher.send(event(seq))
    eventually(lambda: publisher.link().refused == 5, "five refusals")
    assert publisher.link().depth == 0
    assert sum("refuses what is published" in line for line in caplog.messages) == 1


def test_a_subscription_that_is_refused_hinders_nothing(
    brokers: BrokerMaker, publishers: PublisherMaker, tmp_path: Path
) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic write mien/#\n")
    broker = brokers(f"allow_anonymous true\nacl_file {rights}")
    publisher = publishers(broker.url)
    publisher.send(event(1))
    drained(publisher)
    assert publisher.link().refused == 0


def test_a_publisher_that_was_never_started_closes() -> None:
    publisher = Publisher(Mqtt(url="mqtt://127.0.0.1:1"), "kiosk", ())
    publisher.send(event(1))
    publisher.close()
    publisher.close()
    assert publisher.link().depth == 1


def test_closing_without_a_broker_ends_and_says_what_is_lost(
    brokers: BrokerMaker, publishers: PublisherMaker, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = publishers(brokers(start=False).url)
    publisher.send(event(1))
    publisher.close()
    assert "1 events were not delivered" in caplog.text


def test_a_defect_of_the_thread_is_not_lost() -> None:
    def dice() -> float:
        raise ArithmeticError

    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
    publisher = Publisher(Mqtt(url=url), "kiosk", (), backoff=Backoff(dice=dice))
    publisher.start()
    eventually(lambda: publisher.link().trouble is not None)
    with pytest.raises(ArithmeticError):
        eventually(lambda: publisher.send(event(1)) is not None)
    with pytest.raises(ArithmeticError):
        publisher.close()


def answers(server: socket.socket, answer: bytes, calls: list[bytes]) -> None:
    """Be a server that says the same to everyone and hangs up, until it is closed."""
    while True:
        try:
            caller, _ = server.accept()
        except OSError:
            return
        with caller:
            calls.append(caller.recv(64))
            caller.sendall(answer)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64])
def test_what_is_no_broker_is_tried_again_with_both_protocols(
    answer: bytes, publishers: PublisherMaker, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=answers, args=(server, answer, calls))
    thread.start()
    try:
        publisher = publishers(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        publisher.send(event(1))
        eventually(lambda: len(calls) >= 5, "five calls")
        publisher.close()
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()
    assert {b"MQTT\x04" in calls[1], b"MQTT\x05" in calls[0]} == {True}
    assert publisher.link().depth == 1
    assert sum("trying again" in line for line in caplog.messages) <= 2


@pytest.mark.slow
def test_a_server_that_never_answers_is_asked_in_3_1_1_and_given_up(
    publishers: PublisherMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "PROBE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(mqtt, "ANSWER_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        publisher = publishers(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        for version in (b"MQTT\x05", b"MQTT\x04"):
            caller, _ = server.accept()
            with caller:
                assert version in caller.recv(256)
                assert caller.recv(1) == b""
        assert publisher.link().trouble == "it takes the connection and does not answer"
        publisher.close()


def test_the_protocol_can_be_set(brokers: BrokerMaker, publishers: PublisherMaker) -> None:
    broker = brokers()
    publisher = publishers(broker.url, protocol="3.1.1")
    connected(publisher)
    assert publisher.link().protocol == "3.1.1"
