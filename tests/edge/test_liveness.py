"""The whole daemon under a service manager: real processes, a real notify socket, a real broker.

What it says of itself must be true: ready when it is, alive while it makes progress and not a
moment longer, stopping when it stops.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from realbroker import STOP, Ear, Mosquitto, eventually
from service import WATCHDOG_S, Device, Manager, P

Figure = Callable[[str], None]


def longest_silence(manager: Manager) -> str:
    times = manager.times("WATCHDOG=1")
    longest_s = max(after - before for before, after in zip(times, times[1:], strict=False))
    return f"{len(times)} signs of life, at most {longest_s:.2f} s apart ({WATCHDOG_S} allowed)"


def lives(manager: Manager, seconds: float) -> None:
    """No two signs of life are further apart than the watchdog allows, for so long."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        last_s = max(manager.times("WATCHDOG=1"), default=until_s - seconds)
        assert time.monotonic() - last_s < WATCHDOG_S, manager.heard
        time.sleep(0.05)


def falls_silent(manager: Manager) -> None:
    """For three times as long as the watchdog waits there is no sign of life."""
    eventually(
        lambda: time.monotonic() - manager.times("WATCHDOG=1")[-1] > 3 * WATCHDOG_S, "silence"
    )


# Progress


def test_ready_comes_once_and_before_any_sign_of_life(
    device: Device, manager: Manager, figure: Figure
) -> None:
    began_s = time.monotonic()
    device.start()
    manager.wait("WATCHDOG=1", 3)
    assert len(manager.times("READY=1")) == 1
    figure(f"ready {manager.times('READY=1')[0] - began_s:.2f} s after it was started")
    said = [text for _, text in manager.heard]
    assert said[0] == "STATUS=loading the models"
    assert said.index("READY=1") < said.index("WATCHDOG=1")
    eventually(lambda: "door ok; broker away" in manager.status, "words")
    code, _, log = device.stop()
    assert (code, "Traceback" in log) == (0, False), log
    assert manager.status == "stopping"
    device.whole()


def test_a_configuration_that_is_wrong_is_never_ready(device: Device, manager: Manager) -> None:
    device.start(extra='[emotion]\nbundle = "absent"\n')
    assert device.process is not None
    assert device.process.wait(30) == 78
    assert not manager.times("READY=1")


@pytest.mark.slow
def test_inference_that_hangs_is_no_progress(
    device: Device, manager: Manager, figure: Figure
) -> None:
    device.start(MIEN_TEST_STALL="50")
    manager.wait("WATCHDOG=1", 1)
    falls_silent(manager)
    assert device.process is not None
    assert device.process.poll() is None, "it runs, and says no word"
    figure(f"no sign of life in {time.monotonic() - manager.times('WATCHDOG=1')[-1]:.1f} s")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["absent", "freeze", "garbage", "error"])
def test_a_camera_that_is_away_is_degraded_not_dead(
    mode: str, device: Device, manager: Manager, figure: Figure
) -> None:
    device.start(mode)
    manager.wait("READY=1")
    manager.wait("WATCHDOG=1")
    lives(manager, 3.0)
    device.become("ok")
    back_s = time.monotonic()
    eventually(lambda: device.count("start") >= 1, "a face")
    back_s = time.monotonic() - back_s
    figure(f"first event {back_s:.2f} s after it was back; {longest_silence(manager)}")
    lives(manager, 1.0)
    assert device.stop()[0] == 0
    device.whole()


@pytest.mark.slow
def test_a_driver_that_hangs_for_good_ends_the_process_and_every_track(
    device: Device, manager: Manager, figure: Figure
) -> None:
    device.start()
    eventually(lambda: device.count("start") >= 1, "a face")
    device.become("hang")
    began_s = time.monotonic()
    assert device.process is not None
    _, log = device.process.communicate(timeout=30)
    assert device.process.returncode == 1
    took_s = time.monotonic() - began_s
    assert took_s < 3.0 + 5.0
    figure(f"exit 1 after {took_s:.1f} s (twice 1.5 s and the goodbye)")
    assert re.search(r"mien: camera door: .*hangs .*, and only a new process", log)
    assert "Traceback" not in log
    assert device.count("end") == device.count("start")
    assert manager.times("STOPPING=1")
    device.whole()


@pytest.mark.slow
def test_a_recording_that_never_begins_ends_the_process(
    device: Device, manager: Manager, tmp_path: Path
) -> None:
    # Opening a FIFO nobody writes to never returns.
    os.mkfifo(tmp_path / "fifo")
    device.uri = f"clip:{tmp_path / 'fifo'}"
    device.start()
    assert device.process is not None
    _, log = device.process.communicate(timeout=30)
    assert device.process.returncode == 1
    assert "hangs while opening it" in log
    assert manager.times("READY=1")


@pytest.mark.slow
@pytest.mark.parametrize("by_s", ["86400", "-86400"])
def test_a_clock_that_leaps_by_a_day_trips_nothing(
    by_s: str, device: Device, manager: Manager, figure: Figure
) -> None:
    device.start(MIEN_TEST_CLOCK=by_s)
    manager.wait("WATCHDOG=1")
    # The clock leaps every two seconds: forth, back by two days, and to where it was.
    lives(manager, 7.0)
    assert device.count("end") == 0, "nobody was lost"
    assert "door ok" in manager.status
    days = {event["ts"][:10] for event in device.events}  # type: ignore[index]
    assert len(days) == 3, "the clock did leap"
    figure(f"{len(device.events)} events on {len(days)} days; {longest_silence(manager)}")
    assert device.stop()[0] == 0
    device.whole()


# The end


def test_sigterm_under_load_ends_all_tracks_within_five_seconds(
    device: Device,
    manager: Manager,
    brokers: Callable[..., Mosquitto],
    ears: Callable[..., Ear],
    figure: Figure,
) -> None:
    broker = brokers()
    ear = ears(broker)
    device.mqtt = broker.url
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        device.start()
        eventually(lambda: device.count("start") >= 1, "a face")
        code, took_s, log = device.stop()
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert (code, took_s < 5.0) == (0, True), log
    assert device.count("end") == device.count("start") > 0
    assert len(manager.times("STOPPING=1")) == 1
    told = [event["id"] for event in device.events]
    ear.wait(f"{P}/availability", 2)
    assert ear.texts(f"{P}/availability") == ["online", "offline"]
    heard = [event["id"] for event in ear.json(f"{P}/camera/door/event")]
    assert list(dict.fromkeys(heard)) == told, "and all of it arrived"
    figure(f"out after {took_s:.2f} s, {len(told)} of {len(told)} events arrived")


@pytest.mark.slow
@pytest.mark.parametrize("broker_hangs", [False, True])
def test_sigterm_is_obeyed_within_five_seconds_whatever_hangs(
    *, broker_hangs: bool, device: Device, brokers: Callable[..., Mosquitto], figure: Figure
) -> None:
    broker = brokers()
    device.mqtt = broker.url
    device.start()
    eventually(lambda: device.count("start") >= 1, "a face")
    if broker_hangs:
        broker.signal(STOP)
    device.become("hang")
    time.sleep(0.3)
    code, took_s, log = device.stop()
    assert (code, took_s < 5.0) == (0, True), log
    assert "did not let go" in log
    figure(f"out after {took_s:.2f} s")
    assert device.count("end") == device.count("start")


@pytest.mark.slow
def test_a_camera_that_stays_in_cpp_does_not_abort_the_end(device: Device) -> None:
    device.start()
    eventually(lambda: device.count("start") >= 1, "a face")
    device.become("native")
    time.sleep(0.5)
    code, took_s, log = device.stop()
    assert (code, took_s < 5.0) == (0, True), log
    assert "did not let go" in log
    assert "FATAL" not in log
    device.whole()


# What subscribers hear


@pytest.mark.slow
def test_what_is_published_of_a_camera_is_true(
    device: Device, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    ear = ears(broker)
    device.mqtt = broker.url
    device.start("absent")

    def status() -> list[str]:
        return [each["status"] for each in ear.json(f"{P}/camera/door/status")]

    def problems() -> list[str]:
        reports = ear.json(f"{P}/health")
        return [each["code"] for each in reports[-1]["problems"]] if reports else ["none yet"]

    eventually(
        lambda: any("no such" in each["reason"] for each in ear.json(f"{P}/camera/door/status")),
        "the camera is away",
    )
    assert set(status()) == {"reconnecting"}
    eventually(lambda: problems() == ["camera-away"], "the first report names it")
    device.become("ok")
    eventually(lambda: status()[-1:] == ["ok"] and device.count("start") >= 1, "it is back")
    device.become("hang")
    eventually(lambda: "stalled" in status(), "it gives no pictures")
    eventually(lambda: device.count("end") == device.count("start"), "so nobody is in view")
    eventually(lambda: ear.json(f"{P}/camera/door/state")[-1]["faces"] == 0, "says the state")
    device.become("ok")
    eventually(lambda: status()[-1:] == ["ok"] and device.count("start") >= 2, "it is back")
    assert device.stop()[0] == 0
    device.whole()


@pytest.mark.slow
def test_a_face_in_an_idle_room_is_seen_at_once(
    device: Device,
    brokers: Callable[..., Mosquitto],
    ears: Callable[..., Ear],
    figure: Figure,
) -> None:
    broker = brokers()
    ear = ears(broker)
    device.mqtt = broker.url
    idle = "[cadence]\nidle_after_s = 1.0\nidle_fps = 2.0\n[detector]\nevery = 10\n"
    device.start("wall", extra=idle)
    # 5 s after the start: one second of 25 frames, four of 2.
    eventually(lambda: bool(ear.json(f"{P}/health")), "the first report")
    health = ear.json(f"{P}/health")[0]
    assert health["pace"] == {"door": "idle"}
    assert health["fps"]["door"] < 12
    assert device.events == []
    began_s = time.monotonic()
    device.become("ok")
    eventually(lambda: device.count("start") == 1, "a face")
    # At most half a second until the next look, 20 frames for two looks of the detector, 0.1 s
    # to settle; at two frames a second the two looks alone would have taken ten seconds.
    took_s = time.monotonic() - began_s
    assert took_s < 3.0
    figure(f"{health['fps']['door']} of 25 frames a second looked at; `start` after {took_s:.2f} s")
    assert device.stop()[0] == 0


@pytest.mark.slow
def test_a_hot_board_looks_less_often_and_says_so(
    device: Device,
    tmp_path: Path,
    brokers: Callable[..., Mosquitto],
    ears: Callable[..., Ear],
    figure: Figure,
) -> None:
    broker = brokers()
    ear = ears(broker)
    device.mqtt = broker.url
    (tmp_path / "celsius").write_text("91.5")
    device.start(extra="[cadence]\nhot_fps = 2.0\n", MIEN_TEST_CELSIUS=str(tmp_path / "celsius"))
    eventually(lambda: bool(ear.json(f"{P}/health")), "the first report")
    health = ear.json(f"{P}/health")[0]
    assert (health["pace"], health["celsius"]) == ({"door": "hot"}, 91.5)
    assert 1.0 < health["fps"]["door"] < 4.0
    (problem,) = health["problems"]
    assert problem["code"] == "slowed-by-heat"
    assert "at most 2 frames a second" in problem["text"]
    assert device.count("start") >= 1, "faces are still recognised"
    figure(f"{health['fps']['door']} of 25 frames a second looked at")
    assert device.stop()[0] == 0
    device.whole()
