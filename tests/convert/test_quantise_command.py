"""`mien-convert quantise SOURCE` with what Keras and TensorFlow save: a bundle, or a reason."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf
from commands import PIXELS, ROOT, contents, convert, events_of, line_of, packaged, quantise
from learnable import SIDE, barred, shown_streams, taught, write_barred

from convert import data, head, interface
from convert.data import LABELS
from convert.head import HeadSettings
from edge.bundle import load_stream

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:\s+Warning. tf.lite.Interpreter is deprecated:UserWarning"),
]

WIDTH, UNITS, LARGER = 16, 12, 32
layers = keras.layers

Network = Any
"""Of Keras, which publishes no types."""


def network(channels: int = 1, side: int = SIDE, *, rescaled: bool = False) -> Network:
    picture = keras.Input((side, side, channels))
    x = layers.Rescaling(1 / 127.5, -1)(picture) if rescaled else picture
    x = layers.Conv2D(8, 3, padding="same", strides=2, use_bias=False)(x)
    x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.Flatten()(layers.Conv2D(12, 3, padding="same", activation="relu")(x))
    x = layers.Dense(WIDTH, activation="relu", name="features")(x)
    return keras.Model(picture, layers.Dense(len(LABELS), "softmax")(x))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_barred(tmp_path_factory.mktemp("faces") / "faces.npz")


@pytest.fixture(scope="module")
def plain() -> Network:
    keras.utils.set_random_seed(1)
    return taught(network(), 0, 255)


@pytest.fixture(scope="module")
def model(plain: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "model.keras"
    plain.save(file)
    return file


@pytest.fixture(scope="module")
def done(plain: Network, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a frame model, of a SavedModel, that was quantised."""
    folder = tmp_path_factory.mktemp("done")
    plain.export(folder / "exported", verbose=False)
    assert quantise(folder / "exported", folder / "run", faces, *PIXELS) == 0
    return folder / "run"


def with_a_short_training(run: Path, faces: Path) -> None:
    """Train a head on far fewer streams than `mien-convert train-head` composes."""
    taken = interface.read(run)
    tiles = data.load(faces, names=taken.labels, size=taken.size)
    settings = HeadSettings(epochs=6, batch=8, train_streams=48, val_streams=8, learning_rate=1e-2)
    head.train_head(run, tiles, settings)


@pytest.mark.slow
def test_a_legacy_file_of_colour_pictures_of_its_own_size_and_order_becomes_a_bundle(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.utils.set_random_seed(1)
    colour = taught(network(3, LARGER, rescaled=True), 0, 1, order=LABELS[::-1])
    colour.save(tmp_path / "colour.h5")
    run, order = tmp_path / "run", ",".join(LABELS[::-1])
    assert quantise(tmp_path / "colour.h5", run, faces, "--labels", order) == 0
    said = capsys.readouterr().out
    assert "no head yet: mien-convert train-head" in said
    assert "FAILED" not in said
    with_a_short_training(run, faces)
    assert convert("quantise", "--data", faces, "--run", run) == 0
    manifest = packaged(run, faces, tmp_path / "colour")
    assert manifest["labels"] == list(LABELS[::-1])
    assert (manifest["input"]["size"], manifest["input"]["mean"]) == (LARGER, 128)
    assert manifest["input"]["std"] == pytest.approx(127.5)
    assert manifest["metrics"]["int8_accuracy"] > 0.9
    assert "colour.h5" in str(manifest["provenance"]["source_sha256"])
    events = events_of(tmp_path / "colour")
    assert {"start", "end"} <= {each["type"] for each in events}
    assert list(events[0]["probs"]) == list(LABELS[::-1])


def test_a_saved_model_and_a_head_of_its_own_become_a_bundle(
    plain: Network, done: Path, faces: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    head_file = tmp_path / "head.keras"
    sequence = keras.Input((None, WIDTH))
    after_each(plain, sequence, layers.LSTM(UNITS)).save(head_file)
    assert quantise(head_file, run, faces, "--step-hz", "5") == 0
    manifest = packaged(run, faces, tmp_path / "drawn")
    assert (manifest["step_hz"], len(manifest["states"])) == (5, 2)
    assert {each["dtype"] for each in manifest["head"]["inputs"]} == {"int16"}
    assert events_of(tmp_path / "drawn")


def after_each(plain: Network, sequence: Any, memory: Network) -> Network:  # noqa: ANN401  # no types
    """Train what follows a frame model on streams; return it from a sequence to its last answer."""
    pixels, targets = shown_streams(0, 255)
    features = keras.Model(plain.input, plain.get_layer("features").output)
    seen = features.predict(pixels.reshape(-1, SIDE, SIDE, 1), verbose=0)
    memory.return_sequences = True
    out = layers.Dense(len(LABELS), "softmax")
    trained = keras.Model(sequence, layers.TimeDistributed(out)(memory(sequence)))
    trained.compile(keras.optimizers.Adam(1e-2), "categorical_crossentropy")
    trained.fit(seen.reshape(*targets.shape[:2], -1), targets, epochs=12, batch_size=8, verbose=0)
    memory.return_sequences = False
    return keras.Model(sequence, out(memory(sequence)))


def over_time(plain: Network, memory: Network) -> Network:
    """A network from pictures in their order to one answer."""
    sequence, pictures = keras.Input((None, WIDTH)), keras.Input((None, SIDE, SIDE, 1))
    behind = after_each(plain, sequence, memory)
    features = keras.Model(plain.input, plain.get_layer("features").output)
    return keras.Model(pictures, behind(layers.TimeDistributed(features, name="frames")(pictures)))


@pytest.mark.parametrize("reset_after", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_fused_network_becomes_a_bundle_without_a_head_being_trained(
    plain: Network,
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    reset_after: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    keras.utils.set_random_seed(1)
    memory = layers.GRU(UNITS, reset_after=reset_after, name="memory")
    over_time(plain, memory).save(tmp_path / "fused.keras")
    run = tmp_path / "run"
    assert quantise(tmp_path / "fused.keras", run, faces, *PIXELS) == 1
    assert "--cut frames" in line_of(capsys)
    assert not run.exists()
    assert quantise(tmp_path / "fused.keras", run, faces, *PIXELS, "--cut", "frames") == 0
    manifest = packaged(run, faces, tmp_path / "fused")
    assert manifest["calibration"]["temperature"] > 0
    assert manifest["parity"]["gates"]["head-steps"] >= 1000
    assert events_of(tmp_path / "fused")


def test_a_refusal_is_all_that_is_said(model: Path, faces: Path, tmp_path: Path) -> None:
    """Nothing of what TensorFlow writes to stderr from C++ comes before it."""
    done = subprocess.run(
        [sys.executable, "-m", "convert", "quantise", str(model), "--data", str(faces),
         "--run", str(tmp_path / "run")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("mien-convert: the network does not say how its pixels were scaled")


def test_a_failed_gate_leaves_no_file_and_shows_the_table(
    model: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert quantise(model, run, faces, *PIXELS, "--allow", "logit-sqnr=99") == 1
    said = capsys.readouterr()
    assert "FAILED" in said.out
    assert "(logit-sqnr failed), and nothing was kept; most noise is added by frame" in said.err
    # What was adopted stays, so that the next try needs no SOURCE.
    assert set(contents(run)) == {"frame.keras", "frame-source.json", "interface.json"}


def test_a_converter_that_takes_too_long_is_stopped(
    model: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantise(model, tmp_path / "run", faces, *PIXELS, "--limit", "0.3") == 1
    assert "still busy after 0.3 s and was stopped; give it longer" in line_of(capsys)
    assert "frame.tflite" not in contents(tmp_path / "run")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--labels", "a,b,c"], "gives 7 logits, and 3 labels are named"),
        (["--labels", "a,a,b"], "--labels a,a,b: name each once"),
        (["--labels", "a,b,c,d,e,f,g"], "the model has none of its labels"),
        (["--std", "0"], "a std above 0"),
        (["--crop", "face"], "--crop face: write CENTRE_LINE,FACE_LENGTH"),
        (["--allow", "accuracy=1"], "--allow accuracy=1: write NAME=VALUE"),
        (["--cut", "nowhere"], "no layer 'nowhere' to cut at"),
        (["--input-shape", "1,24,24"], "--input-shape 1,24,24: write it like 1x48x48"),
        (["--input-shape", "1x24x24"], "go with MODULE:FACTORY alone"),
        (["--data", "nowhere.npz"], "nowhere.npz: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(  # noqa: PLR0917  # parameters of the test
    model: Path,
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    run = tmp_path / "run"
    assert quantise(model, run, faces, *PIXELS, *more) in (1, 2)
    assert said in line_of(capsys)
    assert not run.exists()


@pytest.mark.parametrize("option", ["--step-hz", "--limit"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_number_that_cannot_be_is_wrong_usage(
    model: Path, faces: Path, tmp_path: Path, option: str, value: str
) -> None:
    assert quantise(model, tmp_path / "run", faces, *PIXELS, f"{option}={value}") == 2


def test_what_a_source_is_told_wants_a_source(
    done: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(done)
    assert convert("quantise", "--data", faces, "--run", done, "--mean", "0") == 2
    assert "go with a SOURCE" in line_of(capsys)
    assert contents(done) == before


def calibrations(folder: Path) -> dict[str, Path]:
    """Pictures that are none, by what is said of them."""
    arrays = {
        "images[0] has a NaN": np.full((9, SIDE, SIDE), np.nan, np.float32),
        "has the shape [9, 24, 24, 5]": np.zeros((9, SIDE, SIDE, 5), np.uint8),
        "has the shape [9, 24]": np.zeros((9, SIDE), np.uint8),
        "has the shape [0, 24, 24]": np.zeros((0, SIDE, SIDE), np.uint8),
    }
    found = {}
    for index, (said, images) in enumerate(arrays.items()):
        found[said] = folder / f"{index}.npz"
        np.savez(found[said], images=images)
    found["not an .npz"] = folder / "junk.npz"
    found["not an .npz"].write_bytes(b"junk")
    found["no picture"] = folder / "empty"
    found["no picture"].mkdir()
    found["No such file"] = folder / "nowhere"
    return found


def test_a_calibration_that_is_none_is_refused(
    done: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(done)
    for said, path in calibrations(tmp_path).items():
        assert convert("quantise", "--data", faces, "--run", done, "--calibration", path) == 1
        line = line_of(capsys)
        assert said in line
        assert str(path) in line
    assert contents(done) == before


def test_a_calibration_of_another_size_is_resampled(
    done: Path, faces: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    np.savez(tmp_path / "own.npz", images=np.repeat(np.repeat(barred(60).pixels, 2, 1), 2, 2))
    own = ("--calibration", tmp_path / "own.npz")
    assert convert("quantise", "--data", faces, "--run", run, *own) == 0
    assert "60 pictures of its own" in (run / "quantised.json").read_text()


class Odd(tf.Module):
    """With an operator that has no counterpart."""

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1))])
    def answer(self, x: Any) -> Any:  # noqa: ANN401  # no types
        return tf.math.top_k(tf.reshape(x, (-1, 64)), 7).values


def of_any_size(file: Path) -> None:
    picture = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(picture))
    keras.Model(picture, layers.Dense(7)(x)).save(file)


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("model.keras", lambda file: file.write_bytes(b"PK\x03\x04 no model"), "again"),
        ("model.h5", lambda file: file.write_bytes(b"\x89HDF no model"), "again"),
        ("model.tflite", lambda file: file.write_bytes(b"TFL3"), "it is converted already"),
        ("model.txt", lambda file: file.write_bytes(b""), "models are read from"),
        ("folder", lambda file: file.mkdir(), "a folder without saved_model.pb"),
        (
            "saved",
            lambda file: (file.mkdir(), (file / "saved_model.pb").write_bytes(b"nothing")),
            "export it again",
        ),
        ("odd", lambda file: tf.saved_model.save(Odd(), str(file)), "operator TopKV2"),
        ("any.keras", of_any_size, "has sides of any length"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line_and_leaves_nothing(  # noqa: PLR0917  # parameters of the test
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    write: Any,  # noqa: ANN401  # a function
    said: str,
) -> None:
    write(tmp_path / name)
    assert quantise(tmp_path / name, tmp_path / "run", faces, *PIXELS) in (1, 2)
    line = line_of(capsys)
    assert said in line
    assert str(tmp_path / name) in line
    assert not (tmp_path / "run").exists()


def test_a_head_of_another_width_is_refused(
    done: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(done)
    sequence = keras.Input((None, WIDTH + 1))
    file = tmp_path / "head.keras"
    keras.Model(sequence, layers.Dense(7)(layers.GRU(4)(sequence))).save(file)
    assert quantise(file, done, faces) == 2
    assert f"takes an embedding of {WIDTH + 1} and gives 7 logits" in line_of(capsys)
    assert contents(done) == before


@contextmanager
def files_no_larger_than(most: int) -> Iterator[None]:
    """What comes near to a full disk where nobody may mount one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("most", "said", "left"),
    [
        (20_000, "frame.keras: cannot write it (File too large)", set()),
        (
            200_000, "make room there, or set TMPDIR",
            {"frame.keras", "frame-source.json", "interface.json"},
        ),
    ],
)  # fmt: skip
def test_a_disk_that_is_full_half_way_leaves_no_half(  # noqa: PLR0917  # parameters of the test
    model: Path,
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    most: int,
    said: str,
    left: set[str],
) -> None:
    with files_no_larger_than(most):
        assert quantise(model, tmp_path / "run", faces, *PIXELS) == 1
    assert said in line_of(capsys)
    assert set(contents(tmp_path / "run")) == left


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte; only root can have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("a disk of our own needs root and mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes of a disk."""
    room = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        file.write(bytes(room.f_bavail * room.f_frsize - free))


def test_a_full_disk_leaves_what_was_there(
    done: Path, faces: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(done, small_disk / "run")
    before = contents(run)
    fill(small_disk, 8192)
    assert convert("quantise", "--data", faces, "--run", run, "--percentile", "99.9") == 1
    assert "cannot write it (No space left on device)" in line_of(capsys)
    assert contents(run) == before


def test_a_bundle_on_a_full_disk_stays_the_one_it_was(
    finished: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_disk / "drawn"
    package = ["package", "--run", finished, "--name", "drawn", "--out", out]
    assert convert(*package) == 0
    before = contents(out)
    fill(small_disk, 100_000)
    assert convert(*package, "--version", "2") == 1
    assert "drawn: cannot write it (No space left on device)" in line_of(capsys)
    assert contents(out) == before
    assert load_stream(str(out))[1].version == "1"
    assert sorted(each.name for each in small_disk.iterdir()) == ["drawn", "filler"]


def test_ctrl_c_is_one_line_and_leaves_no_half(model: Path, faces: Path, tmp_path: Path) -> None:
    run, errors = tmp_path / "run", tmp_path / "errors"
    with errors.open("wb") as said:
        # Tests that run in the background have Ctrl-C ignored, and so has what they start.
        python = ["env", "--default-signal=INT", sys.executable]
        command = [*python, "-m", "convert", "quantise", str(model), *PIXELS]
        started = subprocess.Popen(
            [*command, "--data", str(faces), "--run", str(run)], cwd=ROOT, stderr=said,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + 120
    # The bar of the other process that converts.
    while b"frame.keras: 00:0" not in errors.read_bytes() and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)
    assert started.wait(30) == 1
    lines = errors.read_text().replace("\r", "\n").splitlines()
    assert lines[-1] == "mien-convert: stopped; no file was left half-written"
    assert not [line for line in lines if "Traceback" in line]
    assert set(contents(run)) == {"frame.keras", "frame-source.json", "interface.json"}
