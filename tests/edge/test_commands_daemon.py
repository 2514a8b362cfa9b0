"""Commands, asked of a real daemon through a real mosquitto."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from realbroker import CONTINUE, STOP, Ear, Mosquitto, eventually, program
from service import WATCHDOG_S, Device, Manager, P
from test_commands import mutations

from edge import schema

ENABLED = "[commands]\nenabled = true\n"
RESULT = Draft202012Validator(json.loads(schema.text("result")))
ROOT = Path(__file__).parents[2]

BrokerMaker = Callable[..., Mosquitto]
EarMaker = Callable[..., Ear]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def device(tmp_path: Path, manager: Manager) -> Iterator[Device]:
    made = Device(tmp_path, manager)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


class Requester:
    """Asks a device, and hears what is said of it."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear

    def send(
        self,
        name: str,
        payload: bytes | str = b"",
        *,
        retain: bool = False,
        correlation: bytes | None = None,
        response: str | None = None,
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        if correlation is not None:
            properties.CorrelationData = correlation
        if response is not None:
            properties.ResponseTopic = response
        self.ear.say(f"{P}/cmd/{name}", payload, retain=retain, properties=properties)

    @property
    def results(self) -> list[dict[str, Any]]:
        found = self.ear.json(f"{P}/cmd/result")
        for each in found:
            RESULT.validate(each)
        return found

    def ask(
        self,
        name: str,
        payload: bytes | str = b"",
        *,
        retain: bool = False,
        correlation: bytes | None = None,
        response: str | None = None,
    ) -> dict[str, Any]:
        before = len(self.results)
        self.send(name, payload, retain=retain, correlation=correlation, response=response)
        self.ear.wait(f"{P}/cmd/result", before + 1)
        result = self.results[before]
        assert result["command"] == name
        return result


@pytest.fixture
def asking(device: Device, brokers: BrokerMaker, ears: EarMaker) -> Requester:
    """A daemon with commands enabled, which looks at a face, and who may ask it."""
    return begun(device, brokers(), ears)


def begun(
    device: Device, broker: Mosquitto, ears: EarMaker, extra: str = ENABLED, **environ: str
) -> Requester:
    ear = ears(broker)
    device.mqtt = broker.url
    device.start(extra=extra, **environ)
    eventually(lambda: device.count("start") == 1, "a face")
    ear.wait(f"{P}/info")
    return Requester(ear)


def statuses(asking: Requester) -> list[str]:
    return [each["status"] for each in asking.ear.json(f"{P}/camera/door/status")]


# Off, and on


def test_without_being_enabled_nothing_is_heard(
    device: Device, brokers: BrokerMaker, ears: EarMaker
) -> None:
    broker = brokers()
    asking = begun(device, broker, ears, extra="")
    asking.send("pause")
    updates = device.count("update")
    eventually(lambda: device.count("update") > updates + 2, "life goes on")
    assert device.count("end") == 0
    assert asking.results == []
    assert "/cmd/" not in "".join(
        line for line in broker.log.splitlines() if "SUBSCRIBE" in line or "\t" in line
    )
    assert device.stop()[0] == 0


RIGHTS = {
    "defaultACLAccess": {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    },
    "anonymousGroup": "all",
    "groups": [{"groupname": "all", "roles": [{"rolename": "listener"}]}],
    "roles": [
        {
            "rolename": "listener",
            "acls": [{"acltype": "subscribeLiteral", "topic": "mien/#", "allow": True}],
        }
    ],
}
"""Whoever asks for everything below mien/ gets it, and nobody anything else."""


@pytest.mark.slow
def test_a_broker_that_does_not_let_us_hear_is_a_problem(
    device: Device, brokers: BrokerMaker, ears: EarMaker, tmp_path: Path
) -> None:
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        assert os.environ.get("CI") != "true", "CI must have mosquitto's plugin"
        pytest.skip("mosquitto_dynamic_security.so is missing: apt install mosquitto")
    rights = tmp_path / "rights.json"
    rights.write_text(json.dumps(RIGHTS))
    broker = brokers(f"allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {rights}")
    asking = begun(device, broker, ears)
    eventually(
        lambda: (
            [
                problem["code"]
                for health in asking.ear.json(f"{P}/health")
                for problem in health["problems"]
            ]
            == ["commands-refused"]
        ),
        "the problem",
    )
    log = device.stop()[2]
    assert log.count("the broker does not let us hear commands") == 1


# Reload


def test_a_reload_is_answered_with_what_became_of_it(device: Device, asking: Requester) -> None:
    result = asking.ask("reload", '{"id": "one"}')
    assert (result["outcome"], result["id"], result["device_id"]) == ("done", "one", "lobby")
    assert result["text"].startswith("in force, mien-consensus@")

    text = device.config.read_text()
    device.config.write_text(text.replace("heartbeat_s", "hartbeat_s"))
    result = asking.ask("reload")
    assert (result["outcome"], result["id"]) == ("refused", None)
    assert "hartbeat_s: unknown key" in result["text"]
    assert device.count("end") == 0

    device.config.write_text(text.replace('name = "door"\n', 'name = "door"\nrotate = 180\n'))
    assert asking.ask("reload")["text"].endswith("begun anew: door")
    code, _, log = device.stop()
    assert code == 0
    assert log.count("command reload: done") == 2
    device.whole()


def test_commands_are_switched_on_and_off_by_a_new_process_only(
    device: Device, asking: Requester
) -> None:
    text = device.config.read_text()
    device.config.write_text(text.replace("enabled = true", "enabled = false"))
    result = asking.ask("reload")
    assert result["outcome"] == "refused"
    assert "commands: cannot change while the daemon runs" in result["text"]


def test_correlation_data_comes_back_where_results_always_go(
    device: Device, asking: Requester
) -> None:
    result = asking.ask("reload", correlation=b"\x00\xff7", response="mien/other/cmd/reload")
    assert result["outcome"] == "done"
    (message,) = asking.ear.on(f"{P}/cmd/result")
    assert message.properties.CorrelationData == b"\x00\xff7"
    assert message.properties.ContentType == "application/json"
    assert message.properties.UserProperty == [("schema", "mien-result/1")]
    assert (message.qos, message.retain) == (1, False)
    asking.send("reload", correlation=b"\x00\xff7")
    asking.ear.wait(f"{P}/cmd/result", 2)
    first, again = asking.results
    assert again == first, "asked again, it is not done again"
    assert asking.ear.on("mien/other/cmd/reload") == []
    assert device.stop()[2].count("command reload: done") == 1


def test_what_is_retained_is_refused_and_never_heard_again(
    device: Device, brokers: BrokerMaker, ears: EarMaker
) -> None:
    broker = brokers()
    asking = begun(device, broker, ears)
    result = asking.ask("reload", "{}", retain=True)
    assert result["outcome"] == "refused"
    assert "without retain" in result["text"]
    assert device.stop()[0] == 0
    device.start(extra=ENABLED)
    asking.ear.wait(f"{P}/availability", 3)
    assert asking.ask("pause")["outcome"] == "done"
    assert len(asking.results) == 2
    asking.send("reload", "", retain=True)
    assert asking.ask("resume")["outcome"] == "done"
    assert len(asking.results) == 3, "what clears it is no command"
    assert "command reload: done" not in device.stop()[2]


# Pause and resume


def test_a_paused_camera_sees_nobody_until_it_is_resumed(
    device: Device, manager: Manager, asking: Requester
) -> None:
    assert asking.ask("pause")["text"] == "paused: door"
    eventually(lambda: statuses(asking)[-1] == "paused", "the status")
    eventually(lambda: asking.ear.json(f"{P}/camera/door/state")[-1]["faces"] == 0, "nobody")
    assert (device.count("start"), device.count("end")) == (1, 1)
    seen, signs = len(device.events), len(manager.times("WATCHDOG=1"))
    manager.wait("WATCHDOG=1", signs + 4)
    lately = manager.times("WATCHDOG=1")[signs:]
    assert all(b - a < WATCHDOG_S for a, b in zip(lately, lately[1:], strict=False))
    assert "door paused" in manager.status
    assert len(device.events) == seen, "nobody was looked at"

    assert asking.ask("resume")["text"] == "resumed: door"
    eventually(lambda: statuses(asking)[-1] == "ok", "the status")
    eventually(lambda: device.count("start") == 2, "the face")
    assert device.stop()[0] == 0
    device.whole()


def test_nobody_is_seen_between_the_answer_and_the_closing_of_the_camera(
    device: Device, brokers: BrokerMaker, ears: EarMaker
) -> None:
    at_first_sight = {"MIEN_EVENTS__SETTLE_S": "0", "MIEN_TRACKER__CONFIRM": "1"}
    asking = begun(device, brokers(), ears, **at_first_sight)
    for number in range(1, 4):
        asking.ask("pause")
        eventually(lambda: statuses(asking)[-1] == "paused", "the status")
        assert (device.count("start"), device.count("end")) == (number, number)
        asking.ask("resume")
        eventually(lambda: device.count("start") == number + 1, "the face")  # noqa: B023  # in turn
    assert device.stop()[0] == 0
    device.whole()


def test_one_camera_is_paused_and_the_other_is_not(
    device: Device, brokers: BrokerMaker, ears: EarMaker, tmp_path: Path
) -> None:
    (tmp_path / "second").write_text("ok")
    second = f'[[camera]]\nname = "desk"\nuri = "double:{tmp_path / "second"}"\n'
    broker = brokers()
    ear = ears(broker)
    device.mqtt = broker.url
    device.start(extra=ENABLED + second)
    eventually(lambda: device.count("start") == 2, "two faces")
    asking = Requester(ear)
    assert asking.ask("pause", '{"camera": "desk"}')["text"] == "paused: desk"
    result = asking.ask("pause", '{"camera": "cellar"}')
    assert (result["outcome"], result["text"]) == (
        "refused",
        "no camera 'cellar'; there are door, desk",
    )

    def told(camera: str) -> list[object]:
        return [event["type"] for event in device.events if event["camera"] == camera]

    before = len(told("door"))
    eventually(lambda: len(told("door")) > before + 3, "life goes on")
    assert told("desk")[-1] == "end"
    assert device.stop()[0] == 0


def test_a_pause_outlives_a_reload_and_not_the_process(device: Device, asking: Requester) -> None:
    asking.ask("pause")
    eventually(lambda: statuses(asking)[-1] == "paused", "the status")
    text = device.config.read_text()
    device.config.write_text(text.replace('name = "door"\n', 'name = "door"\nrotate = 180\n'))
    before = len(statuses(asking))
    assert asking.ask("reload")["text"].endswith("begun anew: door")
    eventually(
        lambda: len(statuses(asking)) > before and statuses(asking)[-1] == "paused", "the status"
    )
    code, _, log = device.stop()
    assert (code, log.count("camera door: open")) == (0, 1), "it was not opened meanwhile"
    device.start(extra=ENABLED)
    eventually(lambda: device.count("start") == 2, "the face")


def test_a_command_is_carried_out_at_once_whatever_the_cameras_do(
    asking: Requester, figure: Callable[[str], None]
) -> None:
    asking.ask("pause")
    eventually(lambda: statuses(asking)[-1] == "paused", "a loop that nothing wakes")
    took_s = []
    for _ in range(8):
        begun_s = time.monotonic()
        asking.ask("pause")
        took_s.append(time.monotonic() - begun_s)
    # The loop looks at its clocks every half second, from the command before on.
    assert min(took_s) < 0.25
    figure(f"answered after {1000 * sorted(took_s)[4]:.0f} ms (median of 8)")


# Self-test


def test_a_self_test_runs_beside_and_holds_nobody_up(
    device: Device,
    manager: Manager,
    *,
    brokers: BrokerMaker,
    ears: EarMaker,
    figure: Callable[[str], None],
    tmp_path: Path,
) -> None:
    spool = f'[spool]\npath = "{tmp_path / "spool"}"\n'
    asking = begun(device, brokers(), ears, extra=ENABLED + spool)
    asking.ear.wait(f"{P}/selftest")
    asking.send("selftest", '{"id": "long"}')
    result = asking.ask("pause", '{"camera": "none"}')
    assert result["outcome"] == "refused", "others are answered meanwhile"
    assert asking.ask("selftest")["text"] == "a self-test is running already"
    eventually(lambda: asking.results[-1]["id"] == "long", "the result")
    result = asking.results[-1]
    assert result["outcome"] == "done"
    report = asking.ear.json(f"{P}/selftest")[-1]
    Draft202012Validator(json.loads(schema.text("selftest"))).validate(report)
    assert (report["scope"], report["boot_id"]) == ("full", result["boot_id"])
    assert result["text"].startswith(report["verdict"])
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert (verdicts["camera"], verdicts["busy"]) == ("skipped", "skipped")
    assert verdicts["broker-puback"] in ("passed", "failed"), "a loaded machine may be slow"
    assert verdicts["golden-head"] == verdicts["spool-room"] == "passed"
    assert list((tmp_path / "spool").glob("*.db")), "which the daemon has"
    figure(f"the self-test {result['text']}")
    late = asking.ear.on(f"{P}/selftest")[-1]
    assert late.retain
    assert device.count("end") == 0
    times = manager.times("WATCHDOG=1")
    assert all(b - a < WATCHDOG_S for a, b in zip(times, times[1:], strict=False))
    assert device.stop()[0] == 0
    device.whole()


def test_a_self_test_can_be_asked_for_by_signal_and_without_commands(
    device: Device, brokers: BrokerMaker, ears: EarMaker
) -> None:
    asking = begun(device, brokers(), ears, extra="")
    assert device.process is not None
    device.process.send_signal(signal.SIGUSR1)
    eventually(
        lambda: [each["scope"] for each in asking.ear.json(f"{P}/selftest")] == ["boot", "full"],
        "the report",
    )
    assert asking.results == []
    assert device.stop()[0] == 0


def test_a_self_test_that_is_asked_for_too_early_ends_nothing(
    device: Device, manager: Manager
) -> None:
    device.start()
    manager.wait("STATUS=loading the models")
    assert device.process is not None
    device.process.send_signal(signal.SIGUSR1)
    manager.wait("READY=1")
    assert device.stop()[0] == 0


def children(process: int) -> list[int]:
    return [
        int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def test_a_self_test_ends_with_the_daemon(device: Device, asking: Requester) -> None:
    assert device.process is not None
    asking.send("selftest", '{"id": "cut-short"}')
    eventually(lambda: children(device.process.pid) != [], "its process")  # type: ignore[union-attr]
    (child,) = children(device.process.pid)
    os.kill(child, signal.SIGSTOP)
    code, took_s, _ = device.stop()
    assert code == 0
    assert took_s < 5.0
    assert not Path(f"/proc/{child}").exists()
    asking.ear.wait(f"{P}/cmd/result")
    (result,) = asking.results
    assert (result["outcome"], result["text"]) == ("failed", "the daemon ends")


def test_a_self_test_that_crashes_is_a_failed_command_and_no_more(
    device: Device, asking: Requester
) -> None:
    assert device.process is not None
    asking.send("selftest")
    eventually(lambda: children(device.process.pid) != [], "its process")  # type: ignore[union-attr]
    os.kill(children(device.process.pid)[0], signal.SIGSEGV)
    asking.ear.wait(f"{P}/cmd/result")
    (result,) = asking.results
    assert result["outcome"] == "failed"
    assert "was killed by signal 11" in result["text"]
    assert device.count("end") == 0
    assert asking.ask("pause")["outcome"] == "done"


# The broker


@pytest.mark.slow
def test_commands_are_heard_after_whatever_happened_to_the_broker(
    device: Device, brokers: BrokerMaker, ears: EarMaker, figure: Callable[[str], None]
) -> None:
    broker = brokers()
    asking = begun(device, broker, ears)
    swept = "Received UNSUBSCRIBE from mien-lobby"
    eventually(lambda: swept in broker.log, "the end of what is done at the first connection only")
    for number in range(5):
        broker.kill()
        asking.ear.forget()
        broker.start()
        asking.ear.subscribed()
        eventually(lambda: asking.ear.texts(f"{P}/availability")[-1] == "online", "the device")
        asking.ear.wait(f"{P}/availability", 2 + number)
        assert asking.ask("pause")["outcome"] == "done", "it was empty, and knew no subscription"
    broker.signal(STOP)
    time.sleep(1.0)
    broker.signal(CONTINUE)
    assert asking.ask("resume")["outcome"] == "done"
    figure(f"{len(asking.results)} of 6 commands answered, after 5 kills and a pause of 1 s")
    assert device.stop()[0] == 0


def test_a_broker_of_3_1_1_carries_commands_too(
    device: Device, brokers: BrokerMaker, ears: EarMaker
) -> None:
    asking = begun(device, brokers(), ears, extra=ENABLED)
    assert device.stop()[0] == 0
    asking.send("reload", "{}", retain=True)
    device.start(extra=ENABLED, MIEN_MQTT__PROTOCOL="3.1.1")
    asking.ear.wait(f"{P}/cmd/result")
    assert "it is retained" in asking.results[0]["text"]
    result = asking.ask("pause", '{"id": "older"}')
    assert (result["outcome"], result["id"]) == ("done", "older")
    assert "command reload: done" not in device.stop()[2]


# Strangers


def rss_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


@pytest.mark.slow
def test_hundreds_of_mutated_commands_harm_nobody(
    device: Device, brokers: BrokerMaker, ears: EarMaker, figure: Callable[[str], None]
) -> None:
    broker = brokers()
    asking = begun(device, broker, ears)
    assert device.process is not None
    before_mb = rss_mb(device.process.pid)
    sent = 0
    for each in mutations(11, 700):
        name = each.topic.rpartition("/cmd/")[2]
        if not re.fullmatch(r"[a-zé_.-]+", name) or name == "result":
            continue
        asking.send(name, each.payload, retain=each.retained, correlation=each.correlation)
        sent += 1
    for _ in range(20):
        asking.send("pause", b"{" * 8_000_000)
    assert broker.log.count("Dropping too large outgoing PUBLISH for mien-lobby") == 20

    def answered() -> bool:
        # Right ones are refused too, and not answered, until so many are forgotten.
        asking.send("resume", '{"id": "the-owner"}')
        time.sleep(0.5)
        return ("the-owner", "done") in [(each["id"], each["outcome"]) for each in asking.results]

    eventually(answered, "a right command")
    heard = asking.results
    outcomes = {each["outcome"] for each in heard}
    assert outcomes <= {"done", "refused", "failed"}
    assert not any(each.retain for each in asking.ear.on(f"{P}/cmd/result"))
    assert {each.topic for each in asking.ear.heard if "/cmd/" not in each.topic} == {
        f"{P}/{name}"
        for name in (
            "availability",
            "info",
            "health",
            "selftest",
            "camera/door/status",
            "camera/door/state",
            "camera/door/event",
        )
    } | {each.topic for each in asking.ear.heard if "/selftest/probe" in each.topic}
    grown_mb = rss_mb(device.process.pid) - before_mb
    figure(
        f"{sent} mutated commands and 20 of 8 MB: {len(heard)} results, all valid; "
        f"{grown_mb:.1f} MB more"
    )
    assert grown_mb < 20.0
    assert device.stop()[0] == 0
    device.whole()


# What the README shows


def test_what_the_readme_shows_is_so(device: Device, brokers: BrokerMaker, ears: EarMaker) -> None:
    for name in ("mosquitto_pub", "mosquitto_rr"):
        program(name, "mosquitto-clients")
    broker = brokers()
    asking = begun(device, broker, ears)
    section = (ROOT / "README.md").read_text().split("\n## Commands\n")[1].split("\n## ")[0]
    shown = re.findall(r"^\$ (mosquitto_\w+ .*)$", section, re.MULTILINE)
    assert len(shown) >= 2
    for line in shown:
        command, *rest = shlex.split(line)
        before = len(asking.results)
        done = subprocess.run(
            [command, "-p", str(broker.port), *rest],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        asking.ear.wait(f"{P}/cmd/result", before + 1)
        assert asking.results[before]["outcome"] == "done", line
        if command == "mosquitto_rr":
            RESULT.validate(json.loads(done.stdout))
