"""Reads an ONNX file: runs it as it is, makes it ready, and has onnx2tf turn it to TensorFlow.

`python -m convert.sources.onnx_child REQUEST`, started by `convert.sources.onnx_file`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import google.protobuf.message
import msgspec
import numpy as np
import onnx.inliner
import onnxruntime
import onnxsim

from convert.child import work
from convert.errors import SourceError
from convert.sources import onnx_graph
from convert.sources.onnx_graph import Opened
from convert.sources.onnx_pieces import Piece, pieces
from convert.sources.onnx_steps import Proto
from convert.sources.requests import OnnxFound, OnnxRequest
from edge.datatypes import Float32Array

_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
_VECTORS, _PICTURE = 3, 4


def main(request: OnnxRequest, folder: Path) -> None:
    """Read one file, and leave the networks, their reference and `found.json` in a folder."""
    path = Path(request.path)
    model = _load(path)
    found = onnx_graph.opened(model)
    cut = onnx_graph.cut_tensor(found, request.cut)
    _write_reference(folder / "reference.npz", _reference(path, found))
    onnx_graph.single(found)
    if cut is not None:
        onnx_graph.keep(model, cut)
    model = simplified(model)
    states = onnx_graph.stepped(model)
    made = pieces(model, found, states, cut)
    for name, piece in made.items():
        converted(piece).save(folder / f"{name}.keras")
    writer = f"{model.producer_name or 'unknown'} {model.producer_version}".strip()
    done = OnnxFound(
        frame="frame" in made,
        head="head" in made,
        framework=f"ONNX opset {model.opset_import[0].version} by {writer}",
        notes=tuple(states.notes),
    )
    (folder / "found.json").write_bytes(msgspec.json.encode(done))


def _load(path: Path) -> Proto:
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except OSError as exc:
        raise SourceError(f"cannot be read ({exc.strerror or exc}); copy it again") from exc
    except (google.protobuf.message.DecodeError, onnx.checker.ValidationError, ValueError) as exc:
        raise SourceError(f"not a sound ONNX file ({_line(exc)}); export it again") from exc
    return onnx.inliner.inline_local_functions(model)


def _reference(path: Path, found: Opened) -> dict[str, Float32Array]:
    """Run the file as it is in onnxruntime; see `Reference`."""
    random = np.random.default_rng(0)
    fed = {name: random.uniform(-1, 1, shape).astype(np.float32)
           for name, shape in found.inputs.items()}  # fmt: skip
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        answers = [np.asarray(each, np.float32) for each in session.run(None, fed)]
    except Exception as exc:  # onnxruntime's own exceptions share no base class
        raise SourceError(f"onnxruntime cannot run it ({_line(exc)}); export it again") from exc
    seen, *states = fed.values()
    seen = np.moveaxis(seen, found.time or 0, 0)
    seen = seen[:, 0] if found.time is not None else seen
    if seen.ndim == _PICTURE and onnx_graph.channels_first(seen.shape):
        seen = seen.transpose(0, 2, 3, 1)
    if found.recurrent and not states:
        # The states were made explicit, so only the scores have a counterpart.
        answers = answers[:1]
    kept = {"seen": seen}
    kept.update({f"state_{n:03}": each.reshape(1, -1) for n, each in enumerate(states)})
    for index, answer in enumerate(answers):
        timed = found.time is not None and answer.ndim >= _VECTORS
        last = np.take(answer, -1, axis=found.time or 0) if timed else answer
        kept[f"answer_{index:03}"] = last.reshape(1, -1)
    return kept


def _write_reference(path: Path, arrays: dict[str, Float32Array]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # a dictionary of arrays is what it takes


def simplified(model: Proto) -> Proto:
    """Return a graph with what is constant worked out.

    Raises
    ------
    SourceError
        Its shapes contradict each other once there is one sample and one step.
    """
    try:
        simple, same = onnxsim.simplify(model)
    except Exception as exc:  # onnxsim throws what its C++ throws
        raise SourceError(
            f"its shapes do not fit one sample and one step ({_line(exc)}); export it with batch 1"
        ) from exc
    if not same:
        raise SourceError("simplifying it changed its answers; export it another way")
    return simple


def converted(piece: Piece) -> Proto:
    """Return what onnx2tf makes of a graph, as Keras layers.

    Raises
    ------
    SourceError
        An operator is not supported.
    """
    import onnx2tf  # noqa: PLC0415  # slow, and the files above may be refused without it

    from convert.sources.lift import lift  # noqa: PLC0415  # needs TensorFlow
    from convert.sources.saved_model import frozen  # noqa: PLC0415  # needs TensorFlow

    model = simplified(piece.model)
    for node in model.graph.node:
        if importlib.util.find_spec(f"onnx2tf.ops.{node.op_type}") is None:
            raise SourceError(
                f"onnx2tf does not support the operator {node.op_type} ({node.name}); "
                "build the network without it"
            )
    # Looked for here before it would be fetched from the internet; the values do not matter.
    samples = np.random.default_rng(0).uniform(0, 1, (20, 128, 128, 3))
    np.save(_SAMPLES, samples.astype(np.float32))
    try:
        network = onnx2tf.convert(
            onnx_graph=model,
            output_folder_path="onnx2tf",
            not_use_onnxsim=True,
            disable_model_save=True,
            non_verbose=True,
        )
    except (SystemExit, Exception) as exc:
        raise SourceError(
            f"onnx2tf cannot convert it ({_line(exc)}); export it another way"
        ) from exc
    shapes = {each.name: tuple(each.shape) for each in network.inputs}
    order = [piece.inputs.index(name) for name in shapes]

    def call(*given: Proto) -> Proto:
        ordered = [given[index] for index in order]
        return network(ordered if len(ordered) > 1 else ordered[0], training=False)

    return lift(frozen(call, [shapes[name] for name in piece.inputs]), "as TensorFlow")


def _line(exc: BaseException) -> str:
    lines: Sequence[str] = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(exc).__name__


if __name__ == "__main__":
    work(OnnxRequest, main)
