"""Trained models of any common framework in one form: plain Keras layers, named as our own.

`read` looks the kind up in a literal table, has the source's own framework answer a few random
inputs, and refuses what then answers differently. Nothing here quantises.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from convert.errors import SourceError
from convert.quiet import silenced
from convert.run import Content, record_bytes
from convert.sources.parts import Parts
from convert.sources.requests import Exporter
from edge.errors import UsageError

Kind = Literal["frame", "head", "fused"]

LIMIT_S = 300.0

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SHAPE = re.compile(r"\d+(x\d+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a source does not tell by itself.

    Attributes
    ----------
    cut : str or None
        The layer (Keras) or tensor (ONNX, PyTorch) that is the embedding.
    weights : Path or None
        The state_dict of a `module:factory`.
    input_shape : tuple of int, or None
        What a `module:factory` takes, without the batch: (1, 48, 48).
    exporters : tuple of str
        The exporters of PyTorch, in the order in which they are tried.
    limit_s : float
        How long another process may take over it, in seconds.
    """

    cut: str | None = None
    weights: Path | None = None
    input_shape: tuple[int, ...] | None = None
    exporters: tuple[Exporter, ...] = ("dynamo", "torchscript")
    limit_s: float = LIMIT_S


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Source:
    """A trained model, in float.

    Attributes
    ----------
    kind
        `fused` has both a frame model and a head.
    frame : keras.Model or None
        From `face`, float32 [n, size, size, 1], to the embedding, [n, width], and the logits,
        [n, labels].
    head : keras.Model or None
        From `embedding` and the states, [n, units] each, to the logits and the new states.
    states : tuple of str
        The head's states by the names of its inputs, in the order of its outputs.
    size, channels
        Of the pictures it was made for; zero for a head.
    normalisation
        Mean and std in 0..255, if it had scaled its pixels itself: now the device has to.
    framework
        With its version.
    sha256
        Of each file it was read from.
    notes
        What was changed on the way.
    """

    kind: Kind
    frame: Any
    head: Any
    states: tuple[str, ...]
    size: int
    channels: int
    normalisation: tuple[float, float] | None
    framework: str
    sha256: dict[str, str]
    notes: tuple[str, ...]

    def files(self) -> dict[str, Content]:
        """Return what a run folder keeps of it: the networks, and a record beside each."""
        found: dict[str, Content] = {}
        for stem, network in (("frame", self.frame), ("head", self.head)):
            if network is not None:
                found[f"{stem}.keras"] = network.save
                found[f"{stem}-source.json"] = record_bytes(self.record())
        return found

    def record(self) -> SourceRecord:
        """Return what is known of it, without the networks."""
        return SourceRecord(
            kind=self.kind,
            states=self.states,
            size=self.size,
            channels=self.channels,
            normalisation=self.normalisation,
            framework=self.framework,
            sha256=self.sha256,
            notes=self.notes,
        )


class SourceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where networks in a run folder come from; see `Source`."""

    kind: Kind
    states: tuple[str, ...]
    size: int
    channels: int
    normalisation: tuple[float, float] | None
    framework: str
    sha256: dict[str, str]
    notes: tuple[str, ...]


def read(source: str, options: Options | None = None) -> Source:
    """Read a trained model.

    Parameters
    ----------
    source
        A `.keras`, `.h5`, `.hdf5`, `.onnx` or `.pt2` file, a SavedModel folder, or
        `module:factory` with `options.weights`.
    options
        What it does not tell by itself.

    Raises
    ------
    UsageError
        There is no such file, its kind is not known, or an option is missing.
    SourceError
        It is damaged, or cannot become what the device runs; the message says why.
    """
    options = options or Options()
    suffix = _suffix(source, options)
    parts, framework = _READERS[suffix](source, options)
    try:
        return _settled(source, parts, options, framework)
    except SourceError as exc:
        raise SourceError(f"{source}: {exc}") from exc


def parse_shape(text: str) -> tuple[int, ...]:
    """Return `1x48x48` as a tuple.

    Raises
    ------
    UsageError
        It is written otherwise.

    Examples
    --------
    >>> parse_shape("1x48x48")
    (1, 48, 48)
    """
    if not _SHAPE.fullmatch(text):
        raise UsageError(f"--input-shape {text}: write it like 1x48x48, without the batch")
    return tuple(int(side) for side in text.split("x"))


def _suffix(source: str, options: Options) -> str:
    """Return which entry of the table reads a source."""
    path = Path(source)
    if _FACTORY.fullmatch(source) and not path.exists():
        if options.weights is None:
            raise UsageError(
                f"{source}: a PyTorch network needs its state_dict; give --weights FILE"
            )
        if not options.weights.is_file():
            raise UsageError(f"{options.weights}: there is no such file; give --weights FILE")
        return ":"
    if options.weights is not None or options.input_shape is not None:
        raise UsageError("--weights and --input-shape go with MODULE:FACTORY alone; leave them out")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise UsageError(
                f"{source}: a folder without saved_model.pb; give a SavedModel or a file"
            )
        return "/"
    if not path.is_file():
        raise UsageError(f"{source}: there is no such file; give a model, or MODULE:FACTORY")
    if path.suffix.lower() == ".tflite":
        raise UsageError(
            f"{source}: it is converted already, and without the float model nobody can tell what "
            "that changed; give the model it was made from (mien-convert check reads .tflite)"
        )
    if path.suffix.lower() not in _READERS:
        known = ".keras, .h5, .onnx, .pt2, a SavedModel folder, or MODULE:FACTORY"
        raise UsageError(f"{source}: models are read from {known}; export it as one of them")
    return path.suffix.lower()


def _settled(source: str, parts: Parts, options: Options, framework: str) -> Source:
    """Give the networks of a source our names and order."""
    from convert.sources import roles  # noqa: PLC0415  # needs Keras
    from convert.sources.verify import verify  # noqa: PLC0415  # needs Keras

    verify(parts)
    notes = list(parts.notes)
    head = None if parts.head is None else roles.settled_head(parts.head, notes)
    frame, normalisation, channels, size = None, None, 0, 0
    if parts.frame is not None:
        frame, normalisation, channels = roles.settled_frame(parts.frame, head, parts.cut, notes)
        size = int(frame.inputs[0].shape[1])
    elif options.cut is not None:
        raise SourceError("it is a head, with nothing to cut; leave --cut out")
    kind: Kind = "fused" if frame is not None and head is not None else "frame"
    return Source(
        kind="head" if frame is None else kind,
        frame=frame,
        head=head,
        states=() if head is None else roles.state_names(len(head.inputs) - 1),
        size=size,
        channels=channels,
        normalisation=normalisation,
        framework=framework,
        sha256=_hashes(source, options),
        notes=tuple(notes),
    )


def _hashes(source: str, options: Options) -> dict[str, str]:
    """Return the sha256 of each file of a source, by its name."""
    path = Path(source)
    if options.weights is not None:
        files = {options.weights.name: options.weights}
    elif path.is_dir():
        files = {
            str(each.relative_to(path)): each for each in sorted(path.rglob("*")) if each.is_file()
        }
    else:
        beside = path.with_name(f"{path.name}.data")
        files = {each.name: each for each in (path, beside) if each.is_file()}
    return {name: hashlib.sha256(each.read_bytes()).hexdigest() for name, each in files.items()}


def _keras(source: str, options: Options) -> tuple[Parts, str]:
    import keras  # noqa: PLC0415  # a missing option is told without waiting for it

    from convert.sources import keras_file  # noqa: PLC0415  # see above

    try:
        return keras_file.read(Path(source), options.cut), f"Keras {keras.__version__}"
    except SourceError as exc:
        raise SourceError(f"{source}: {exc}") from exc


def _saved_model(source: str, options: Options) -> tuple[Parts, str]:
    import tensorflow as tf  # noqa: PLC0415  # see _keras

    from convert.sources import saved_model  # noqa: PLC0415  # see _keras

    try:
        with silenced():
            parts = saved_model.read(Path(source), options.cut)
    except SourceError as exc:
        raise SourceError(f"{source}: {exc}") from exc
    return parts, f"TensorFlow {tf.__version__}"


def _onnx(source: str, options: Options) -> tuple[Parts, str]:
    from convert.sources import onnx_file  # noqa: PLC0415  # see _keras

    return onnx_file.read(Path(source), options.cut, options.limit_s, source)


def _torch(source: str, options: Options) -> tuple[Parts, str]:
    from convert.sources import torch_file  # noqa: PLC0415  # see _keras

    request = torch_file.request(source, options.weights, options.input_shape, options.exporters)
    return torch_file.read(request, options.cut, options.limit_s, source)


_READERS: dict[str, Callable[[str, Options], tuple[Parts, str]]] = {
    ".keras": _keras,
    ".h5": _keras,
    ".hdf5": _keras,
    ".onnx": _onnx,
    ".pt2": _torch,
    "/": _saved_model,
    ":": _torch,
}
