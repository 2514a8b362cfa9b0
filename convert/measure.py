"""How well a model answers a data set: everything that `mien-convert evaluate` knows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from convert import metrics
from convert.answers import on_streams
from convert.data import Data, Part, Tiles, data_name
from convert.errors import ConversionError
from convert.metrics import Published, Scores
from convert.run import Evaluation, StreamReport, ThroughCrop
from convert.streams import STEP_HZ
from convert.subjects import Subject
from edge.bundle import StreamManifest
from edge.datatypes import Float32Array


class DataFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was measured on; `counts` are the pictures of each label."""

    name: str
    sha256: str
    split: Part
    counts: dict[str, int]

    @property
    def n(self) -> int:
        """How many pictures there are."""
        return sum(self.counts.values())


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured of a model.

    Attributes
    ----------
    model
        What it is called: not where it lies, for a report is made to be shown.
    kind, files, facts
        See `convert.subjects.Subject`.
    labels
        In the order of the answers.
    data
        What it was measured on.
    scores
        Of the frame model, tile by tile, by the numbers it computes with. The last is what a
        device would run, where there is such a one.
    streams
        Of a bundle, on composed streams.
    through_crop
        Of a run folder, if that was asked.
    published
        By the protocol of published results on FER+, where consensus is what counts.
    notes
        What a reader must know to read the figures rightly, in sentences.
    """

    schema: Literal["mien-evaluation/1"] = "mien-evaluation/1"
    model: str
    kind: str
    files: dict[str, str]
    facts: dict[str, str]
    labels: tuple[str, ...]
    data: DataFacts
    scores: dict[str, Scores]
    streams: StreamReport | None = None
    through_crop: ThroughCrop | None = None
    published: Published | None = None
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> Scores:
        """The scores that tables and plots show in full."""
        return list(self.scores.values())[-1]


def measure(
    subject: Subject,
    model: str,
    faces: Data,
    name: str,
    part: Part,
    *,
    by_majority: Tiles | None = None,
) -> Measurement:
    """Measure a model.

    Parameters
    ----------
    subject, model
        The model, and as it was named.
    faces, name
        The data set, brought to the model's labels and tiles, and what to call it.
    part
        Which split of it, or both.
    by_majority
        What `policies.by_majority` gives, to be measured besides.

    Raises
    ------
    ConversionError
        The model answers with what is no number.
    """
    tiles = part_of(faces, part)
    scores = subject.answer(tiles.pixels)
    wrong = ~np.isfinite(scores).all(axis=1)
    if wrong.any():
        raise ConversionError(
            f"{model}: its answer to picture {int(wrong.argmax())} of {part} has a NaN or infinity "
            "in it; convert it again, or train it again"
        )
    notes = [*subject.notes, *seen(subject, faces, part)]
    shares = probabilities(scores)
    if shares is None:
        measured = metrics.score(scores, tiles.labels, names=subject.labels)
        if scores.min() >= 0 and scores.max() <= 1:
            notes.append(
                "Its scores lie between 0 and 1 and do not sum to 1; they were read as logits, so "
                "that confidence, squared error and calibration say little."
            )
    else:
        measured = metrics.score_probabilities(shares, tiles.labels, subject.labels)
        notes.append("It gives probabilities itself; they were taken as they are.")
    streams = None
    if subject.networks is not None:
        missing = _no_streams(subject.networks[1], tiles)
        if missing is None:
            shipped = subject.networks[1].calibration.temperature
            streams = on_streams(*subject.networks, tiles, temperature=shipped)
        else:
            notes.append(missing)
    return Measurement(
        model=Path(model).name if Path(model).exists() else model,
        kind=subject.kind,
        files=subject.files,
        facts=subject.facts,
        labels=subject.labels,
        data=facts_of(faces, name, part),
        scores={subject.form: measured},
        streams=streams,
        published=(
            None
            if by_majority is None
            else metrics.published(subject.answer(by_majority.pixels), by_majority.labels)
        ),
        notes=tuple(notes),
    )


def of_run(run: Path, evaluation: Evaluation, faces: Data, name: str) -> Measurement:
    """Return what was measured on a run folder in the same form."""
    return Measurement(
        model=run.resolve().name,
        kind="a run folder",
        files={
            "frame.tflite": evaluation.frame_sha256,
            "head.tflite": evaluation.head_sha256,
        },
        facts={},
        labels=faces.names,
        data=facts_of(faces, name, "val"),
        scores={"float": evaluation.floating, "int8": evaluation.quantised},
        streams=evaluation.streams,
        through_crop=evaluation.through_crop,
        published=evaluation.published,
        notes=(_CHOSEN,),
    )


def part_of(faces: Data, part: Part) -> Tiles:
    """Return a split of a data set, or both splits as one."""
    if part != "all":
        return faces.split(part)
    return Tiles(
        np.concatenate([faces.train.pixels, faces.val.pixels]),
        np.concatenate([faces.train.labels, faces.val.labels]),
    )


def facts_of(faces: Data, name: str, part: Part) -> DataFacts:
    """Return what a reader should know of the data that was measured on."""
    counts = np.bincount(part_of(faces, part).labels, minlength=len(faces.names)).tolist()
    known = data_name(faces.labels_sha256)
    called = known if known == "FER2013" else name
    return DataFacts(
        name=called if faces.policy == "labels" else f"{called}, {faces.policy}",
        sha256=faces.labels_sha256,
        split=part,
        counts=dict(zip(faces.names, counts, strict=True)),
    )


def probabilities(scores: Float32Array) -> Float32Array | None:
    """Return scores, [n, labels], as probabilities if that is what they are, or else None.

    They are where none is below zero and every row sums to one, as far as eight bits can say it;
    their sums are then made exact.

    Examples
    --------
    >>> import numpy as np
    >>> probabilities(np.array([[0.5, 0.25, 0.25]], np.float32)).tolist()
    [[0.5, 0.25, 0.25]]
    >>> probabilities(np.array([[3.0, -1.0, 0.5]], np.float32)) is None
    True
    """
    sums = scores.sum(axis=1, keepdims=True)
    # Each score may be off by half a step, which is 1/256 where eight bits hold 0 to 1.
    slack = 1e-3 + scores.shape[1] / 512
    if scores.min() < 0 or np.abs(sums - 1).max() > slack:
        return None
    return np.asarray(scores / sums, dtype=np.float32)


_CHOSEN = "This split chose the best epoch in training, so that the figures lean to the kind side."


def _no_streams(manifest: StreamManifest, tiles: Tiles) -> str | None:
    """Return why no streams are composed, or None where they are."""
    if manifest.step_hz != STEP_HZ:
        return (
            f"Its head steps at {manifest.step_hz:g} Hz and composed streams at {STEP_HZ:g}: the "
            "head was not measured."
        )
    if len(np.unique(tiles.labels)) == 1:
        return "All pictures have one label, and streams need two: the head was not measured."
    return None


def seen(subject: Subject, faces: Data, part: Part) -> list[str]:
    """Return what it means that a model has met the data before, where it has."""
    if subject.trained_on != faces.labels_sha256:
        return []
    if part == "val":
        return [_CHOSEN]
    return ["The model was trained on these very pictures; the figures say nothing about others."]
