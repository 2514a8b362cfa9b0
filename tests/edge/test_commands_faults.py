"""Commands when things go wrong: brokers, strangers, and self-tests that come to no end."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from realbroker import CONTINUE, STOP, Ear, Mosquitto, eventually
from requester import ENABLED, Requester, begun
from service import WATCHDOG_S, Device, Manager, P
from test_commands import mutations

from edge import schema

BrokerMaker = Callable[..., Mosquitto]
EarMaker = Callable[..., Ear]


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
    seen = len(device.events)
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
    assert asking.ear.on(f"{P}/selftest")[-1].retain
    assert len(device.events) > seen, "faces are told of meanwhile"
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
