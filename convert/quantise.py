"""Trained networks become the integer files that the device runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from convert import streams
from convert.data import Data, Tiles, normalise, spread
from convert.errors import ConversionError
from convert.run import sha256_of, write_record, write_whole
from convert.streams import StreamSettings
from convert.tflite import Contents, read
from convert.train import load_network
from edge.bundle import ModelFile
from edge.datatypes import Float32Array

Precision = Literal["int8", "int16x8"]

CALIBRATION_TILES = 500
CALIBRATION_STREAMS = 30
LIMIT_S = 600.0


class Quantised(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `quantise` made, and from what.

    `size` (bytes), `parameters` and `macs` are by the stem of the file (`frame`, `head`).
    """

    frame: ModelFile
    head: ModelFile
    source_sha256: dict[str, str]
    head_precision: str
    size: dict[str, int]
    parameters: dict[str, int]
    macs: dict[str, int]


def quantise(
    run: Path, faces: Data, *, head_precision: Precision = "int16x8", limit_s: float = LIMIT_S
) -> Quantised:
    """Quantise both networks of a run folder; leaves `frame.tflite`, `head.tflite`, a record.

    Parameters
    ----------
    run
        With `frame.keras` and `head.keras`.
    faces
        Its `train` split says which values occur.
    head_precision
        The frame model is always int8.
    limit_s
        How long one conversion may take.

    Raises
    ------
    RunError
        A network is missing or damaged.
    ConversionError
        The converter crashed or hung, or what it wrote is not what the device needs.
    """
    frame, head = load_network(run / "frame.keras"), load_network(run / "head.keras")
    sample = spread(faces.train, CALIBRATION_TILES)
    shown = [
        streams.compose(faces.train, StreamSettings(), np.random.default_rng([0, index])).pixels
        for index in range(CALIBRATION_STREAMS)
    ]
    embeddings = frame.predict(normalise(np.concatenate(shown)), verbose=0)[0]
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        _convert(run / "frame.keras", {"face": pinned(sample)}, "int8", made, limit_s)
        _convert(run / "head.keras", {"embedding": embeddings}, head_precision, made, limit_s)
        contents = {stem: read(made / f"{stem}.tflite") for stem in ("frame", "head")}
        check_frame(contents["frame"])
        check_head(contents["head"])
        for stem in contents:
            write_whole(run / f"{stem}.tflite", (made / f"{stem}.tflite").read_bytes())
    record = Quantised(
        frame=contents["frame"].signature,
        head=contents["head"].signature,
        source_sha256={f"{stem}.keras": sha256_of(run / f"{stem}.keras") for stem in contents},
        head_precision=head_precision,
        size={stem: each.size for stem, each in contents.items()},
        parameters={"frame": frame.count_params(), "head": head.count_params()},
        macs={stem: each.macs for stem, each in contents.items()},
    )
    write_record(run / "quantised.json", record)
    return record


def pinned(tiles: Tiles) -> Float32Array:
    """Return normalised tiles, and before them an all-black and an all-white one.

    Their extremes, -1 and 127/128, make the input's scale exactly 1/128 and its zero point 0,
    so that a pixel becomes an input by subtracting 128.
    """
    black = np.zeros((1, *tiles.pixels.shape[1:]), np.uint8)
    return normalise(np.concatenate([black, black + 255, tiles.pixels]))


def check_frame(contents: Contents) -> None:
    """Refuse a frame model that is not int8 throughout, or whose input is not `pixel - 128`.

    Raises
    ------
    ConversionError
        Naming what is wrong.
    """
    refuse_floats(contents)
    (face,) = contents.signature.inputs
    if (face.dtype, face.scale, face.zero_point) != ("int8", 1 / 128, 0):
        raise ConversionError(
            f"{contents.signature.file}: its input is {face.dtype} with scale {face.scale} and "
            f"zero point {face.zero_point}, not int8, 1/128 and 0; calibrate with a black and a "
            "white tile"
        )


def check_head(contents: Contents) -> None:
    """Refuse a head with real numbers, or whose state goes in and comes out differently.

    Raises
    ------
    ConversionError
        Naming what is wrong.
    """
    refuse_floats(contents)
    file = contents.signature
    (into,) = [tensor for tensor in file.inputs if tensor.role == "state"]
    (out,) = [tensor for tensor in file.outputs if tensor.role == "state"]
    ways = [(each.shape, each.dtype, each.scale, each.zero_point) for each in (into, out)]
    if ways[0] != ways[1]:
        raise ConversionError(
            f"{file.file}: the state goes in with scale {into.scale} and zero point "
            f"{into.zero_point} and comes out with {out.scale} and {out.zero_point}, so it would "
            "drift; calibrate the head on the states it gives itself"
        )


def refuse_floats(contents: Contents) -> None:
    """Refuse a file in which an operator was left in float, which the converter does silently.

    Raises
    ------
    ConversionError
        Naming the tensors.
    """
    if contents.float_tensors:
        raise ConversionError(
            f"{contents.signature.file}: not all integer, the converter left "
            f"{', '.join(contents.float_tensors[:3])} in float; "
            "replace the operators that make them"
        )


def isolated(command: Sequence[str], what: str, limit_s: float) -> None:
    """Run a command that may crash or hang.

    Raises
    ------
    ConversionError
        It died, failed, or took longer than `limit_s` seconds.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            command, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConversionError(
            f"{what}: the converter was still busy after {limit_s:g} s and was stopped; "
            "give it longer with --limit, or simplify the network"
        ) from None
    if done.returncode < 0:
        raise ConversionError(
            f"{what}: the converter crashed ({signal.Signals(-done.returncode).name}); "
            "look for an operator that TFLite does not have"
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ConversionError(f"{what}: the converter refuses it ({lines[-1].strip()})")


def _convert(
    network: Path, calibration: dict[str, Float32Array], precision: Precision, into: Path,
    limit_s: float,
) -> None:  # fmt: skip
    values = into / f"{network.stem}.npz"
    # numpy 2 would take an input named allow_pickle for its own.
    np.savez(values, **calibration)  # type: ignore[arg-type]
    result = into / f"{network.stem}.tflite"
    command = [sys.executable, "-m", "convert.converter", str(network), str(values), precision]
    isolated([*command, str(result)], str(network), limit_s)
