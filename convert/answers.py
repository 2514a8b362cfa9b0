"""What networks answer when the device's own code runs them; no TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import msgspec
import numpy as np
from tqdm import tqdm

from convert import calibration, metrics, streams
from convert.compare import Embedded, compare
from convert.data import Tiles
from convert.errors import DataError
from convert.framing import enlarged, find, short_range_detector
from convert.run import StreamReport, ThroughCrop
from convert.streams import SCORING
from edge.bundle import StreamManifest
from edge.crop import crop
from edge.datatypes import Float32Array, UInt8Array
from edge.networks import StreamNetworks

STREAMS = 600
"""Enough that chance in the bins hides no calibration error of 0.03; with 300 it did."""


def shown(tiles: UInt8Array, name: str) -> Iterable[UInt8Array]:
    """Return the tiles one by one, with a progress bar on stderr where it takes long."""
    bar: Iterable[UInt8Array] = tqdm(tiles, name, file=sys.stderr, delay=2)
    return bar


def frame_logits(networks: StreamNetworks, pixels: UInt8Array) -> Float32Array:
    """Return the frame model's logits for tiles, float32 [n, labels]."""
    return np.stack([networks.embed(tile).logits for tile in shown(pixels, "int8")])


def on_streams(
    networks: StreamNetworks,
    manifest: StreamManifest,
    tiles: Tiles,
    count: int | None = None,
    *,
    temperature: float | None = None,
) -> StreamReport:
    """Measure frame model and head on composed streams.

    There are `STREAMS` of them unless `count` says otherwise, of settings that no head learns
    from (`streams.SCORING`): others than those that chose the head's best epoch, composed of the
    same stills. The stills of a stream are all of one fold of `calibration.folded`.

    Parameters
    ----------
    networks, manifest
        The bundle.
    tiles
        The stills.
    count
        Of streams.
    temperature
        Of the head, as it is to be measured; without one, it is fitted here.
    """
    count = count or STREAMS
    folds = calibration.folded(tiles.labels)
    turns = np.arange(count) % (folds.max() + 1)
    parts = [tiles.of(np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)]
    head, frame, targets, stretch = [], [], [], []
    for index, turn in enumerate(tqdm(turns, "streams", file=sys.stderr, delay=2)):
        random = np.random.default_rng([2, index])
        stream = streams.compose(parts[turn], SCORING, random, len(manifest.labels))
        when = streams.ticks(stream, SCORING.steps)
        state = networks.initial_state()
        for tile in stream.pixels[when.seen]:
            embedding = networks.embed(tile)
            logits, state = networks.step(embedding, state)
            head.append(logits)
            frame.append(embedding.logits)
        targets.append(stream.targets[when.shown])
        stretch.append(stream.stretch[when.shown])
    shape = (count, -1, len(manifest.labels))
    embedded = Embedded(
        embeddings=np.empty((count, 0, 0), np.float32),
        frame_logits=np.reshape(frame, shape),
        targets=np.stack(targets),
        stretch=np.stack(stretch),
    )
    logits = np.reshape(head, shape)
    doubt = calibration.doubt(
        logits, embedded.frame_logits, embedded.labels, embedded.stretch, turns
    )
    fitted = doubt.head.temperature if temperature is None else temperature
    return msgspec.structs.replace(compare(embedded, logits, fitted), doubt=doubt)


def as_the_device_crops(
    networks: StreamNetworks, manifest: StreamManifest, tiles: Tiles
) -> ThroughCrop:
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
    for index, tile in enumerate(shown(tiles.pixels, "crop")):
        picture = enlarged(tile)
        face = find(picture, detector)
        if face is not None:
            found.append(index)
            pixels.append(crop(picture, face.keypoints, manifest.input.crop, tile.shape[0]))
    if not found:
        raise DataError("the detector finds no face in any tile of val; leave out --through-crop")
    direct = tiles.of(np.array(found))
    before, after = (
        metrics.score(frame_logits(networks, each), direct.labels, names=manifest.labels)
        for each in (direct.pixels, np.stack(pixels))
    )
    return ThroughCrop(tiles=len(tiles), found=len(found), direct=before, cropped=after)
