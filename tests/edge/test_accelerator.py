"""The Edge TPU that is missing, fails, hangs, crashes or answers wrongly; a fake of its API."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from realbroker import eventually

from edge import accelerator
from edge.accelerator import COMPILED, EdgeTpu
from edge.bundle import Bundle, StreamManifest, load_stream
from edge.errors import HungError
from edge.networks import StreamNetworks
from edge.notes import Note, Notes
from edge.settings import Runtime

FAKE = Path(__file__).parent / "fake_tpu"
FACE = np.full((48, 48), 90, np.uint8)


class Bench:
    """A bundle with a compiled file, a fake Edge TPU, and what looks after it."""

    def __init__(self, folder: Path) -> None:
        self.control = folder / "tpu"
        self.note_file = folder / "edgetpu.json"
        self.bundle, self.manifest = compiled(folder / "bundle")
        self.networks = StreamNetworks(self.bundle, self.manifest, library="tflite-runtime")
        self.expected = self.networks.embed(FACE).stored_logits
        self.tpu = self.made()

    def made(self, *, signed: bool = False, edgetpu: bool = True) -> EdgeTpu:
        settings = Runtime(
            library="tflite-runtime", edgetpu=edgetpu, edgetpu_hang_s=0.5, edgetpu_retry_s=60.0
        )
        notes = Notes(self.note_file)
        return EdgeTpu(
            settings, self.bundle, self.manifest, self.networks, signed=signed, notes=notes
        )

    def become(self, mode: str) -> None:
        self.control.write_text(mode)

    def until(self, state: str, now_s: float = 0.0) -> None:
        def there() -> bool:
            self.tpu.attend(now_s)
            return self.tpu.state == state

        eventually(there, f"{state}; {self.tpu.trouble}")

    @property
    def loads(self) -> list[str]:
        file = self.control.with_name("tpu.loads")
        return file.read_text().split() if file.exists() else []


def compiled(folder: Path) -> tuple[Bundle, StreamManifest]:
    """A copy of the default bundle; the fake runs what any runtime does."""
    bundle, _ = load_stream("mien-consensus")
    folder.mkdir()
    for file in bundle.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / COMPILED).write_bytes((folder / "frame.tflite").read_bytes())
    return load_stream(str(folder))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    root = Path(__file__).parents[2]
    monkeypatch.setenv("FAKE_EDGETPU", str(tmp_path / "tpu"))
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}:{root}")
    monkeypatch.syspath_prepend(str(FAKE))
    (tmp_path / "tpu").write_text("ok")
    yield Bench(tmp_path)
    for name in ("tflite_runtime", "tflite_runtime.interpreter"):
        sys.modules.pop(name, None)


def test_one_that_works_joins_after_it_was_tried_in_another_process(bench: Bench) -> None:
    bench.until("in service")
    assert bench.loads == ["child", "daemon"]
    assert bench.tpu.trouble is None
    assert (bench.networks.embed(FACE).stored_logits == bench.expected).all()
    assert not bench.note_file.exists()


def test_nobody_asks_for_it_and_nothing_is_loaded(bench: Bench) -> None:
    bench.tpu = bench.made(edgetpu=False)
    for now_s in range(1000):
        bench.tpu.attend(now_s)
    assert (bench.tpu.state, bench.loads) == ("off", [])


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("missing", "libedgetpu.so.1 cannot be loaded (Failed to load delegate"),
        ("failing", "frame_edgetpu.tflite: the TFLite runtime fails (Node number 0"),
        ("crash", "its library crashes (signal 11): install the one that goes with"),
        ("wrong", "frame_edgetpu.tflite answers otherwise than frame.tflite"),
    ],
)
def test_one_that_cannot_be_used_is_not_and_is_tried_again_later(
    bench: Bench, mode: str, reason: str
) -> None:
    bench.become(mode)
    bench.until("trying")
    bench.until("waiting")
    assert bench.tpu.trouble is not None
    assert bench.tpu.trouble.startswith(reason)
    assert bench.tpu.trouble.endswith("tried again after 60 s")
    assert bench.loads == ["child"], "this process never touched it"
    assert (bench.networks.embed(FACE).stored_logits == bench.expected).all()
    bench.become("ok")
    bench.tpu.attend(59.0)
    assert bench.tpu.state == "waiting"
    bench.until("in service", 60.0)
    assert bench.tpu.trouble is None


def test_a_compiled_file_that_is_missing_says_how_to_make_it(bench: Bench) -> None:
    (bench.bundle.path / COMPILED).unlink()
    bench.until("trying")
    bench.until("waiting")
    assert "make it with edgetpu_compiler from frame.tflite" in (bench.tpu.trouble or "")


def test_a_bundle_that_was_replaced_meanwhile_is_not_mixed_with_the_one_in_force(
    bench: Bench,
) -> None:
    other, _ = load_stream("mien-fer2013")
    for file in other.path.iterdir():
        (bench.bundle.path / file.name).write_bytes(file.read_bytes())
    (bench.bundle.path / COMPILED).write_bytes((other.path / "frame.tflite").read_bytes())
    bench.until("trying")
    bench.until("waiting")
    assert "is another bundle by now; reload" in (bench.tpu.trouble or "")
    assert (bench.networks.embed(FACE).stored_logits == bench.expected).all()


def test_a_face_that_it_fails_at_is_done_by_the_cpu(bench: Bench) -> None:
    bench.until("in service")
    bench.become("failing")
    assert (bench.networks.embed(FACE).stored_logits == bench.expected).all()
    bench.tpu.attend(1.0)
    assert bench.tpu.state == "waiting"
    assert "EdgeTpuDelegateForCustomOp" in (bench.tpu.trouble or "")
    bench.become("ok")
    bench.until("in service", 61.0)


def test_one_that_hangs_ends_the_process_and_the_next_begins_without_it(
    bench: Bench, figure: Callable[[str], None]
) -> None:
    bench.until("in service")
    bench.become("hang")
    begun_s = time.monotonic()
    with pytest.raises(HungError, match="edgetpu: it hangs, in the midst of a face"):
        bench.networks.embed(FACE)
    took_s = time.monotonic() - begun_s
    assert 0.5 <= took_s < 2.0
    figure(f"given up after {took_s:.2f} s with edgetpu_hang_s of 0.5 s")

    bench.become("ok")
    bench.tpu = bench.made()
    bench.networks.use(None)
    bench.tpu.attend(0.0)
    assert bench.tpu.state == "waiting"
    assert "it hung in an earlier process" in (bench.tpu.trouble or "")
    bench.tpu.attend(59.0)
    assert bench.tpu.state == "waiting"
    bench.until("in service", 60.0)
    bench.tpu.attend(60.0 + accelerator.SOUND_S + 1.0)
    assert not bench.note_file.exists(), "an hour of good work is a good name again"


def test_each_further_hang_doubles_the_wait(bench: Bench) -> None:
    Notes(bench.note_file).leave(Note(4, "in the midst of a face"))
    bench.tpu = bench.made()
    bench.tpu.attend(0.0)
    assert (bench.tpu.trouble or "").endswith("tried again after 480 s")


def test_loading_that_hangs_is_noted_before_it_begins(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.become("hang-load ok-child")
    monkeypatch.setattr(accelerator, "LOAD_S", 0.5)
    with pytest.raises(HungError, match="while it was loaded"):
        bench.until("in service")
    assert Notes(bench.note_file).note == Note(1, "while it was loaded")


def test_a_trial_that_hangs_is_ended_and_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.become("hang-load")
    monkeypatch.setattr(accelerator, "TRIAL_S", 5.0)
    bench.until("trying")
    eventually(lambda: bench.loads == ["child"], "the trial")
    bench.until("waiting", 5.1)
    assert "it hangs" in (bench.tpu.trouble or "")
    assert not bench.note_file.exists(), "this process does not hang"


def test_where_bundles_are_signed_the_file_that_no_signature_covers_is_not_loaded(
    bench: Bench,
) -> None:
    bench.tpu = bench.made(signed=True)
    bench.tpu.attend(0.0)
    assert (bench.tpu.state, bench.loads) == ("off", [])
    assert "no signature covers frame_edgetpu.tflite" in (bench.tpu.trouble or "")


@pytest.mark.parametrize("text", ["", "{", '{"hangs": "many"}', '{"other": 1}'])
def test_a_damaged_note_costs_an_attempt_and_nothing_else(tmp_path: Path, text: str) -> None:
    file = tmp_path / "edgetpu.json"
    file.write_text(text)
    assert Notes(file).note == Note()


def test_a_note_that_cannot_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "absent" / "edgetpu.json")
    notes.leave(Note(1, "hung"))
    assert notes.note.hangs == 1
