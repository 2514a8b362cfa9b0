"""Bad input by the thousand: configurations, manifests, bundles.

The invariant: what is read is usable or refused, by a `MienError` whose text is one line that names
the thing, in bounded time and memory. Never another exception, never the end of the process.

Every input has a number and is made from that alone. A failure prints it with what was made, and
makes that one again by

    FUZZ_NUMBER=4711 python -m pytest tests/edge/test_fuzz.py -k manifests
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import bad_bundles
import msgspec
import mutations
import pytest
from realbroker import figure

from edge import bundle, config, trial
from edge.bundle import DetectorManifest, StreamManifest
from edge.cameras import check_uri
from edge.errors import CameraUriError, ConfigError, MienError
from edge.settings import (
    Argus,
    Camera,
    Detector,
    Events,
    Mqtt,
    Picamera2,
    Settings,
    Spool,
    Stream,
    V4l2,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LONGEST_S = 30.0
"""For one input, on a machine that does other things; it mostly takes a millisecond."""

LONGEST_CPU_S = 2.0
MOST_BYTES = 400_000_000
"""By which the process may grow: an input that is worth refusing is refused before."""

few = pytest.param(300, id="few")
all_of_them = pytest.param(10_000, id="all", marks=pytest.mark.slow)
inputs = pytest.mark.parametrize("count", [few, all_of_them])


class Tally(Counter[str]):
    """What became of the inputs, by count."""

    slowest_s = 0.0

    def told(self) -> str:
        parts = ", ".join(f"{count:,} {what}" for what, count in self.most_common())
        return f"{self.total():,} inputs: {parts}; at most {self.slowest_s * 1000:.0f} ms of CPU"


def numbers(count: int) -> Iterable[int]:
    one = os.environ.get("FUZZ_NUMBER")
    return range(count) if one is None else [int(one)]


def seeded(kind: str, number: int) -> Random:
    return Random(f"{kind} {number}")  # noqa: S311  # repeatable is what it must be


@contextmanager
def bounded_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status").read_text()
    used = 1024 * int(status.partition("VmData:")[2].split()[0])
    resource.setrlimit(resource.RLIMIT_DATA, (used + MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@contextmanager
def tried(kind: str, number: int, made: object, tally: Tally) -> Iterator[None]:
    """Look after one input: its time, and what a person needs to repeat it."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done within {LONGEST_S:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    begun_s = time.thread_time()
    try:
        yield
        took_s = time.thread_time() - begun_s
        tally.slowest_s = max(tally.slowest_s, took_s)
        assert took_s < LONGEST_CPU_S, f"it took {took_s:.1f} s of CPU time"
    except BaseException as exc:
        raise AssertionError(
            f"{kind} {number}: {exc!r}\nrepeat: FUZZ_NUMBER={number} python -m pytest "
            f"tests/edge/test_fuzz.py -k {kind}\nit was: {repr(made)[:2000]}"
        ) from exc
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_one_line_about(exc: MienError, *names: str) -> None:
    text = str(exc)
    assert text.isprintable(), text
    assert len(text) <= 1000
    assert any(name in text for name in names), text


def leaves(tree: Any) -> Iterator[Any]:  # noqa: ANN401  # what msgspec makes of any struct
    below = tree.values() if isinstance(tree, dict) else tree
    if not isinstance(tree, dict | list | tuple):
        yield tree
        return
    for each in below:
        yield from leaves(each)


def holds_no_nonsense(value: object) -> None:
    for leaf in leaves(msgspec.to_builtins(value)):
        if isinstance(leaf, float):
            assert math.isfinite(leaf)


# Configurations

EVERYTHING = Settings(
    camera=(
        Camera(uri="v4l2:/dev/video0", name="door", v4l2=V4l2(format="MJPG", mains_hz=50)),
        Camera(uri="rtsp://user:word@yard/1", name="yard", stream=Stream()),
        Camera(uri="picamera2:0", name="hall", picamera2=Picamera2(mains_hz="off")),
        Camera(uri="argus:0", name="gate", argus=Argus()),
        Camera(uri="clip:a.mp4?pace=fast", name="tape", region=(0.1, 0.1, 0.5, 0.5)),
    ),
    detector=Detector(score=0.5),
    events=Events(settle_s=0.1, hold_s=0.1, margin=0.1),
    mqtt=Mqtt(url="mqtts://broker:8883", username="me", password_file="word", ca_file="ca"),  # noqa: S106  # a file's name
    spool=Spool(path="/var/spool/mien"),
    bundle_key="key.pem",
)
TEXT = config.to_toml(EVERYTHING)
TREE = tomllib.loads(TEXT)
WORDS = (
    "device_id", "camera", "detector", "every", "mqtt", "url", "spool", "path", "emotion",
    "bundle", "events", "", "0", "a", "config",
)  # fmt: skip


def configuration(number: int) -> tuple[bytes, dict[str, str]]:
    random = seeded("configurations", number)
    kind = number % 4
    if kind == 0:
        return mutations.of_bytes(TEXT.encode(), random), {}
    if kind == 1:
        return mutations.of_tokens(TEXT, random).encode("utf-8", "surrogatepass"), {}
    if kind == 2:
        return mutations.toml_of(mutations.of_values(TREE, random)), {}
    environ = {}
    for _ in range(random.randint(1, 4)):
        name = "__".join(random.choice(WORDS) for _ in range(random.randint(1, 4)))
        text = random.choice(mutations.AWKWARD_TEXTS + mutations.AWKWARD_TOKENS)
        environ[f"MIEN_{random.choice((name, name.upper()))}"] = text
    environ.pop(config.FILE_VARIABLE, None)
    return TEXT.encode(), environ


def is_usable(settings: Settings, folder: Path) -> None:
    """It holds only what it may, can be shown, and reads back as the same."""
    holds_no_nonsense(settings)
    for leaf in leaves(msgspec.to_builtins(settings)):
        assert not isinstance(leaf, str) or leaf.isprintable() or "\n" not in leaf
    shown = folder / "shown.toml"
    shown.write_text(config.to_toml(settings))
    assert config.load(shown, {}) == settings
    for camera in settings.camera:
        try:
            check_uri(camera)
        except CameraUriError as exc:
            is_one_line_about(exc, "camera")


@inputs
def test_configurations_are_usable_or_refused_in_one_line(count: int, tmp_path: Path) -> None:
    file, tally = tmp_path / "mien.toml", Tally()
    with bounded_memory():
        for number in numbers(count):
            made = configuration(number)
            file.write_bytes(made[0])
            with tried("configurations", number, made, tally):
                try:
                    settings = config.load(file, made[1])
                except ConfigError as exc:
                    is_one_line_about(exc, str(file), "environment: ")
                    tally["refused"] += 1
                else:
                    is_usable(settings, tmp_path)
                    tally["usable"] += 1
    figure(tally.told())


# Manifests

MANIFESTS = [
    (bad_bundles.SHIPPED / name / bundle.MANIFEST).read_text() for name in bundle.shipped()
]


def manifest(number: int) -> bytes:
    random = seeded("manifests", number)
    text = MANIFESTS[number % len(MANIFESTS)]
    kind = number // len(MANIFESTS) % 3
    if kind == 0:
        return mutations.of_bytes(text.encode(), random)
    if kind == 1:
        return mutations.of_tokens(text, random).encode("utf-8", "surrogatepass")
    return mutations.json_of(mutations.of_values(json.loads(text), random))


@inputs
def test_manifests_are_usable_or_refused_in_one_line(count: int) -> None:
    tally = Tally()
    with bounded_memory():
        for number in numbers(count):
            raw = manifest(number)
            with tried("manifests", number, raw, tally):
                try:
                    read = bundle.parse_manifest(raw, source="manifest.json")
                except MienError as exc:
                    is_one_line_about(exc, "manifest.json: ")
                    tally["refused"] += 1
                else:
                    assert isinstance(read, StreamManifest | DetectorManifest)
                    holds_no_nonsense(read)
                    tally["usable"] += 1
    figure(tally.told())


# Bundles


class Victim:
    """A process that loads and runs bundles, begun anew where one killed it."""

    def __init__(self) -> None:
        self._process = self._begun()

    def _begun(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "victim.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def verdict(self, folder: Path) -> str:
        """What it says of a bundle; `died N` (signal, exit code), or `hung`, where it says none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder}\n")
        if not select.select([self._process.stdout], [], [], LONGEST_S)[0]:
            self.close()
            self._process = self._begun()
            return "hung"
        said = self._process.stdout.readline().rstrip("\n")
        if said:
            return said
        code = self._process.wait()
        self.close()
        self._process = self._begun()
        return f"died {code}"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def victim() -> Iterator[Victim]:
    made = Victim()
    yield made
    made.close()


@pytest.mark.parametrize("count", [few, pytest.param(7_000, id="all", marks=pytest.mark.slow)])
def test_bundles_are_usable_or_refused_in_one_line(count: int, tmp_path: Path) -> None:
    folder, tally = tmp_path / "bundle", Tally()
    with bounded_memory():
        for number in numbers(count):
            random = seeded("bundles", number)
            what = bad_bundles.make(folder, random, hashes_hold=False)
            with tried("bundles", number, what, tally):
                try:
                    loaded = bundle.load(str(folder))
                except MienError as exc:
                    is_one_line_about(exc, str(folder))
                    tally["refused"] += 1
                else:
                    holds_no_nonsense(loaded.manifest)
                    is_of_one_kind(loaded)
                    tally["usable"] += 1
            bad_bundles.remove(folder)
    figure(tally.told())


def is_of_one_kind(loaded: bundle.Bundle) -> None:
    """An expression bundle does not pass for a detector, nor the other way round."""
    stream = isinstance(loaded.manifest, StreamManifest)
    wrong: Callable[..., object] = bundle.load_detector if stream else bundle.load_stream
    with pytest.raises(MienError, match=r"name a face detector|name an expression bundle"):
        wrong(str(loaded.path))


@pytest.mark.parametrize(
    "count",
    [pytest.param(40, id="few"), pytest.param(3_000, id="all", marks=pytest.mark.slow)],
)
def test_bundles_repackaged_with_damaged_files_never_end_the_daemon(
    count: int, tmp_path: Path, victim: Victim
) -> None:
    """Hashes hold, so that the damage reaches TFLite: what it makes crash, the trial refuses."""
    folder, tally = tmp_path / "bundle", Tally()
    for number in numbers(count):
        random = seeded("repackaged", number)
        what = bad_bundles.make(folder, random, hashes_hold=True)
        with tried("repackaged", number, what, tally):
            said = victim.verdict(folder)
            verdict = said.split()[0]
            assert verdict in ("usable", "wrong", "refused", "died"), said
            if verdict == "refused":
                is_one_line_about(MienError(said), str(folder), ".tflite")
            if verdict == "died":
                with pytest.raises(MienError) as raised:
                    trial.require([bundle.load(str(folder))], "ai-edge-litert")
                is_one_line_about(raised.value, "crashes ai-edge-litert", "tried it failed")
        tally[verdict] += 1
        bad_bundles.remove(folder)
    figure(tally.told())
