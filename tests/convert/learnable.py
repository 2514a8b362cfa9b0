"""Drawn faces that a network can learn in seconds: which of seven places a bright bar is in.

The parity gates compare answers. A network that has learnt nothing is on the brink between two
answers everywhere, and no quantisation is fine enough for that.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.data import LABELS, Tiles, normalise
from convert.golden import draw_face
from convert.streams import LEARNING, compose, ticks

Array = npt.NDArray[Any]
Network = Any
"""Of Keras, which publishes no types."""

SIDE, ENOUGH, STEPS = 24, 2000, 20
_SPACE = SIDE // len(LABELS)


def barred(count: int, seed: int = 0) -> Tiles:
    """Draw faces with a bar, as many of each label."""
    random = np.random.default_rng(seed)
    # In no order: every seventh of labels that take turns would be one label.
    labels = random.permutation(np.arange(count) % len(LABELS))
    tiles = np.stack([draw_face(random, SIDE) for _ in range(count)])
    for tile, label in zip(tiles, labels, strict=True):
        top = 1 + _SPACE * label
        tile[top : top + _SPACE] = np.clip(tile[top : top + _SPACE].astype(int) + 110, 0, 255)
    return Tiles(tiles, labels)


def write_barred(file: Path, count: int = ENOUGH, names: tuple[str, ...] = LABELS) -> Path:
    """Write a data set of one .npz file, an eighth of it `val`; return it."""
    tiles = barred(count)
    split = np.where(np.arange(count) % 8 == 0, "val", "train")
    np.savez(file, images=tiles.pixels, labels=np.array(names)[tiles.labels], split=split)
    return file


def taught(
    network: Network,
    mean: float,
    std: float,
    *,
    epochs: int = 3,
    order: tuple[str, ...] = LABELS,
) -> Network:
    """Train a Keras network of single pictures for a moment; its last layer is a softmax."""
    import keras  # noqa: PLC0415  # PyTorch's tests do without

    tiles, channels = barred(1400, seed=5), network.inputs[0].shape[3]
    seen = np.repeat(normalise(tiles.pixels, mean, std), channels, axis=3)
    side = network.inputs[0].shape[1]
    if side != SIDE:
        seen = np.asarray(keras.ops.image.resize(seen, (side, side)))
    labels = np.array([order.index(name) for name in LABELS])[tiles.labels]
    network.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    network.fit(seen, labels, batch_size=32, epochs=epochs, verbose=0)
    return network


@functools.lru_cache
def shown_streams(mean: float, std: float, count: int = 24) -> tuple[Array, Array]:
    """Return streams, [n, STEPS, SIDE, SIDE, 1], and how much of each label is in each step."""
    tiles = barred(700, seed=6)
    streams = [compose(tiles, LEARNING, np.random.default_rng([9, n])) for n in range(count)]
    steps = [ticks(each, LEARNING.steps) for each in streams]
    pixels = np.concatenate([
        normalise(each.pixels[when.seen], mean, std)
        for each, when in zip(streams, steps, strict=True)
    ])  # fmt: skip
    targets = np.concatenate([
        each.targets[when.shown] for each, when in zip(streams, steps, strict=True)
    ])  # fmt: skip
    return (
        pixels.reshape(-1, STEPS, SIDE, SIDE, 1),
        targets.reshape(-1, STEPS, len(LABELS)),
    )
