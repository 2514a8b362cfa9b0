"""A run folder as a bundle that has no golden vectors yet, so that `edge` can run it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import msgspec

from convert.data import LABELS, MEAN, STD, TILE, data_name
from convert.errors import RunError
from convert.framing import CROP
from convert.quantise import Quantised
from convert.run import StreamReport, TrainingRecord, read_record, sha256_of
from convert.streams import STEP_HZ
from edge.bundle import (
    Bundle,
    Calibration,
    DataFile,
    FaceInput,
    Provenance,
    StatePair,
    StreamManifest,
)

GOLDEN = "golden.npz"
ABSTAIN_BELOW = 0.4
"""On streams of `val` about a quarter of the steps stay unanswered, and those answered are right
six to nine points more often than all are (`mien-convert train-head`, `evaluate`)."""

RESET_AFTER_S = 1.0

_LICENCES = {
    "FER2013": "Apache-2.0 (code); weights trained on FER2013: for research and evaluation only",
    "own data": "Apache-2.0 (code); weights: as the owner of the training data says",
}


class RunRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Every record of a run folder, read and held against its files."""

    frame: TrainingRecord
    head: TrainingRecord
    streams: StreamReport
    quantised: Quantised


def records(run: Path) -> RunRecords:
    """Read a run folder's records.

    Raises
    ------
    RunError
        One is missing or damaged, or a network was trained again after it was quantised.
    """
    found = RunRecords(
        frame=read_record(run / "frame.json", TrainingRecord, made_by="train"),
        head=read_record(run / "head.json", TrainingRecord, made_by="train-head"),
        streams=read_record(run / "streams.json", StreamReport, made_by="train-head"),
        quantised=read_record(run / "quantised.json", Quantised, made_by="quantise"),
    )
    for name, sha256 in found.quantised.source_sha256.items():
        if sha256_of(run / name) != sha256:
            raise RunError(f"{run / name}: changed since it was quantised; quantise it again")
    return found


def draft(
    run: Path,
    *,
    name: str = "draft",
    version: str = "0",
    created: str = "1970-01-01T00:00:00Z",
    abstain_below: float = ABSTAIN_BELOW,
) -> tuple[Bundle, StreamManifest]:
    """Return a run folder as a bundle; its golden vectors are named but not there.

    Raises
    ------
    RunError
        As `records`.
    """
    found = records(run)
    frame, head = found.quantised.frame, found.quantised.head
    into = next(each for each in head.inputs if each.role == "state")
    out = next(each for each in head.outputs if each.role == "state")
    manifest = StreamManifest(
        schema="mien-bundle/1",
        name=name,
        version=version,
        created=created,
        labels=LABELS,
        input=FaceInput(size=TILE, colour="luma", mean=MEAN, std=STD, crop=CROP),
        frame=frame,
        head=head,
        golden=DataFile(file=GOLDEN, sha256="0" * 64),
        states=(StatePair(input=into.name, output=out.name),),
        step_hz=STEP_HZ,
        reset_after_s=RESET_AFTER_S,
        calibration=Calibration(temperature=found.streams.temperature, abstain_below=abstain_below),
        provenance=_provenance(found),
    )
    return Bundle(run, manifest, "0" * 64), manifest


def _provenance(found: RunRecords) -> Provenance:
    settings = {
        f"{stem}_{name}": value
        for stem, record in (("frame", found.frame), ("head", found.head))
        for name, value in record.settings.items()
    }
    return Provenance(
        framework="keras",
        source_sha256=found.quantised.source_sha256,
        toolchain={
            **found.frame.toolchain,
            "ai-edge-litert": importlib.metadata.version("ai-edge-litert"),
        },
        training={
            **settings,
            "data_sha256": found.frame.data_sha256,
            "frame_best_epoch": found.frame.best_epoch,
            "frame_seconds": round(found.frame.seconds),
            "head_best_epoch": found.head.best_epoch,
            "head_seconds": round(found.head.seconds),
            "head_precision": found.quantised.head_precision,
        },
        licence=_LICENCES[data_name(found.frame.data_sha256)],
        origin="mien-convert train, train-head, quantise, package",
    )
