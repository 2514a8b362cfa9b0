"""A run folder becomes a bundle: the folder that a device loads."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from convert import card, doubt_plot, edgetpu, folder, golden, inspect, report
from convert.data import data_name
from convert.draft import GOLDEN, draft, records
from convert.errors import RunError
from convert.evaluate import evaluation_of
from convert.gates import ParityRecord
from convert.run import Doubt, Evaluation
from edge import bundle, goldens
from edge.bundle import (
    MANIFEST,
    Calibration,
    CalibrationMeasured,
    Metrics,
    Parity,
    StreamManifest,
)
from edge.errors import BundleError, UsageError
from edge.networks import StreamNetworks
from edge.signature import SIGNATURE, PublicKey, read_private_key

CARD = "MODEL_CARD.md"


def package(
    run: Path,
    out: Path,
    *,
    name: str,
    version: str,
    abstain_below: float | None = None,
    sign: Path | None = None,
) -> StreamManifest:
    """Write a bundle; the same run folder, key and `SOURCE_DATE_EPOCH` give the same bytes.

    Parameters
    ----------
    run
        A run folder after `evaluate`.
    out
        The bundle's folder; a bundle that is there already is replaced.
    name, version
        What events will call it.
    abstain_below
        The confidence below which the answer is `unsure`; None for what `calibration.threshold`
        chose.
    sign
        The Ed25519 private key in PEM to sign the bundle with; without one, it is not signed.

    Raises
    ------
    RunError
        The run folder lacks something, or `out` holds something that is no bundle.
    UsageError
        The name is not one a bundle may have, SOURCE_DATE_EPOCH is no time, or `sign` no key.
    BundleError
        What was written does not load.
    """
    key = None if sign is None else read_private_key(sign)
    if out.exists() and not (out / MANIFEST).is_file():
        raise RunError(f"{out}: exists and is not a bundle; choose another --out")
    found, evaluation = records(run), evaluation_of(run)
    doubt = doubt_of(run, evaluation)
    source, manifest = draft(
        run,
        name=name,
        version=version,
        created=created(),
        calibration=calibration_of(doubt, abstain_below),
    )
    vectors = golden.make(StreamNetworks(source, manifest), manifest)
    archive = golden.to_bytes(vectors)
    manifest = msgspec.structs.replace(
        manifest,
        golden=bundle.DataFile(file=GOLDEN, sha256=hashlib.sha256(archive).hexdigest()),
        metrics=metrics_of(evaluation),
        parity=parity_of(found.parity),
        edgetpu=edgetpu.manifest_entry(inspect.read(run / manifest.frame.file)),
    )
    text = manifest_text(manifest)
    try:
        bundle.parse_manifest(text, source=MANIFEST)
    except BundleError as exc:
        raise UsageError(f"--name {name} --version {version}: {exc}") from exc
    files = {
        MANIFEST: text,
        GOLDEN: archive,
        CARD: card.text(manifest, found, evaluation, doubt, vectors).encode(),
        **doubt_plot.files(doubt),
        **{entry.file: source.read(entry) for entry in (manifest.frame, manifest.head)},
    }
    if key is not None:
        files[SIGNATURE] = key.sign(text)
    write_folder(out, files, key=key.public if key else None)
    return manifest


def doubt_of(run: Path, evaluation: Evaluation) -> Doubt:
    """Return what an evaluation says of the run's doubt.

    Raises
    ------
    RunError
        It was made by an older Mien, which did not measure it.
    """
    if evaluation.streams.doubt is None:
        raise RunError(f"{run}: evaluated before doubt was measured; evaluate it again")
    return evaluation.streams.doubt


def calibration_of(doubt: Doubt, abstain_below: float | None) -> Calibration:
    """Return the temperature and the threshold that ship, and what they are founded on."""
    head = doubt.head
    return Calibration(
        temperature=head.temperature,
        abstain_below=doubt.abstain_below if abstain_below is None else abstain_below,
        measured=CalibrationMeasured(
            folds=doubt.folds,
            streams=doubt.streams,
            steps=doubt.steps,
            ece_before=rounded(head.ece_before),
            ece_fitted=rounded(head.ece_fitted),
            ece=rounded(head.ece),
            ece_interval=(rounded(head.ece_interval[0]), rounded(head.ece_interval[1])),
            curve=tuple(
                (low, rounded(answered), rounded(right))
                for low, answered, right in doubt.curve[:: report.CURVE_STEP]
            ),
        ),
    )


def created() -> str:
    """Return the time of packaging, RFC 3339; reproducible builds set SOURCE_DATE_EPOCH."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = None if epoch is None else int(epoch)
        now = dt.datetime.now(dt.timezone.utc)
        when = now if seconds is None else dt.datetime.fromtimestamp(seconds, now.tzinfo)
    except (ValueError, OverflowError, OSError) as exc:
        raise UsageError(f"SOURCE_DATE_EPOCH={epoch}: not seconds since 1970") from exc
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def metrics_of(evaluation: Evaluation) -> Metrics:
    """Return an evaluation as the manifest keeps it."""
    scores = evaluation.quantised
    return Metrics(
        data=data_name(evaluation.data_sha256)
        + ("" if evaluation.policy == "labels" else f", {evaluation.policy}"),
        split=evaluation.split,
        n=scores.n,
        float_accuracy=rounded(evaluation.floating.accuracy),
        int8_accuracy=rounded(scores.accuracy),
        int8_accuracy_interval=(
            rounded(scores.accuracy_interval[0]),
            rounded(scores.accuracy_interval[1]),
        ),
        macro_f1=rounded(scores.macro_f1),
        ece=rounded(scores.ece),
        per_class_recall={label: rounded(value) for label, value in scores.recall.items()},
    )


def parity_of(record: ParityRecord) -> Parity:
    """Return what the gates measured as the manifest keeps it."""
    return Parity(
        split=record.split,
        gates={each.name: rounded(each.value) for each in record.gates},
        mean_logit_difference=rounded(record.figures["mean_logit_difference"]),
        max_logit_difference=rounded(record.figures["max_logit_difference"]),
        kl_divergence=float(f"{record.figures['kl_divergence']:.3g}"),
        allowed={each.name: each.bar for each in record.gates if each.allowed},
    )


def rounded(share: float) -> float:
    """Return a share to four places: more than the data can tell."""
    return round(share, 4)


def manifest_text(manifest: StreamManifest) -> bytes:
    """Return a manifest as indented JSON, leaving out what is not known."""
    known = _without_none(msgspec.to_builtins(manifest))
    return msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n"


def write_folder(out: Path, files: dict[str, bytes], *, key: PublicKey | None = None) -> None:
    """Write a bundle beside its place, load it, try its golden vectors, then rename.

    Parameters
    ----------
    out
        The bundle's folder.
    files
        The content of each file, by its name.
    key
        Whose signature it carries, if it is signed.

    Raises
    ------
    RunError
        The folder cannot be written, or the golden vectors fail.
    BundleError
        It does not load.
    """

    def check(written: Path) -> None:
        loaded, manifest = bundle.load_stream(str(written), key=key)
        networks = StreamNetworks(loaded, manifest)
        result = goldens.check(networks, goldens.read(loaded, manifest))
        if not result.passed:
            raise RunError(f"{out}: its own golden vectors fail ({result}); package it again")

    folder.write(out, files, check=check)


def _without_none(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_without_none(each) for each in value]
    return value
