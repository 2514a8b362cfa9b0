"""A bundle that did not come with the program is run by another process before it is used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from realbroker import eventually
from service import DOUBLES, ROOT, Device

from edge import bundle, trial
from edge.bundle import Bundle
from edge.errors import BundleError, MienError, ModelError

FAKE = '''
"""A TFLite runtime that, in a trial, does what it is told to."""
import os, sys, threading
from ai_edge_litert.interpreter import Interpreter as Real

def Interpreter(**arguments):
    if sys.argv[:1] == ["-c"]:
        {what}
    return Real(**arguments)
'''


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A sound bundle that was not shipped."""
    folder = Path(shutil.copytree(bundle.locate("mien-fer2013"), tmp_path / "foreign"))
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"version": "mine"}))
    return folder


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Puts a `tflite_runtime` in place whose interpreter does something in a trial."""

    def put(what: str) -> str:
        package = tmp_path / "fake" / "tflite_runtime"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "interpreter.py").write_text(FAKE.format(what=what))
        path = f"{package.parent}:{ROOT}:{DOUBLES.parent}"
        monkeypatch.setenv("PYTHONPATH", path)
        return path

    return put


def refusal(loaded: Bundle) -> MienError:
    with pytest.raises(MienError) as raised:
        trial.require([loaded], "tflite-runtime")
    assert str(raised.value).startswith("mien-fer2013@mine+")
    return raised.value


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("os.kill(os.getpid(), 11)", "it crashes tflite-runtime (signal 11)"),
        ("os.abort()", "it crashes tflite-runtime (signal 6)"),
        ("os._exit(1)", "the process that tried it failed (no reason)"),
        ("bytearray(4 << 30)", "the process that tried it failed (MemoryError)"),
        ("raise SystemError('unheard of')", "tried it failed (SystemError: unheard of)"),
    ],
)
def test_a_bundle_that_ends_the_process_is_refused(
    foreign: Path, runtime: Callable[[str], str], what: str, why: str
) -> None:
    runtime(what)
    error = refusal(bundle.load(str(foreign)))
    assert isinstance(error, BundleError)
    assert why in str(error)


@pytest.mark.slow
def test_a_bundle_that_hangs_is_refused(
    foreign: Path, runtime: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime("threading.Event().wait()")
    monkeypatch.setattr(trial, "LONGEST_S", 3.0)
    error = refusal(bundle.load(str(foreign)))
    assert isinstance(error, ModelError)
    assert "takes longer than 3 s" in str(error)


def test_what_the_process_refuses_is_refused_here_with_the_same_error(foreign: Path) -> None:
    (foreign / "golden.npz").write_bytes(b"nothing")
    file = foreign / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["golden"]["sha256"] = hashlib.sha256(b"nothing").hexdigest()
    file.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"golden\.npz: not golden vectors"):
        trial.require([bundle.load(str(foreign))], "ai-edge-litert")


def test_a_sound_bundle_and_a_sound_detector_pass(foreign: Path) -> None:
    trial.require([bundle.load(str(foreign))], "ai-edge-litert")
    trial.examine(bundle.load("blazeface-short"), "ai-edge-litert")


def test_one_that_was_replaced_meanwhile_is_refused(foreign: Path) -> None:
    loaded = bundle.load(str(foreign))
    shutil.copy(bundle.locate("mien-fer2013") / "manifest.json", foreign)
    with pytest.raises(BundleError, match="is another one by now"):
        trial.require([loaded], "ai-edge-litert")


def test_what_was_shipped_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was begun"))
    trial.require([bundle.load(name) for name in bundle.shipped()], "ai-edge-litert")


def test_where_no_process_can_be_begun_it_is_said(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "run", none_left)
    assert "no process can be begun" in str(refusal(bundle.load(str(foreign))))


def test_a_start_with_such_a_bundle_ends_with_78_and_one_line(
    foreign: Path, runtime: Callable[[str], str], tmp_path: Path
) -> None:
    path = runtime("os.kill(os.getpid(), 11)")
    config = tmp_path / "mien.toml"
    config.write_text('[runtime]\nlibrary = "tflite-runtime"\n')
    command = [sys.executable, "-m", "edge", "run", "--config", str(config), "--no-mqtt"]
    done = subprocess.run(
        [*command, "--camera", "clip:nothing", "--bundle", str(foreign)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert "crashes tflite-runtime (signal 11)" in done.stderr


# The daemon


def test_a_reload_with_such_a_bundle_is_refused_and_the_daemon_goes_on(
    foreign: Path, runtime: Callable[[str], str], device: Device
) -> None:
    path = runtime("os.kill(os.getpid(), 11)")
    device.start(extra='[runtime]\nlibrary = "tflite-runtime"\n', PYTHONPATH=path)
    eventually(lambda: device.count("start") >= 1, "a face")
    device.config.write_text(device.config.read_text() + f'[emotion]\nbundle = "{foreign}"\n')
    assert device.process is not None
    device.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(device.manager.times("READY=1")) >= 2, "it is ready again")
    told = len(device.events)
    eventually(lambda: len(device.events) > told, "it goes on")
    assert device.count("end") == 0
    code, _, log = device.stop()
    assert code == 0
    assert "reload: refused" in log
    assert "crashes tflite-runtime (signal 11)" in log
    device.whole()
