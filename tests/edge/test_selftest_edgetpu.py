"""Edge TPUs are found by both of their names, and their library cannot take us with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.boards import UNKNOWN
from edge.runtime import INTERPRETERS
from edge.selftest import edgetpu
from edge.selftest.subject import Subject
from edge.settings import Runtime, Settings

SUBJECT = Subject(Settings(), UNKNOWN, None)


def plug(root: Path, port: str, vendor: str, product: str) -> None:
    folder = root / "sys/bus/usb/devices" / port
    folder.mkdir(parents=True)
    (folder / "idVendor").write_text(f"{vendor}\n")
    (folder / "idProduct").write_text(f"{product}\n")


def runtime(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> str:
    """A TFLite runtime whose `load_delegate` does what `body` says."""
    (folder / "fake_runtime.py").write_text(
        f"import os, time\ndef load_delegate(name):\n    {body}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "fake_runtime"


@pytest.mark.parametrize(
    ("vendor", "product", "words"),
    [("1a6e", "089a", "not used since"), ("18d1", "9302", "on USB (18d1:9302, 1-1.2)")],
)
def test_a_stick_is_found_before_and_after_its_first_use(
    vendor: str, product: str, words: str, tmp_path: Path
) -> None:
    plug(tmp_path, "1-1.1", "046d", "0825")
    plug(tmp_path, "1-1.2", vendor, product)
    (found,) = edgetpu.find(tmp_path)
    assert words in found


def test_a_card_is_found_by_its_device(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()
    assert edgetpu.find(tmp_path) == ["on PCIe (/dev/apex_0)"]


def test_a_vendor_s_other_devices_are_none(tmp_path: Path) -> None:
    plug(tmp_path, "1-1", "18d1", "4ee7")
    (check,) = edgetpu.check(SUBJECT, tmp_path)
    assert (check.verdict, check.text) == ("skipped", "none found")


def test_none_where_one_is_asked_for_is_worth_a_warning(tmp_path: Path) -> None:
    asking = Subject(Settings(runtime=Runtime(edgetpu=True)), UNKNOWN, None)
    (check,) = edgetpu.check(asking, tmp_path)
    assert (check.verdict, check.text.split(",")[0]) == ("warned", "none found")


def test_a_library_that_works_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edgetpu.probe(runtime(tmp_path, monkeypatch, "assert name")) is None


def test_a_library_that_crashes_crashes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = edgetpu.probe(runtime(tmp_path, monkeypatch, "os.kill(os.getpid(), 11)"))
    assert trouble is not None
    assert "crashes (SIGSEGV)" in trouble


def test_a_library_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = runtime(tmp_path, monkeypatch, "time.sleep(60)")
    trouble = edgetpu.probe(module, longest_s=0.5)
    assert trouble is not None
    assert "hangs" in trouble


def test_the_real_runtime_says_what_it_cannot_load() -> None:
    module = INTERPRETERS["ai-edge-litert"]
    trouble = edgetpu.probe(module, "no-such-library.so")
    assert trouble is not None
    assert "no-such-library.so cannot be loaded" in trouble


def test_one_that_is_plugged_in_and_does_not_work_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(tmp_path, "1-1", "1a6e", "089a")
    monkeypatch.setattr(edgetpu, "probe", lambda _: "it crashes")
    (check,) = edgetpu.check(SUBJECT, tmp_path)
    assert (check.verdict, check.text) == ("failed", "it crashes")


@pytest.mark.parametrize(
    "subject",
    [Subject(Settings(), UNKNOWN, None, "boot"), Subject(Settings(), UNKNOWN, None, beside=True)],
    ids=["at boot", "beside a daemon"],
)
def test_where_a_daemon_has_it_or_is_about_to_it_is_only_looked_for(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(tmp_path, "1-1", "1a6e", "089a")
    monkeypatch.setattr(edgetpu, "probe", lambda _: pytest.fail("it takes seconds, or the device"))
    (check,) = edgetpu.check(subject, tmp_path)
    assert check.verdict == "passed"
