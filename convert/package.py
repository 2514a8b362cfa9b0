"""A run folder becomes a bundle: the folder that a device loads."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from convert import card, edgetpu, golden, inspect
from convert.data import data_name
from convert.draft import GOLDEN, draft, records
from convert.errors import RunError
from convert.evaluate import evaluation_of
from convert.run import Evaluation
from edge import bundle, goldens
from edge.bundle import MANIFEST, Metrics, StreamManifest
from edge.errors import BundleError, UsageError
from edge.networks import StreamNetworks

CARD = "MODEL_CARD.md"


def package(
    run: Path, out: Path, *, name: str, version: str, abstain_below: float
) -> StreamManifest:
    """Write a bundle; the same run folder and `SOURCE_DATE_EPOCH` give the same bytes.

    Parameters
    ----------
    run
        A run folder after `evaluate`.
    out
        The bundle's folder; a bundle that is there already is replaced.
    name, version
        What events will call it.
    abstain_below
        The confidence below which the answer is `unsure`.

    Raises
    ------
    RunError
        The run folder lacks something, or `out` holds something that is no bundle.
    UsageError
        The name is not one a bundle may have, or SOURCE_DATE_EPOCH is no time.
    BundleError
        What was written does not load.
    """
    if out.exists() and not (out / MANIFEST).is_file():
        raise RunError(f"{out}: exists and is not a bundle; choose another --out")
    evaluation = evaluation_of(run)
    source, manifest = draft(
        run, name=name, version=version, created=created(), abstain_below=abstain_below
    )
    vectors = golden.make(StreamNetworks(source, manifest), manifest)
    archive = golden.to_bytes(vectors)
    manifest = msgspec.structs.replace(
        manifest,
        golden=bundle.DataFile(file=GOLDEN, sha256=hashlib.sha256(archive).hexdigest()),
        metrics=metrics_of(evaluation),
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
        CARD: card.text(manifest, records(run), evaluation, vectors).encode(),
        **{entry.file: source.read(entry) for entry in (manifest.frame, manifest.head)},
    }
    write_folder(out, files)
    return manifest


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
        data=data_name(evaluation.data_sha256),
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


def rounded(share: float) -> float:
    """Return a share to four places: more than the data can tell."""
    return round(share, 4)


def manifest_text(manifest: StreamManifest) -> bytes:
    """Return a manifest as indented JSON, leaving out what is not known."""
    known = _without_none(msgspec.to_builtins(manifest))
    return msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n"


def write_folder(out: Path, files: dict[str, bytes]) -> None:
    """Write a bundle beside its place, load it, try its golden vectors, then rename.

    Raises
    ------
    RunError
        The folder cannot be written, or the golden vectors fail.
    BundleError
        It does not load.
    """
    beside = out.with_name(f".{out.name}.partial")
    old = out.with_name(f".{out.name}.old")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, data in files.items():
            (beside / name).write_bytes(data)
        loaded, manifest = bundle.load_stream(str(beside.absolute()))
        networks = StreamNetworks(loaded, manifest)
        result = goldens.check(networks, goldens.read(loaded, manifest))
        if not result.passed:
            raise RunError(f"{out}: its own golden vectors fail ({result}); package it again")
        # A folder cannot replace one that has files: the old bundle steps aside.
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        try:
            beside.rename(out)
        except OSError:
            old.rename(out)
            raise
    except OSError as exc:
        raise RunError(f"{out}: cannot write it ({exc.strerror}); choose another --out") from exc
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _without_none(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_without_none(each) for each in value]
    return value
