"""Any model that can be shown tiles and asked for a label: bundles, .tflite files, float models.

What the device runs is run by the device's own code, without TensorFlow; a float model by its
framework, as `convert.sources` reads it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from convert import inspect
from convert.answers import frame_logits, shown
from convert.data import LABELS, MEAN, STD, normalise
from convert.errors import ConversionError, SourceError
from convert.graph import Tensor
from convert.recipe import Policy
from edge import bundle
from edge.bundle import ModelFile, StreamManifest, TensorSpec
from edge.datatypes import Float32Array, UInt8Array
from edge.errors import BundleError, ModelError, UsageError
from edge.networks import StreamNetworks
from edge.runtime import Model, dequantise, pixel_reader

_DTYPES = {"int8", "uint8", "int16", "float32"}
_BATCH = 256
_RUN_RECORDS = ("frame.json", "frame-source.json", "quantised.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says of a model that does not say it itself.

    Attributes
    ----------
    labels
        In the order of its answers.
    mean, std
        It is shown `(pixel - mean) / std`, pixels in 0..255.
    weights, input_shape
        See `convert.sources.Options`.
    spelling
        How an option is written before its value, for those who are told of one.
    """

    labels: tuple[str, ...] | None = None
    mean: float | None = None
    std: float | None = None
    weights: Path | None = None
    input_shape: tuple[int, ...] | None = None
    spelling: str = "--{} "

    def spelt(self, name: str, value: object = "") -> str:
        """Return an option and its value as the user writes them."""
        return f"{self.spelling.format(name)}{value}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Subject:
    """A model that is ready to answer.

    Attributes
    ----------
    kind
        What it is, in a word or two.
    form
        The numbers it computes with: what a table calls its row.
    files
        The sha256 of each file, by its name.
    labels
        In the order of its answers.
    size
        The side of its tiles, in pixels.
    facts
        What else a reader should know, by its name.
    notes
        What was done to it on the way, in sentences.
    answer
        From tiles, uint8 [n, size, size], to scores, float32 [n, labels]: logits, or
        probabilities.
    networks
        Of a bundle, so that it can be shown streams.
    policy
        What it was taught to be right; see `convert.policies`.
    trained_on
        The sha256 of the data it was trained on, where it says so.
    """

    kind: str
    form: str
    files: dict[str, str]
    labels: tuple[str, ...]
    size: int
    facts: dict[str, str]
    answer: Callable[[UInt8Array], Float32Array]
    notes: tuple[str, ...] = ()
    networks: tuple[StreamNetworks, StreamManifest] | None = None
    policy: Policy = "labels"
    trained_on: str | None = None


def open_model(model: str, given: Given) -> Subject:
    """Open a model, whatever its kind.

    Parameters
    ----------
    model
        The folder or name of a bundle, a `.tflite` file, or what `convert.sources.read` takes.
    given
        What it does not say itself.

    Raises
    ------
    UsageError
        There is no such model, or it says itself what was given.
    ConversionError
        It is damaged, or not one that answers a tile with a score for each label.
    SourceError
        As `convert.sources.read`.
    """
    path = Path(model)
    if path.suffix.lower() == ".tflite":
        return _open_file(path, given)
    if (path / bundle.MANIFEST).is_file() or (not path.exists() and model in bundle.shipped()):
        return _open_bundle(model, given)
    if not path.exists() and ":" not in model:
        raise UsageError(
            f"{model}: no such file or folder, and no bundle of that name comes with Mien "
            f"({', '.join(bundle.shipped())}); give a bundle, a .tflite file or a float model"
        )
    return _open_float(model, given)


def run_folder(model: str) -> Path | None:
    """Return a model as a run folder if it is one, which has networks of several stages."""
    path = Path(model)
    return path if any((path / name).is_file() for name in _RUN_RECORDS) else None


def _refuse(given: Given, *unwanted: str, model: str, why: str) -> None:
    for name in unwanted:
        if getattr(given, name) is not None:
            option = given.spelt(name.replace("_", "-")).rstrip(" =")
            raise UsageError(f"{option}: {model} {why}; leave it out")


def _scaling(given: Given) -> tuple[float, float]:
    mean = MEAN if given.mean is None else given.mean
    std = STD if given.std is None else given.std
    if not (math.isfinite(mean) and 0 < std < math.inf):
        raise UsageError(
            f"{given.spelt('mean', f'{mean:g}')} {given.spelt('std', f'{std:g}')}: give a number, "
            "and one above zero, in units of 0..255"
        )
    return mean, std


def _tile(size: int, colour: str, mean: float, std: float) -> str:
    # Adding zero makes a zero of minus zero.
    return f"{size} x {size}, {colour}, (pixel - {mean + 0:g}) / {std:g}"


def _runtime() -> str:
    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}, one thread"


def _open_bundle(model: str, given: Given) -> Subject:
    _refuse(
        given, "labels", "mean", "std", "weights", "input_shape",
        model=model, why="is a bundle, which says that itself",
    )  # fmt: skip
    try:
        loaded = bundle.load(model)
        manifest = loaded.manifest
        if not isinstance(manifest, StreamManifest):
            raise UsageError(f"{model}: it finds faces and names no expression; give one that does")
        networks = StreamNetworks(loaded, manifest)
    except (BundleError, ModelError) as exc:
        # Not the device's configuration error: the bundle is what was asked about.
        raise ConversionError(str(exc)) from exc
    face, training = manifest.input, manifest.provenance.training
    data = training.get("data_sha256")
    return Subject(
        kind=f"bundle {loaded.ident}",
        form=manifest.frame.inputs[0].dtype,
        files={
            bundle.MANIFEST: loaded.sha256,
            manifest.frame.file: manifest.frame.sha256,
            manifest.head.file: manifest.head.sha256,
        },
        labels=manifest.labels,
        size=face.size,
        facts={
            "tile": _tile(face.size, "luma", face.mean, face.std),
            "run by": _runtime(),
        },
        answer=lambda pixels: frame_logits(networks, pixels),
        networks=(networks, manifest),
        policy="consensus" if training.get("frame_policy") == "consensus" else "labels",
        trained_on=data if isinstance(data, str) else None,
    )


def _open_file(path: Path, given: Given) -> Subject:
    """Open a .tflite file that takes one picture."""
    _refuse(given, "weights", "input_shape", model=str(path), why="is no MODULE:FACTORY")
    labels, (mean, std) = given.labels or LABELS, _scaling(given)
    graph = inspect.read(path).graphs[0]
    data = path.read_bytes()
    size, channels, axis = _picture(path, graph.inputs)
    face = _spec(graph.inputs[0], "face")
    scores = _spec(_scores(path, graph.outputs, labels, given), "logits")
    spec = ModelFile(
        file=path.name, sha256=hashlib.sha256(data).hexdigest(), inputs=(face,), outputs=(scores,)
    )
    try:
        network = Model(data, spec)
    except (BundleError, ModelError) as exc:
        why = exc.__cause__ or exc
        raise ConversionError(
            f"{path}: the device's runtime refuses it ({str(why).strip().splitlines()[0]}); "
            "mien-convert check says what stands in it"
        ) from exc
    read_pixels = pixel_reader(mean, std, face)

    def answer(tile: UInt8Array) -> Float32Array:
        # A network made for colour is shown luma in each channel: a device has nothing else.
        picture = np.broadcast_to(np.expand_dims(read_pixels(tile), (0, axis)), face.shape)
        (stored,) = network(np.ascontiguousarray(picture))
        return dequantise(stored, scores).reshape(-1)

    return Subject(
        kind="a .tflite file",
        form=face.dtype if face.dtype == scores.dtype else f"{face.dtype} to {scores.dtype}",
        files={path.name: spec.sha256},
        labels=labels,
        size=size,
        facts={
            "tile": _tile(size, "luma" if channels == 1 else "luma in each channel", mean, std),
            "run by": _runtime(),
        },
        answer=lambda pixels: np.stack([answer(tile) for tile in shown(pixels, "tiles")]),
    )


def _picture(path: Path, inputs: tuple[Tensor, ...]) -> tuple[int, int, int]:
    """Return the side and the channels of the picture that a file takes, and their axis."""
    said = ", ".join(f"{each.name} {each.dtype} {list(each.shape)}" for each in inputs)
    if len(inputs) != 1:
        raise ConversionError(
            f"{path}: takes {said}; a frame model takes one picture, and a head is measured in a "
            "bundle or a run folder"
        )
    if inputs[0].dtype not in _DTYPES:
        raise ConversionError(
            f"{path}: takes {said}; convert it to take {', '.join(sorted(_DTYPES))}"
        )
    match inputs[0].shape:
        case (1, height, width, 1 | 3 as channels) if height == width:
            return height, channels, 3
        case (1, 1 | 3 as channels, height, width) if height == width:
            return height, channels, 1
        case _:
            raise ConversionError(
                f"{path}: takes {said}; a frame model takes one square picture, [1, side, side, 1] "
                "or [1, side, side, 3]: convert it with a batch of one"
            )


def _scores(
    path: Path, outputs: tuple[Tensor, ...], labels: tuple[str, ...], given: Given
) -> Tensor:
    """Return the output that has a score for each label."""
    said = ", ".join(f"{each.name} {each.dtype} {list(each.shape)}" for each in outputs)
    found = [each for each in outputs if math.prod(each.shape) == len(labels)]
    if not found:
        raise ConversionError(
            f"{path}: gives {said}, and none of it is a score for each of {len(labels)} labels "
            f"({', '.join(labels)}); name its labels in their order: "
            f"{given.spelt('labels', 'A,B,…')}"
        )
    if len(found) > 1:
        raise ConversionError(
            f"{path}: gives {said}, of which {len(found)} could be the scores of {len(labels)} "
            "labels; convert it with the scores alone"
        )
    if found[0].dtype not in _DTYPES:
        raise ConversionError(f"{path}: gives {said}; convert it to give float32 or int8")
    return found[0]


def _spec(tensor: Tensor, role: str) -> TensorSpec:
    quantisation = tensor.quantisation
    return TensorSpec(
        name=tensor.name,
        role=cast("Any", role),
        shape=tensor.shape,
        # A bundle has no uint8, but the runtime's arithmetic is the same.
        dtype=cast("Any", tensor.dtype),
        scale=None if quantisation is None else quantisation.scale,
        zero_point=0 if quantisation is None else quantisation.zero_point,
    )


def _open_float(model: str, given: Given) -> Subject:
    from convert import sources  # noqa: PLC0415  # needs TensorFlow, which the others do not

    source = sources.read(
        model, sources.Options(weights=given.weights, input_shape=given.input_shape)
    )
    if source.frame is None:
        raise SourceError(
            f"{model}: it is a head, which is shown no pictures; package it, and give the bundle"
        )
    if source.normalisation is not None:
        _refuse(given, "mean", "std", model=model, why="scales its pixels itself")
    mean, std = source.normalisation or _scaling(given)
    labels, width = given.labels or LABELS, source.frame.outputs[1].shape[-1]
    if width != len(labels):
        raise ConversionError(
            f"{model}: gives {width} scores for {len(labels)} labels ({', '.join(labels)}); name "
            f"its labels in their order: {given.spelt('labels', 'A,B,…')}"
        )

    def answer(pixels: UInt8Array) -> Float32Array:
        starts = tqdm(range(0, len(pixels), _BATCH), "float", file=sys.stderr, delay=2)
        some = (normalise(pixels[start : start + _BATCH], mean, std) for start in starts)
        return np.concatenate([np.asarray(source.frame(each, training=False)[1]) for each in some])

    return Subject(
        kind="a float model",
        form="float32",
        files=source.sha256,
        labels=labels,
        size=source.size,
        facts={
            "tile": _tile(source.size, "luma", mean, std),
            "run by": source.framework,
        },
        notes=source.notes,
        answer=answer,
    )
