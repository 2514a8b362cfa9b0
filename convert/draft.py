"""A run folder as a bundle that has no golden vectors yet, so that `edge` can run it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from convert import interface, lineage, weights
from convert.data import data_name
from convert.errors import RunError
from convert.gates import ParityRecord
from convert.interface import Interface
from convert.run import Quantised, StreamReport, TrainingRecord, read_record, sha256_of
from convert.sources import SourceRecord
from edge.bundle import (
    Bundle,
    Calibration,
    DataFile,
    ModelFile,
    Provenance,
    StatePair,
    StreamManifest,
)

GOLDEN = "golden.npz"
RESET_AFTER_S = 1.0

_LICENCES = {
    "FER2013": "Apache-2.0 (code); weights trained on FER2013: for research and evaluation only",
    "own data": "Apache-2.0 (code); weights: as the owner of the training data says",
}
_LEARNED_FROM = "what holds for the weights it started or learned from"
_UNKNOWN_LICENCE = "as the owner of the source model says"
_TRAINED = {"frame": "train", "head": "train-head"}

_NOT_YET = Provenance(
    framework="", source_sha256={}, toolchain={}, training={}, licence="", origin="not packaged"
)

Origin = TrainingRecord | SourceRecord
"""How a network came to be: trained here, or read from elsewhere."""


class RunRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Every record of a run folder, read and held against its files."""

    interface: Interface
    frame: Origin
    head: Origin
    streams: StreamReport
    quantised: Quantised
    head_file: ModelFile
    parity: ParityRecord


def records(run: Path) -> RunRecords:
    """Read a run folder's records.

    Raises
    ------
    RunError
        One is missing or damaged, a network changed after it was quantised, or a file after
        it went through the parity gates.
    """
    quantised = read_record(run / "quantised.json", Quantised, made_by="quantise")
    if quantised.head is None:
        raise RunError(
            f"{run}: it has no head; train one with mien-convert train-head, or read one with "
            "mien-convert quantise HEAD, then quantise again"
        )
    found = RunRecords(
        interface=interface.read(run),
        frame=origin(run, "frame"),
        head=origin(run, "head"),
        streams=read_record(run / "streams.json", StreamReport, made_by="train-head"),
        quantised=quantised,
        head_file=quantised.head,
        parity=read_record(run / "parity.json", ParityRecord, made_by="quantise"),
    )
    for name, sha256 in found.quantised.source_sha256.items():
        if sha256_of(run / name) != sha256:
            raise RunError(f"{run / name}: changed since it was quantised; quantise it again")
    for stem, sha256 in found.parity.sha256.items():
        if sha256_of(run / f"{stem}.tflite") != sha256:
            raise RunError(
                f"{run / stem}.tflite: not the file that passed the parity gates; quantise again"
            )
    return found


def origin(run: Path, stem: str) -> Origin:
    """Read how a run folder's `frame` or `head` came to be.

    Raises
    ------
    RunError
        Nothing says so.
    """
    imported = run / f"{stem}-source.json"
    if imported.exists():
        return read_record(imported, SourceRecord, made_by="quantise SOURCE")
    return read_record(
        run / f"{stem}.json", TrainingRecord, made_by="train" if stem == "frame" else "train-head"
    )


def draft(
    run: Path,
    *,
    name: str = "draft",
    version: str = "0",
    created: str = "1970-01-01T00:00:00Z",
    calibration: Calibration | None = None,
) -> tuple[Bundle, StreamManifest]:
    """Return a run folder as a bundle; its golden vectors are named but not there.

    Without a `calibration` it never abstains, and has the temperature of its float networks.

    Raises
    ------
    RunError
        As `records`.
    """
    found = records(run)
    bundle, manifest = assembled(
        run, found.interface, found.quantised.frame, found.head_file,
        calibration or Calibration(temperature=found.streams.temperature, abstain_below=0.0),
    )  # fmt: skip
    manifest = msgspec.structs.replace(
        manifest, name=name, version=version, created=created, provenance=_provenance(found)
    )
    return Bundle(bundle.path, manifest, bundle.sha256), manifest


def assembled(
    folder: Path,
    taken: Interface,
    frame: ModelFile,
    head: ModelFile,
    calibration: Calibration = Calibration(temperature=1.0, abstain_below=0.0),  # noqa: B008  # frozen
) -> tuple[Bundle, StreamManifest]:
    """Return two files in a folder as a bundle of which nothing else is known yet."""
    into = [each for each in head.inputs if each.role == "state"]
    out = [each for each in head.outputs if each.role == "state"]
    manifest = StreamManifest(
        schema="mien-bundle/1",
        name="draft",
        version="0",
        created="1970-01-01T00:00:00Z",
        labels=taken.labels,
        input=taken.face_input(),
        frame=frame,
        head=head,
        golden=DataFile(file=GOLDEN, sha256="0" * 64),
        # Both sides come in the order of the states' names in the signature.
        states=tuple(
            StatePair(input=one.name, output=other.name)
            for one, other in zip(into, out, strict=True)
        ),
        step_hz=taken.step_hz,
        reset_after_s=RESET_AFTER_S,
        calibration=calibration,
        provenance=_NOT_YET,
    )
    return Bundle(folder, manifest, "0" * 64), manifest


def _inherited(record: TrainingRecord) -> set[str]:
    """Return the terms of the weights that a network started or learned from."""
    known = {each.sha256: _LICENCES[data_name(each.data_sha256)] for each in record.ancestors}
    terms = set(known.values())
    for sha256 in lineage.parents(record):
        if sha256 not in known:
            terms.add(_LICENCES["FER2013"] if weights.name_of(sha256) else _LEARNED_FROM)
    return terms


def _provenance(found: RunRecords) -> Provenance:
    made = found.quantised
    training: dict[str, str | int | float | bool] = {
        "head_precision": made.head_precision,
        "calibration": made.calibration,
        "finetune_epochs": made.finetune_epochs,
    }
    toolchain, sources = dict(made.toolchain), dict(made.source_sha256)
    frameworks, licences, steps = set(), set(), []
    for stem, record in (("frame", found.frame), ("head", found.head)):
        if isinstance(record, SourceRecord):
            sources |= {f"source/{name}": sha256 for name, sha256 in record.sha256.items()}
            frameworks.add(record.framework)
            licences.add(_UNKNOWN_LICENCE)
            steps.append(f"quantise {record.kind} source")
            continue
        training |= {f"{stem}_{name}": value for name, value in record.settings.items()}
        training |= {
            "data_sha256": record.data_sha256,
            f"{stem}_best_epoch": record.best_epoch,
            f"{stem}_seconds": round(record.seconds),
        }
        training |= {
            f"{stem}_ancestor_{number}": f"{each.sha256} {each.options}"
            for number, each in enumerate(record.ancestors, 1)
        }
        toolchain |= record.toolchain
        frameworks.add("keras")
        licences |= {_LICENCES[data_name(record.data_sha256)], *_inherited(record)}
        steps.append(_TRAINED[stem])
    return Provenance(
        framework=", ".join(sorted(frameworks)),
        source_sha256=sources,
        toolchain=toolchain,
        training=training,
        licence="; ".join(sorted(licences)),
        origin=f"mien-convert {', '.join(dict.fromkeys([*steps, 'quantise']))}, package",
    )
