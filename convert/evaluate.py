"""Measuring what a run folder holds, above all the very files that the device will run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from convert import metrics, streams
from convert.data import Data, Tiles, normalise
from convert.draft import draft
from convert.errors import DataError, RunError
from convert.framing import CROP, enlarged, find, short_range_detector
from convert.head import Embedded, compare
from convert.run import Evaluation, StreamReport, ThroughCrop, read_record, write_record
from convert.streams import StreamSettings
from convert.train import load_network
from edge.bundle import StreamManifest
from edge.crop import crop
from edge.datatypes import Float32Array
from edge.networks import StreamNetworks

STREAMS = 150


def evaluate(run: Path, faces: Data, *, through_crop: bool) -> Evaluation:
    """Measure on the `val` split; leaves `evaluation.json`.

    Parameters
    ----------
    run
        A run folder after `quantise`.
    faces
        The data set.
    through_crop
        Whether to measure too what the device's own detector and crop cost.

    Raises
    ------
    RunError
        The run folder lacks something.
    """
    bundle, manifest = draft(run)
    networks = StreamNetworks(bundle, manifest)
    frame = load_network(run / "frame.keras")
    floating = frame.predict(normalise(faces.val.pixels), batch_size=512, verbose=0)[1]
    evaluation = Evaluation(
        frame_sha256=manifest.frame.sha256,
        head_sha256=manifest.head.sha256,
        data_sha256=faces.labels_sha256,
        split="val",
        floating=metrics.score(floating, faces.val.labels),
        quantised=metrics.score(frame_logits(networks, faces.val), faces.val.labels),
        streams=on_streams(networks, manifest, faces.val),
        through_crop=as_the_device_crops(networks, faces.val) if through_crop else None,
    )
    write_record(run / "evaluation.json", evaluation)
    return evaluation


def evaluation_of(run: Path) -> Evaluation:
    """Read what `evaluate` left, held against the files that are there now.

    Raises
    ------
    RunError
        It is missing, or the files were quantised again since.
    """
    _, manifest = draft(run)
    found = read_record(run / "evaluation.json", Evaluation, made_by="evaluate")
    if (found.frame_sha256, found.head_sha256) != (manifest.frame.sha256, manifest.head.sha256):
        raise RunError(f"{run}: quantised again since it was evaluated; evaluate it again")
    return found


def frame_logits(networks: StreamNetworks, tiles: Tiles) -> Float32Array:
    """Return the frame model's logits for tiles, float32 [n, labels], by the device's runtime."""
    shown = tqdm(tiles.pixels, "int8", file=sys.stderr)
    return np.stack([networks.embed(tile).logits for tile in shown])


def on_streams(
    networks: StreamNetworks, manifest: StreamManifest, tiles: Tiles, count: int = STREAMS
) -> StreamReport:
    """Measure frame model and head, as the device runs them, on composed streams.

    The streams are others than those that chose the head's best epoch and temperature, composed
    of the same stills.
    """
    head, frame, shown = [], [], []
    for index in tqdm(range(count), "streams", file=sys.stderr):
        stream = streams.compose(tiles, StreamSettings(), np.random.default_rng([2, index]))
        state = networks.initial_state()
        for tile in stream.pixels:
            embedding = networks.embed(tile)
            logits, state = networks.step(embedding, state)
            head.append(logits)
            frame.append(embedding.logits)
        shown.append(stream)
    shape = (count, -1, len(manifest.labels))
    seen = Embedded(
        embeddings=np.empty((count, 0, 0), np.float32),
        frame_logits=np.reshape(frame, shape),
        targets=np.stack([stream.targets for stream in shown]),
        stretch=np.stack([stream.stretch for stream in shown]),
    )
    return compare(seen, np.reshape(head, shape), manifest.calibration.temperature)


def as_the_device_crops(networks: StreamNetworks, tiles: Tiles) -> ThroughCrop:
    """Measure the gap between training and serving.

    Each tile is enlarged with a border, its face is found by the shipped detector and cut out
    by `edge.crop`, and the frame model sees the result.

    Raises
    ------
    DataError
        The detector found a face in none of them.
    """
    detector = short_range_detector()
    found, pixels = [], []
    for index, tile in enumerate(tqdm(tiles.pixels, "crop", file=sys.stderr)):
        picture = enlarged(tile)
        face = find(picture, detector)
        if face is not None:
            found.append(index)
            pixels.append(crop(picture, face.keypoints, CROP, tile.shape[0]))
    if not found:
        raise DataError("the detector finds no face in any tile of val; leave out --through-crop")
    direct = tiles.of(np.array(found))
    cropped = Tiles(np.stack(pixels), direct.labels)
    return ThroughCrop(
        tiles=len(tiles),
        found=len(found),
        direct=metrics.score(frame_logits(networks, direct), direct.labels),
        cropped=metrics.score(frame_logits(networks, cropped), cropped.labels),
    )
