"""Models that come through ONNX, PyTorch's among them, answer as they did in their framework."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch_models
from optional import needed
from test_sources import answers, random, softmax, stepped

from convert.errors import SourceError
from convert.sources import Options, read
from edge.errors import UsageError

onnx = needed("onnx")
runtime = needed("onnxruntime")
needed("onnx2tf")

Array = npt.NDArray[Any]
Anything = Any
"""Of frameworks that publish no types."""

CLOSE, EXACT = 1e-4, 1e-5
SIZE, LABELS, WIDTH, UNITS, STEPS = 16, 7, 12, 9, 20
helper, float32 = onnx.helper, onnx.TensorProto.FLOAT


def stored(name: str, *shape: int, seed: int = 0) -> Anything:
    values = np.random.default_rng([seed, *name.encode()]).normal(0, 0.4, shape)
    return onnx.numpy_helper.from_array(values.astype(np.float32), name)


def whole(name: str, *values: int) -> Anything:
    return onnx.numpy_helper.from_array(np.array(values, np.int64), name)


def written(
    path: Path,
    nodes: Anything,
    inputs: Anything,
    outputs: Anything,
    *,
    constants: Anything = (),
    domains: tuple[str, ...] = (),
) -> str:
    """Write an ONNX file; inputs and outputs are shapes by name."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, float32, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, float32, shape) for name, shape in outputs.items()],
        list(constants),
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    return str(path)


def ran(path: Path, **inputs: Anything) -> list[Array]:
    return runtime.InferenceSession(str(path)).run(None, inputs)


def gru_cell(path: Path) -> str:
    """One step of a GRU, as operators: what torch.nn.GRUCell exports."""
    node = helper.make_node
    nodes = [
        node("Gemm", ["x", "W", "wb"], ["gx"], transB=1),
        node("Gemm", ["h", "R", "rb"], ["gh"], transB=1),
        node("Split", ["gx", "thirds"], ["xr", "xz", "xn"], axis=1),
        node("Split", ["gh", "thirds"], ["hr", "hz", "hn"], axis=1),
        node("Add", ["xr", "hr"], ["sr"]),
        node("Sigmoid", ["sr"], ["r"]),
        node("Add", ["xz", "hz"], ["sz"]),
        node("Sigmoid", ["sz"], ["z"]),
        node("Mul", ["r", "hn"], ["rn"]),
        node("Add", ["xn", "rn"], ["sn"]),
        node("Tanh", ["sn"], ["n"]),
        node("Sub", ["h", "n"], ["d"]),
        node("Mul", ["z", "d"], ["zd"]),
        node("Add", ["n", "zd"], ["new"]),
        node("Gemm", ["new", "V"], ["logits"], transB=1),
    ]
    constants = [
        stored("W", 3 * UNITS, WIDTH), stored("R", 3 * UNITS, UNITS), stored("wb", 3 * UNITS),
        stored("rb", 3 * UNITS), stored("V", LABELS, UNITS), whole("thirds", UNITS, UNITS, UNITS),
    ]  # fmt: skip
    inputs = {"x": ("n", WIDTH), "h": ("n", UNITS)}
    return written(
        path, nodes, inputs, {"logits": ("n", LABELS), "new": ("n", UNITS)}, constants=constants
    )


def test_onnx_gru_cell(tmp_path: Path) -> None:
    file = gru_cell(tmp_path / "cell.onnx")
    source = read(file)
    assert (source.kind, source.states) == ("head", ("state",))
    assert "ONNX opset 17" in source.framework
    x, h = random(STEPS, 1, WIDTH), np.zeros((1, UNITS), np.float32)
    for now in x:
        logits, h = ran(file, x=now, h=h)
    assert np.abs(stepped(source.head, x[:, 0]) - logits[0]).max() < EXACT


def recurrent(
    path: Path,
    kind: str,
    *,
    first: Anything,
    time: tuple[object, ...] = ("time", 1),
    more: Anything = None,
    cut_in: bool = False,
) -> str:
    """A GRU or LSTM on what `first` gives, and a dense layer on its last step."""
    gates = 3 if kind == "GRU" else 4
    nodes = [
        *first,
        helper.make_node(kind, ["X", "W", "R", "B"], ["", "Yh"], name="memory",
                         hidden_size=UNITS, **(more or {})),
        helper.make_node("Squeeze", ["Yh", "zero"], ["last"]),
        helper.make_node("Gemm", ["last", "V", "vb"], ["logits"]),
    ]  # fmt: skip
    constants = [
        stored("W", 1, gates * UNITS, WIDTH), stored("R", 1, gates * UNITS, UNITS),
        stored("B", 1, 2 * gates * UNITS), stored("V", UNITS, LABELS), stored("vb", LABELS),
        whole("zero", 0), stored("K", 5, 1, 3, 3), stored("k", 5), stored("D", 5, WIDTH),
        whole("flat", -1, 5), whole("again", 4, 1, -1), whole("axis", 0),
    ]  # fmt: skip
    used = {name for node in nodes for name in node.input}
    shape = (*time, 1, SIZE, SIZE) if cut_in else (*time, WIDTH)
    return written(path, nodes, {"x": shape}, {"logits": (1, LABELS)},
                   constants=[each for each in constants if each.name in used])  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more", "batch_first"),
    [
        ("GRU", {"linear_before_reset": 0}, False),
        ("GRU", {"linear_before_reset": 1}, True),
        ("LSTM", {}, True),
    ],
)
def test_onnx_recurrent(tmp_path: Path, kind: str, more: Anything, batch_first: bool) -> None:  # noqa: FBT001  # a parameter of the test
    order = [1, 0, 2] if batch_first else [0, 1, 2]
    file = recurrent(
        tmp_path / "head.onnx",
        kind,
        first=[helper.make_node("Transpose", ["x"], ["X"], perm=order)],
        time=(1, STEPS) if batch_first else ("time", "batch"),
        more=more,
    )
    source = read(file)
    assert source.kind == "head"
    assert len(source.states) == (2 if kind == "LSTM" else 1)
    assert any("memory" in note for note in source.notes)
    x = random(STEPS, WIDTH)
    (wanted,) = ran(file, x=x[None] if batch_first else x[:, None])
    assert np.abs(stepped(source.head, x) - wanted[0]).max() < EXACT


def over_pictures() -> list[Anything]:
    node = helper.make_node
    return [
        node("Squeeze", ["x", "axis"], ["pictures"]),
        node("Conv", ["pictures", "K", "k"], ["map"], strides=[2, 2]),
        node("Relu", ["map"], ["active"]),
        node("GlobalAveragePool", ["active"], ["pooled"]),
        node("Reshape", ["pooled", "flat"], ["features"]),
        node("MatMul", ["features", "D"], ["embedding"]),
        node("Reshape", ["embedding", "again"], ["X"]),
    ]


def test_onnx_fused_is_cut(tmp_path: Path) -> None:
    file = recurrent(
        tmp_path / "fused.onnx", "GRU", first=over_pictures(), time=(1, 4), cut_in=True
    )
    with pytest.raises(SourceError, match="--cut embedding"):
        read(file)
    source = read(file, Options(cut="embedding"))
    assert (source.kind, source.size, source.states) == ("fused", SIZE, ("state",))
    shown = random(4, SIZE, SIZE, 1)
    embeddings, still = answers(source.frame, shown)
    (wanted,) = ran(file, x=shown[:, None, :, :, 0][None])
    assert np.abs(stepped(source.head, embeddings) - wanted[0]).max() < EXACT
    assert np.abs(still[0] - stepped(source.head, embeddings[:1])).max() < EXACT


def dense(shape: Anything, nodes: Anything = None, **more: Anything) -> dict[str, object]:
    """How to write a small network: a flat picture and one dense layer."""
    nodes = nodes or [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "M"], ["out"]),
    ]
    return {"nodes": nodes, "inputs": {"x": shape}, "outputs": {"out": ("n", LABELS)},
            "constants": [stored("M", 64, LABELS)], **more}  # fmt: skip


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (dense((1, 1, "height", 8)), "'x' has a side of any length, axis 2"),
        (
            dense((1, 1, 8, 8), [helper.make_node("Odd", ["x"], ["out"], domain="own")],
                  domains=("own",)),
            "operator own.Odd",
        ),
        (
            dense((1, 64), [helper.make_node("MatMul", ["x", "M"], ["y"]),
                            helper.make_node("Det", ["y"], ["out"])]),
            "again",
        ),
    ],
)  # fmt: skip
def test_onnx_refused(tmp_path: Path, network: Anything, said: str) -> None:
    file = written(tmp_path / "model.onnx", **network)
    with pytest.raises(SourceError, match=said) as raised:
        read(file)
    assert "\n" not in str(raised.value)


def test_onnx_bidirectional_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("GRU", ["x", "W", "R"], ["y"], hidden_size=UNITS,
                              direction="bidirectional", name="both")]  # fmt: skip
    constants = [stored("W", 2, 3 * UNITS, WIDTH), stored("R", 2, 3 * UNITS, UNITS)]
    shapes = ({"x": (STEPS, 1, WIDTH)}, {"y": (STEPS, 2, 1, UNITS)})
    file = written(tmp_path / "model.onnx", nodes, *shapes, constants=constants)
    with pytest.raises(SourceError, match="'both' is bidirectional: it needs the future"):
        read(file)


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Anything], Path]:
    """A module as a person has it, `person`, and a way to save weights for it."""
    shutil.copy(torch_models.__file__, tmp_path / "person.py")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def saved(network: Anything) -> Path:
        needed("torch").save({"state_dict": network.state_dict()}, tmp_path / "weights.pt")
        return tmp_path / "weights.pt"

    return saved


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_torch_exported_program(tmp_path: Path, exporter: str) -> None:
    torch = needed("torch")
    network, file = torch_models.frame(), tmp_path / "model.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, SIZE, SIZE),)), file)
    source = read(str(file), Options(exporters=(exporter,)))
    assert (source.kind, source.size, source.channels) == ("frame", SIZE, 3)
    assert source.framework.startswith("PyTorch 2.")
    assert f"exported by torch.onnx, {exporter}" in source.notes
    luma = random(2, SIZE, SIZE, 1)
    embedding, logits = answers(source.frame, luma)
    assert embedding.shape == (2, WIDTH)
    with torch.no_grad():
        colour = torch.from_numpy(np.repeat(luma, 3, axis=3).transpose(0, 3, 1, 2))
        wanted = network(colour).numpy()
    assert np.abs(softmax(logits) - wanted).max() < CLOSE


def test_torch_factory_with_two_layers_of_gru(factory: Callable[[Anything], Path]) -> None:
    torch = needed("torch")
    network = torch_models.head()
    weights = factory(network)
    source = read("person:head", Options(weights=weights, input_shape=(STEPS, WIDTH)))
    assert (source.kind, source.states) == ("head", ("state_0", "state_1"))
    assert set(source.sha256) == {"weights.pt"}
    x = random(STEPS, WIDTH)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x[None])).numpy()[0]
    assert np.abs(stepped(source.head, x) - wanted).max() < EXACT


def test_torch_refused(factory: Callable[[Anything], Path], tmp_path: Path) -> None:
    weights = factory(torch_models.head())
    with pytest.raises(SourceError, match="give --input-shape"):
        read("person:head", Options(weights=weights))
    with pytest.raises(SourceError, match=r"weights\.pt is no state_dict of it"):
        read("person:frame", Options(weights=weights, input_shape=(3, SIZE, SIZE)))
    torch = needed("torch")
    network, file = torch_models.frame().train(), tmp_path / "model.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(2, 3, SIZE, SIZE),)), file)
    with pytest.raises(SourceError, match=r"as it trains.*eval"):
        read(str(file))


def test_reading_needs_no_torch_or_tensorflow_until_it_does() -> None:
    before = set(sys.modules)
    with pytest.raises(UsageError):
        read("nowhere.onnx")
    assert not {"torch", "onnx2tf"} & (set(sys.modules) - before)
