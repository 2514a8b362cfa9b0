"""The whole daemon with an Edge TPU (a fake of its API) that fails, hangs and works again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from realbroker import Ear, Mosquitto, eventually
from service import DOUBLES, ROOT, Device, P
from test_accelerator import FAKE, compiled


class Stick:
    """A device with an Edge TPU that does what a file says."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.device = device
        self.control = folder / "tpu"
        self.state = folder / "state"
        self.state.mkdir()
        self.bundle = folder / "bundle"
        compiled(self.bundle)

    def become(self, mode: str) -> None:
        self.control.write_text(mode)

    def start(self, *, retry_s: float) -> None:
        self.device.start(
            extra=(
                f'[emotion]\nbundle = "{self.bundle}"\n[runtime]\nlibrary = "tflite-runtime"\n'
                f"edgetpu = true\nedgetpu_hang_s = 1.0\nedgetpu_retry_s = {retry_s}\n"
            ),
            PYTHONPATH=f"{FAKE}:{ROOT}:{DOUBLES.parent}",
            FAKE_EDGETPU=str(self.control),
            STATE_DIRECTORY=str(self.state),
        )

    @property
    def note(self) -> Path:
        return self.state / "edgetpu.json"


@pytest.fixture
def broker(brokers: Callable[..., Mosquitto]) -> Mosquitto:
    return brokers()


@pytest.fixture
def ear(broker: Mosquitto, ears: Callable[..., Ear]) -> Ear:
    return ears(broker)


@pytest.fixture
def stick(tmp_path: Path, device: Device, broker: Mosquitto) -> Stick:
    device.mqtt = broker.url
    return Stick(tmp_path, device)


def backend(ear: Ear) -> str:
    told = ear.json(f"{P}/info")
    return str(told[-1]["backend"]) if told else ""


def problem(ear: Ear) -> str:
    told = ear.json(f"{P}/health")
    problems = told[-1]["problems"] if told else []
    return next((each["text"] for each in problems if each["code"] == "edgetpu-away"), "")


@pytest.mark.slow
def test_one_that_is_missing_is_a_published_problem_and_joins_when_it_is_there(
    stick: Stick, ear: Ear
) -> None:
    stick.become("missing")
    stick.start(retry_s=6.0)
    eventually(lambda: "tried again after 6 s" in problem(ear), "the problem")
    assert problem(ear).startswith("the CPU does its work: libedgetpu.so.1 cannot be loaded")
    assert backend(ear) == "tflite-runtime on the CPU"
    eventually(lambda: stick.device.count("update") > 0, "events by the CPU")
    stick.become("ok")
    wanted = "tflite-runtime on the CPU, the frame model on the Edge TPU"
    eventually(lambda: backend(ear) == wanted, "it joins")
    assert stick.device.count("end") == 0, "nobody in view notices"
    updates = stick.device.count("update")
    eventually(lambda: stick.device.count("update") > updates, "events by it")
    assert stick.device.stop()[0] == 0
    stick.device.whole()


@pytest.mark.slow
def test_one_that_hangs_ends_the_process_with_its_tracks_and_the_next_begins_without_it(
    stick: Stick, ear: Ear, figure: Callable[[str], None]
) -> None:
    stick.become("ok")
    stick.start(retry_s=300.0)
    eventually(lambda: "on the Edge TPU" in backend(ear), "it joins")
    eventually(lambda: stick.device.count("start") == 1, "a start")
    assert not stick.note.exists()
    stick.become("hang")
    began_s = time.monotonic()
    assert stick.device.process is not None
    _, log = stick.device.process.communicate(timeout=30)
    took_s = time.monotonic() - began_s
    assert stick.device.process.returncode == 1
    assert log.splitlines()[-1].startswith("mien: edgetpu: it hangs, in the midst of a face")
    assert stick.device.count("end") == stick.device.count("start") == 1
    stick.device.whole()
    assert stick.note.exists()
    eventually(lambda: ear.texts(f"{P}/availability")[-1] == "offline", "the goodbye")

    first = len(stick.device.events)
    stick.start(retry_s=300.0)
    eventually(lambda: len(stick.device.events) > first + 2, "events by the CPU, though it hangs")
    eventually(lambda: "it hung in an earlier process" in problem(ear), "the problem")
    assert backend(ear) == "tflite-runtime on the CPU"
    assert stick.device.stop()[0] == 0
    figure(f"tracks ended, exit 1 after {took_s:.2f} s with edgetpu_hang_s of 1 s")


@pytest.mark.slow
def test_one_that_fails_in_the_midst_costs_no_event(stick: Stick, ear: Ear) -> None:
    stick.become("ok")
    stick.start(retry_s=300.0)
    eventually(lambda: "on the Edge TPU" in backend(ear), "it joins")
    stick.become("failing")
    eventually(lambda: backend(ear) == "tflite-runtime on the CPU", "the CPU takes over")
    updates = stick.device.count("update")
    eventually(lambda: stick.device.count("update") > updates + 2, "events by the CPU")
    assert stick.device.count("end") == 0
    assert stick.device.stop()[0] == 0
    stick.device.whole()
