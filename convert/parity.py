"""Float networks against the files made of them, as the device's own code runs those."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from convert import gates, noise, streams
from convert.converter import Precision
from convert.data import Data, Tiles, normalise, spread
from convert.draft import assembled
from convert.gates import Allowed, Gate, ParityError, ParityRecord, gate
from convert.head import free_run
from convert.interface import Interface
from convert.streams import LEARNING
from edge.bundle import ModelFile, TensorSpec
from edge.datatypes import Float32Array
from edge.networks import StreamNetworks
from edge.runtime import Model, dequantise, pixel_reader

NOISE_SAMPLES = 64
_ADVICE = {
    "frame": "calibrate with more typical pictures (--calibration), leave outliers out "
    "(--percentile 99.99), fine-tune (--finetune 3)",
    "head": "give it 16 bits (--head int16x8), or more typical faces (--data)",
}
STREAMS = 125
"""Which the head runs through without a reset: 10,000 steps, or 17 minutes of one face."""


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """One network before and after.

    Attributes
    ----------
    network
        The float one: a frame model or a head, as `convert.sources.Source` has them.
    floating
        The .tflite file between the two; see `convert.converter`.
    file
        Where the quantised file lies.
    signature
        Its tensors.
    """

    network: keras.Model
    floating: bytes
    file: Path
    signature: ModelFile


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What the answers are compared on; `split` says where the tiles come from."""

    tiles: Tiles
    split: str


def samples_of(faces: Data) -> Samples:
    """Return the tiles of `val`, and as many of `train` as they are short of the bar."""
    missing = gates.SAMPLES - len(faces.val)
    if missing <= 0:
        return Samples(faces.val, "val")
    more = spread(faces.train, missing)
    pixels, labels = (
        np.concatenate([getattr(faces.val, name), getattr(more, name)])
        for name in ("pixels", "labels")
    )
    return Samples(Tiles(pixels, labels), f"val and {len(more)} of train")


def measure(
    frame: Converted,
    head: Converted | None,
    interface: Interface,
    faces: Data,
    *,
    head_precision: Precision,
    allowed: Allowed,
) -> ParityRecord:
    """Compare both networks with their files.

    Parameters
    ----------
    frame, head
        Before and after; a frame model may come alone. Both files lie in one folder.
    interface
        What they take and give.
    faces
        Labelled tiles of the interface's size and labels.
    head_precision
        Decides how far the states may drift.
    allowed
        Bars that are lowered.

    Raises
    ------
    ModelError
        The device's runtime refuses a file.
    """
    samples = samples_of(faces)
    answers = frame_answers(frame, interface, samples.tiles)
    figures = gates.frame_figures(*answers, samples.tiles.labels)
    sha256 = {"frame": frame.signature.sha256}
    held = [
        gate("samples", len(samples.tiles), allowed),
        gate("agreement", figures["agreement"], allowed),
        gate("accuracy-drop", figures["accuracy_drop_upper"], allowed),
        gate("logit-sqnr", figures["logit_sqnr"], allowed),
    ]
    few = spread(samples.tiles, NOISE_SAMPLES)
    seen = [{"face": face[None]} for face in _real(few, interface)]
    layers = {"frame": noise.layers(frame.floating, frame.file.read_bytes(), seen)}
    if head is not None:
        walk = walked(frame, head, interface, samples.tiles)
        figures |= walk.figures
        held += _head_gates(walk.figures, head_precision, allowed)
        sha256["head"] = head.signature.sha256
        layers["head"] = noise.layers(head.floating, head.file.read_bytes(), walk.seen)
    return ParityRecord(
        sha256=sha256,
        data_sha256=faces.labels_sha256,
        split=samples.split,
        n=len(samples.tiles),
        gates=tuple(held),
        figures={name: float(f"{value:.6g}") for name, value in figures.items()},
        layers=layers,
    )


def refuse(record: ParityRecord) -> None:
    """Refuse a conversion whose answers changed.

    Raises
    ------
    ParityError
        A gate failed; the message names it and the layer to look at.
    """
    if not record.failed:
        return
    names = ", ".join(each.name for each in record.failed)
    stem, worst = max(
        ((stem, gates.culprit(layers)) for stem, layers in record.layers.items() if layers),
        key=lambda pair: pair[1].fall_db,
    )
    raise ParityError(
        f"the quantised answers are not those of the float network ({names} failed), and nothing "
        f"was kept; most noise is added by {stem}.tflite, operator {worst.operator} "
        f"({worst.tensor}), {worst.fall_db:g} dB: {_ADVICE[stem]}, or, knowing what you do, lower "
        "one bar (--allow NAME=VALUE)",
        record,
    )


def frame_answers(
    frame: Converted, interface: Interface, tiles: Tiles
) -> tuple[Float32Array, Float32Array]:
    """Return the logits of the float network and of the file, float32 [n, labels] each."""
    floating = frame.network.predict(_real(tiles, interface), batch_size=256, verbose=0)[1]
    model = Model(frame.file.read_bytes(), frame.signature)
    (face,) = frame.signature.inputs
    read_pixels = pixel_reader(interface.device_mean, interface.std, face)
    place, spec = _output(frame.signature, "logits")
    device = [
        dequantise(model(read_pixels(tile).reshape(face.shape))[place], spec)[0]
        for tile in tqdm(tiles.pixels, "parity of frame", leave=False, file=sys.stderr)
    ]
    return np.asarray(floating), np.stack(device)


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Both heads, run freely side by side: see `gates.head_figures`.

    `seen` are inputs of the float head at some steps, by name.
    """

    figures: dict[str, float]
    seen: list[dict[str, Float32Array]]


def walked(frame: Converted, head: Converted, interface: Interface, tiles: Tiles) -> Walk:
    """Let both heads run free over real trajectories of embeddings.

    The tiles become composed streams, one after another without a reset. Both heads are given
    the embeddings of the device's frame model, so that what is measured is the head alone;
    beside them a float head on a float frame model, for what both files change together.
    """
    pixels = np.concatenate([
        streams.looks(tiles, LEARNING, np.random.default_rng([3, index]), len(interface.labels))
        for index in range(STREAMS)
    ])  # fmt: skip
    bundle, manifest = assembled(frame.file.parent, interface, frame.signature, head.signature)
    networks = StreamNetworks(bundle, manifest)
    into = next(each for each in head.signature.inputs if each.role == "embedding")
    specs = [_named(head.signature.outputs, pair.output) for pair in manifest.states]
    state, logits, states, embeddings = networks.initial_state(), [], [], []
    for tile in tqdm(pixels, "parity of head", leave=False, file=sys.stderr):
        embedding = networks.embed(tile)
        answer, state = networks.step(embedding, state)
        logits.append(answer)
        embeddings.append(dequantise(embedding.vector, into)[0])
        states.append([dequantise(*pair)[0] for pair in zip(state, specs, strict=True)])
    real = normalise(pixels, interface.mean, interface.std)
    own = frame.network.predict(real, batch_size=256, verbose=0)[0]
    given = np.stack([np.stack(embeddings), own])
    floating, kept = free_run(head.network, given)
    figures = gates.head_figures(
        floating[0], np.stack(logits),
        [each[:, 0] for each in kept], [np.stack(each) for each in zip(*states, strict=True)],
    )  # fmt: skip
    figures["stream_agreement"] = gates.agreement(floating[1], np.stack(logits))
    names = [tensor.name for tensor in head.network.inputs]
    before = [np.concatenate([np.zeros_like(each[:1]), each[:-1]]) for each in kept]
    seen = [
        dict(zip(names, [given[0, step][None], *(each[step, :1] for each in before)], strict=True))
        for step in range(0, len(pixels), max(1, len(pixels) // NOISE_SAMPLES))
    ]
    return Walk(figures, seen)


def _head_gates(figures: dict[str, float], precision: Precision, allowed: Allowed) -> list[Gate]:
    drift_bar = gates.INT8_STATE_DRIFT if precision == "int8" else None
    return [
        gate("head-steps", figures["head_steps"], allowed),
        gate("head-agreement", figures["head_agreement"], allowed),
        gate("state-drift", figures["state_drift"], allowed, drift_bar),
    ]


def _real(tiles: Tiles, interface: Interface) -> Float32Array:
    return normalise(tiles.pixels, interface.mean, interface.std)


def _output(file: ModelFile, role: str) -> tuple[int, TensorSpec]:
    return next((n, each) for n, each in enumerate(file.outputs) if each.role == role)


def _named(tensors: tuple[TensorSpec, ...], name: str) -> TensorSpec:
    return next(each for each in tensors if each.name == name)
