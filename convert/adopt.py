"""A model trained elsewhere takes its place in a run folder, and says there what it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec

from convert import interface
from convert.data import LABELS
from convert.errors import RunError
from convert.interface import Interface
from convert.run import read_record, record_bytes, write_together
from convert.sources import Source, SourceRecord
from convert.train import load_network
from edge.bundle import CropSpec
from edge.errors import UsageError

WHITE = 255
SIDES = (8, 512)
"""Of the tiles that a manifest can state; see `edge.bundle.FaceInput`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What no file of weights says and a person has to; None where nothing was said.

    Attributes
    ----------
    labels : tuple of str
        In the order of the logits.
    mean, std : float
        How the network's pixels were normalised, in 0..255.
    crop : CropSpec
        How its faces were framed.
    step_hz : float
        How often a head steps.
    """

    labels: tuple[str, ...] | None = None
    mean: float | None = None
    std: float | None = None
    crop: CropSpec | None = None
    step_hz: float | None = None


def taken_by(run: Path, source: Source, told: Told) -> Interface:
    """Return what a source's networks take and give, without writing anything.

    Raises
    ------
    UsageError
        Something has to be told, or contradicts the source.
    RunError
        The folder holds networks that these would not fit.
    """
    if source.frame is None:
        return _head_for(run, source, told)
    return _frame_for(run, source, told)


def adopt(run: Path, source: Source, taken: Interface) -> None:
    """Put a source's networks into a run folder, with a record of where they come from.

    Raises
    ------
    RunError
        The folder cannot be written.
    """
    # Saving it again would change the file's sha256, and with it orphan what was made of it.
    networks = {} if _has_already(run, source) else source.files()
    write_together(run, {**networks, interface.FILE: record_bytes(taken)})


def parse_crop(text: str) -> CropSpec:
    """Return `0.58,0.534` as the framing of a face; see `edge.crop`.

    Raises
    ------
    UsageError
        It is written otherwise, or no face is framed so.
    """
    try:
        line, length = (float(part) for part in text.split(","))
    except ValueError:
        line = length = math.nan
    if not (0 < line < 1 and 0 < length < math.inf):
        raise UsageError(
            f"--crop {text}: write CENTRE_LINE,FACE_LENGTH as mien-convert framing measures them, "
            "like 0.58,0.534"
        )
    return CropSpec(centre_line=line, face_length=length)


def _frame_for(run: Path, source: Source, told: Told) -> Interface:
    if (run / "frame.json").exists():
        raise RunError(f"{run}: holds a frame model that was trained there; choose another --run")
    if (run / "head.keras").exists() and not _has_already(run, source):
        raise RunError(f"{run}: holds a head for another frame model; choose another --run")
    least, most = SIDES
    if not least <= source.size <= most:
        raise UsageError(
            f"its picture is {source.size} pixels a side, and the device cuts faces of {least} to "
            f"{most}; build it for that"
        )
    mean, std = _normalisation(source, told)
    taken = Interface(
        labels=_labels(source.frame.outputs[1].shape[1], told.labels),
        size=source.size,
        mean=mean,
        std=std,
    )
    return msgspec.structs.replace(taken, **_said(told))


def _head_for(run: Path, source: Source, told: Told) -> Interface:
    if (told.labels, told.mean, told.std, told.crop) != (None,) * 4:
        raise UsageError(
            "--labels, --mean, --std and --crop are for a frame model, and this is a head; leave "
            "them out"
        )
    if (run / "head.json").exists():
        raise RunError(f"{run}: holds a head that was trained there; choose another --run")
    frame = load_network(run / "frame.keras")
    given, wanted = (
        (network.outputs[1 if network is frame else 0].shape[1], width)
        for network, width in (
            (frame, frame.outputs[0].shape[1]), (source.head, source.head.inputs[0].shape[1]),
        )
    )  # fmt: skip
    if given != wanted:
        raise UsageError(
            f"the head takes an embedding of {wanted[1]} and gives {wanted[0]} logits, the frame "
            f"model in {run} has {given[1]} and {given[0]}; give a head trained for it"
        )
    return msgspec.structs.replace(interface.read(run), **_said(told))


def _said(told: Told) -> dict[str, CropSpec | float]:
    """Return what was told of the things that have a usual value."""
    said = {"crop": told.crop, "step_hz": told.step_hz}
    return {name: value for name, value in said.items() if value is not None}


def _labels(count: int, told: tuple[str, ...] | None) -> tuple[str, ...]:
    labels = LABELS if told is None else told
    if len(labels) != count:
        raise UsageError(
            f"the network gives {count} logits, and {len(labels)} labels are named "
            f"({', '.join(labels)}); name all in their order with --labels A,B,C"
        )
    return labels


def _normalisation(source: Source, told: Told) -> tuple[float, float]:
    if source.normalisation is not None:
        if (told.mean, told.std) not in ((None, None), source.normalisation):
            raise UsageError(
                "the network scales its pixels itself (mean {:g}, std {:g}); leave --mean and "
                "--std out".format(*source.normalisation)
            )
        mean, std = source.normalisation
    elif told.mean is None or told.std is None:
        raise UsageError(
            "the network does not say how its pixels were scaled; give --mean M --std S, where it "
            "saw (pixel - M) / S of pixels in 0..255: 0 and 255 for 0..1, 127.5 and 127.5 for -1..1"
        )
    else:
        mean, std = told.mean, told.std
    # Eight bits hold `pixel - mean`, with the mean a whole number, only as long as these hold.
    whole = math.floor(mean + 0.5) if math.isfinite(mean) else mean
    if not (0 <= whole <= WHITE and 0 < std < math.inf):
        raise UsageError(
            f"its pixels are scaled by a mean of {mean:g} and a std of {std:g}; the device takes a "
            "mean of 0 to 255 and a std above 0, in units of a pixel: build it for such pixels"
        )
    return mean, std


def _has_already(run: Path, source: Source) -> bool:
    """Return whether the run folder's networks were read from the same files."""
    stems = [stem for stem in ("frame", "head") if getattr(source, stem) is not None]
    record = source.record()
    return all(
        (run / f"{stem}.keras").exists()
        and (run / f"{stem}-source.json").exists()
        and read_record(run / f"{stem}-source.json", SourceRecord, made_by="quantise SOURCE")
        == record
        for stem in stems
    )
