"""Reads a PyTorch model and writes it as ONNX.

`python -m convert.sources.torch_child REQUEST`, started by `convert.sources.torch_file`.
"""

from __future__ import annotations

import importlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import torch

from convert.child import work
from convert.errors import SourceError
from convert.sources.parts import TOLERANCE
from convert.sources.requests import Exporter, TorchFound, TorchRequest

Network = Any
"""A torch.nn.Module; PyTorch is not there where types are checked."""

Inputs = tuple[Any, ...]
"""torch.Tensors; PyTorch is not there where types are checked."""

_BEHAVES = {"aten.dropout.default": 2, "aten.batch_norm.default": 5}
"""Where these operators say whether they are training."""


def main(request: TorchRequest, folder: Path) -> None:
    """Export one model, and leave `model.onnx` and `found.json` in a folder."""
    if request.weights is None:
        program, inputs = _program(request.path)
        network, exported = program.module(), program
    else:
        network = _from_factory(request.path, Path(request.weights))
        if request.input_shape is None:
            raise SourceError("PyTorch does not tell what it takes; give --input-shape, as 1x48x48")
        inputs = (torch.rand((1, *request.input_shape)) * 2 - 1,)
        exported = network
    with torch.no_grad():
        answers = _run(network, inputs)
    how = _exported(exported, network, inputs, folder / "model.onnx", request.exporters)
    _compare(folder / "model.onnx", inputs, answers)
    done = TorchFound(framework=f"PyTorch {torch.__version__}", notes=(how,))
    (folder / "found.json").write_bytes(msgspec.json.encode(done))


def _program(path: str) -> tuple[Any, Inputs]:
    """Load a `.pt2` file and the inputs it was exported with."""
    try:
        program = torch.export.load(path)
    except (RuntimeError, ValueError, KeyError, OSError, zipfile.BadZipFile, pickle.UnpicklingError,
            AttributeError, AssertionError) as exc:  # fmt: skip
        raise SourceError(
            f"torch.export.load refuses it ({_line(exc)}); save it again with torch.export.save"
        ) from exc
    for node in program.graph.nodes:
        place = _BEHAVES.get(str(node.target))
        if place is not None and len(node.args) > place and node.args[place] is True:
            raise SourceError(
                f"it was exported as it trains ({node.target}); call model.eval() before "
                "torch.export.export"
            )
    if program.example_inputs is None:
        raise SourceError("it holds no example inputs; save it again with torch.export.save")
    args, kwargs = program.example_inputs
    if kwargs or not all(isinstance(each, torch.Tensor) for each in args):
        raise SourceError("its inputs are not only tensors by place; export it with those")
    return program, tuple(torch.rand(each.shape) * 2 - 1 for each in args)


def _from_factory(path: str, weights: Path) -> Network:
    """Build a network as `module:factory` says, and fill it."""
    module_name, _, factory_name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
        network = factory()
    except Exception as exc:  # it is the person's own code
        raise SourceError(f"cannot be built ({type(exc).__name__}: {_line(exc)})") from exc
    if not isinstance(network, torch.nn.Module):
        raise SourceError(f"gives a {type(network).__name__}, not a torch.nn.Module")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        if isinstance(state, dict):
            state = state.get("state_dict", state)
        network.load_state_dict(state)
    except (RuntimeError, OSError, pickle.UnpicklingError, EOFError, TypeError, ValueError) as exc:
        raise SourceError(f"{weights.name} is no state_dict of it ({_line(exc)})") from exc
    return network.eval()


def _exported(
    exported: Network,
    network: Network,
    inputs: Inputs,
    path: Path,
    exporters: tuple[Exporter, ...],
) -> str:
    """Write ONNX with the first exporter that can; return what to note."""
    refused = []
    for name in exporters:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _EXPORTERS[name](exported, network, inputs, path)
        except Exception as exc:  # noqa: BLE001  # exporters raise of every kind
            refused.append(f"{name}: {_line(exc)}")
            continue
        after = f" ({refused[0]})" if refused else ""
        return f"exported by torch.onnx, {name}{after}"
    raise SourceError(f"torch.onnx cannot export it ({'; '.join(refused)})")


def _dynamo(exported: Network, network: Network, inputs: Inputs, path: Path) -> None:
    del network
    given = () if isinstance(exported, torch.export.ExportedProgram) else inputs
    torch.onnx.export(exported, given, path, dynamo=True, external_data=False, verbose=False)


def _torchscript(exported: Network, network: Network, inputs: Inputs, path: Path) -> None:
    del exported
    # An exported program refuses to be told whether it trains; what was exported is kept.
    torch.onnx.export(
        _Wrapped(network),
        inputs,
        str(path),
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )


class _Wrapped(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there where types are checked
    """A network that may be asked what an exported program may not."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.training = False

    def forward(self, *inputs: Network) -> Network:
        """Return what the network does."""
        return self.network(*inputs)


_EXPORTERS: dict[Exporter, Callable[[Any, Any, Inputs, Path], None]] = {
    "dynamo": _dynamo,
    "torchscript": _torchscript,
}


def _run(network: Network, inputs: Inputs) -> list[Network]:
    try:
        return list(torch.utils._pytree.tree_leaves(network(*inputs)))  # noqa: SLF001  # PyTorch's only name for it
    except (RuntimeError, TypeError, ValueError, IndexError) as exc:
        shapes = ", ".join("x".join(map(str, each.shape)) for each in inputs)
        raise SourceError(f"it does not run on {shapes} ({_line(exc)}); see --input-shape") from exc


def _compare(path: Path, inputs: Inputs, answers: list[Any]) -> None:
    """Refuse an export that answers otherwise than the model."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    fed = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
    for given, wanted in zip(session.run(None, fed), answers, strict=True):
        far = float(np.max(np.abs(given - wanted.numpy())))
        if not far <= TOLERANCE * max(1.0, float(wanted.abs().max())):
            raise SourceError(
                f"torch.onnx wrote a model that answers differently (by {far:.2g}); see that "
                "model.eval() is called and nothing in it is random"
            )


def _line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(exc).__name__


if __name__ == "__main__":
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    work(TorchRequest, main)
