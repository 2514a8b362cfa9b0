"""Commands, asked of a real daemon through a real mosquitto."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from realbroker import Ear, Mosquitto, eventually, program
from requester import ENABLED, RESULT, Requester, begun, statuses
from service import WATCHDOG_S, Device, Manager, P

ROOT = Path(__file__).parents[2]

BrokerMaker = Callable[..., Mosquitto]
EarMaker = Callable[..., Ear]


# Off, and on


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
