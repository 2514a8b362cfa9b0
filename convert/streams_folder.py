"""Composed streams as files: arrays to compute with, sheets to look at, a record of the truth."""

from __future__ import annotations

import dataclasses
import functools
import io
import sys
import zipfile
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from tqdm import tqdm

from convert import plots, streams, streams_plot
from convert.data import Data
from convert.errors import DataError
from convert.run import Content, record_bytes, write_together
from convert.streams import SETTINGS, Stream, StreamSettings

RECORD = "streams.json"
SCHEMA = "mien-streams/1"

NOTE = (
    "Composed streams, not video: stills that are moved, warped and spoilt and fade into one "
    "another. Who is in them changes with the expression. Any figure measured on them must say so."
)


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which streams to compose: the same order on the same data gives the same.

    `data` is what the data is called, `settings` a name in `streams.SETTINGS`; `seconds` of None
    are those of the settings.
    """

    data: str
    split: Literal["val", "train"]
    settings: Literal["scoring", "learning"]
    seconds: float | None
    fps: float
    seed: int
    count: int


class Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is true of one stream, frame by frame; see `streams.Stream`."""

    archive: str
    sheet: str
    times: list[float]
    present: list[bool]
    stretch: list[int]
    targets: list[list[float]]


class StreamsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a folder's streams, and what they were composed by.

    `settings` are the values behind the order's name, `labels` the columns of `targets`.
    """

    schema: str = SCHEMA
    note: str = NOTE
    order: Order
    data_sha256: str
    settings: dict[str, Any]
    labels: tuple[str, ...]
    streams: tuple[Truth, ...]


def write(out: Path, faces: Data, order: Order) -> StreamsRecord:
    """Compose streams and write for each an archive and a sheet, and a record of them all.

    Raises
    ------
    DataError
        All pictures of the split have one label.
    RunError
        The folder cannot be made or written.
    """
    tiles = faces.split(order.split)
    if len(np.unique(tiles.labels)) == 1:
        raise DataError(f"{order.data}: all of {order.split} have one label; streams need two")
    settings = _settings(order)
    files, truths = dict[str, Content](), list[Truth]()
    bar = tqdm(total=order.count, desc="sheets", file=sys.stderr, delay=2)
    for index in tqdm(range(order.count), "compose", file=sys.stderr, delay=2):
        random = np.random.default_rng([order.seed, index])
        stream = streams.compose(tiles, settings, random, len(faces.names), fps=order.fps)
        truth = _truth(stream, f"stream-{index:04d}")
        title = f"{truth.archive}: a composed stream of stills, not video"
        sheet = streams_plot.Sheet(stream=stream, labels=faces.names, title=title)
        files[truth.archive] = functools.partial(_save, stream)
        files[truth.sheet] = functools.partial(_draw, sheet, bar)
        truths.append(truth)
    record = StreamsRecord(
        order=order,
        data_sha256=faces.labels_sha256,
        settings=dataclasses.asdict(settings),
        labels=faces.names,
        streams=tuple(truths),
    )
    with bar:
        write_together(out, {**files, RECORD: record_bytes(record)})
    return record


def _settings(order: Order) -> StreamSettings:
    settings = SETTINGS[order.settings]
    if order.seconds is None:
        return settings
    return dataclasses.replace(settings, seconds=order.seconds)


def _truth(stream: Stream, name: str) -> Truth:
    return Truth(
        archive=f"{name}.npz",
        sheet=f"{name}.png",
        times=stream.times.round(6).tolist(),
        present=stream.present.tolist(),
        stretch=stream.stretch.tolist(),
        targets=stream.targets.astype(float).round(4).tolist(),
    )


def _draw(sheet: streams_plot.Sheet, bar: tqdm, path: Path) -> None:
    path.write_bytes(plots.png(streams_plot.draw, sheet))
    bar.update()


def _save(stream: Stream, path: Path) -> None:
    """Write a stream's fields as an .npz; the same stream gives the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for field in dataclasses.fields(stream):
            part = io.BytesIO()
            np.save(part, np.asarray(getattr(stream, field.name)))
            # numpy.savez would stamp each part with the time.
            stamp = zipfile.ZipInfo(f"{field.name}.npy", (1980, 1, 1, 0, 0, 0))
            stamp.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(stamp, part.getvalue())
