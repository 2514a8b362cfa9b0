"""How well models do on faces that are spoilt, and which does better, face by face.

All models are shown the same spoilt faces: they are spoilt at one size, and only then brought to
the size that a model takes. Answers are those of the frame model to one picture; no head.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from convert import measure, metrics
from convert.corruptions import CORRUPTIONS, STRENGTHS
from convert.data import Data, Labels, Part, Tiles, spread
from convert.errors import ConversionError, DataError
from convert.layouts.tiles import fit
from convert.measure import DataFacts
from convert.metrics import Interval
from convert.subjects import Subject
from edge.datatypes import UInt8Array
from edge.errors import UsageError

_AT_ONCE = 128
"""Tiles a model is shown at a time: so few that its own progress bar has no time to appear."""
_Z = 1.959964

Right = npt.NDArray[np.bool_]
"""Which of the tiles were answered rightly, [n]."""


@dataclass(frozen=True, slots=True, eq=False)
class Entrant:
    """A model, and what its column is called."""

    name: str
    subject: Subject


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share of right answers, and its 95 % interval."""

    accuracy: float
    interval: Interval


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the first model's share exceeds another's on the same tiles.

    Attributes
    ----------
    difference, interval
        Of the shares; the interval is of 95 %, paired.
    only_first, only_other
        Tiles that only one of the two answers rightly; None for a mean.
    """

    difference: float
    interval: Interval
    only_first: int | None = None
    only_other: int | None = None

    @property
    def verdict(self) -> Literal["better", "worse", "undecided"]:
        """What the interval says of the first model."""
        low, high = self.interval
        return "better" if low > 0 else "worse" if high < 0 else "undecided"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One condition.

    Attributes
    ----------
    corruption, strength
        `clean` has a strength of 0, as has `mean`, over all corruptions and strengths.
    says
        What it does, in words.
    shares
        By the names of the models.
    against
        The first model against each other, by the others' names.
    """

    corruption: str
    strength: int
    says: str
    shares: dict[str, Share]
    against: dict[str, Difference]

    @property
    def name(self) -> str:
        """Return what tables call it."""
        return f"{self.corruption} {self.strength}" if self.strength else self.corruption


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is; see `convert.subjects.Subject`."""

    name: str
    kind: str
    form: str
    files: dict[str, str]
    facts: dict[str, str]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


class Robustness(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured.

    Attributes
    ----------
    data
        The tiles that were shown, of the labels that every model knows.
    size
        The side at which they were spoilt, in pixels.
    models
        The first is compared with the others.
    rows
        `clean`, then each corruption with its three strengths.
    mean
        Over all rows but `clean`.
    notes
        What a reader must know besides, in sentences.
    """

    schema: Literal["mien-robustness/1"] = "mien-robustness/1"
    data: DataFacts
    size: int
    models: tuple[ModelFacts, ...]
    rows: tuple[Row, ...]
    mean: Row
    notes: tuple[str, ...] = ()


def common_labels(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """Return the labels that all models know, in the order and spelling of the first.

    Raises
    ------
    UsageError
        Two models have one name, or there are fewer than two such labels.
    """
    names = [each.name for each in entrants]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two models are called {name}; call one otherwise: 'MODEL?name=NAME'")
    known = [{label.casefold() for label in each.subject.labels} for each in entrants]
    common = set.intersection(*known)
    if len(common) < 2:  # noqa: PLR2004  # with one label there is nothing to tell apart
        said = "; ".join(f"{each.name}: {','.join(each.subject.labels)}" for each in entrants)
        raise UsageError(
            f"the models have not two labels in common ({said}); name a model's labels alike: "
            "'MODEL?labels=A,B,…'"
        )
    return tuple(label for label in entrants[0].subject.labels if label.casefold() in common)


def compare(
    entrants: Sequence[Entrant], faces: Data, name: str, part: Part, at_most: int | None = None
) -> Robustness:
    """Show every model every face, clean and spoilt.

    Parameters
    ----------
    entrants
        The models; the first is compared with the others.
    faces, name
        The data set, with the labels of the first model, and what to call it.
    part
        Which split of it, or both.
    at_most
        How many tiles are shown, spread evenly; None for all.

    Raises
    ------
    UsageError
        See `common_labels`.
    DataError
        No face has a label that all models know.
    ConversionError
        A model answers with what is no number.
    """
    labels = common_labels(entrants)
    tiles = _of_labels(measure.part_of(faces, part), faces.names, labels)
    if not len(tiles):
        raise DataError(f"no picture of {part} has a label that all models know; add some")
    tiles = tiles if at_most is None else spread(tiles, at_most)
    conditions = [("clean", 0, "as they are")] + [
        (each.name, strength, each.says(strength)) for each in CORRUPTIONS for strength in STRENGTHS
    ]
    answered = _answered(entrants, tiles, labels)
    rows = tuple(
        _row(entrants, right, corruption, strength, says)
        for right, (corruption, strength, says) in zip(answered, conditions, strict=True)
    )
    counts = np.bincount(tiles.labels, minlength=len(labels)).tolist()
    shown = measure.facts_of(faces, name, part)
    return Robustness(
        data=msgspec.structs.replace(shown, counts=dict(zip(labels, counts, strict=True))),
        size=tiles.pixels.shape[1],
        models=tuple(_facts(each, faces, part) for each in entrants),
        rows=rows,
        mean=_mean(entrants, answered[1:]),
        notes=_left_out(entrants, labels),
    )


def spoilt(pixels: UInt8Array) -> Iterator[UInt8Array]:
    """Return tiles, uint8 [n, side, side], as they are, then each way spoilt, in `compare`'s order.

    One copy of them is held at a time.
    """
    yield pixels
    for corruption in CORRUPTIONS:
        for strength in STRENGTHS:
            yield np.stack([corruption(tile, strength) for tile in pixels])


def _answered(
    entrants: Sequence[Entrant], tiles: Tiles, labels: tuple[str, ...]
) -> list[dict[str, Right]]:
    """Return which answers are right, for each condition and by the names of the models."""
    total = len(tiles) * len(entrants) * (1 + len(CORRUPTIONS) * len(STRENGTHS))
    found = []
    with tqdm(total=total, unit=" faces", file=sys.stderr, delay=1) as bar:
        for pixels in spoilt(tiles.pixels):
            right = {}
            for each in entrants:
                bar.set_description(each.name, refresh=False)
                answers = [
                    _answers(each, pixels[start : start + _AT_ONCE], labels, bar)
                    for start in range(0, len(pixels), _AT_ONCE)
                ]
                right[each.name] = np.concatenate(answers) == tiles.labels
            found.append(right)
    return found


def _answers(each: Entrant, pixels: UInt8Array, labels: tuple[str, ...], bar: tqdm) -> Labels:
    """Return a model's answers as indices into the common labels; -1 for a label of its own."""
    scores = each.subject.answer(np.stack([fit(tile, each.subject.size) for tile in pixels]))
    if not np.isfinite(scores).all():
        raise ConversionError(
            f"{each.name}: one of its answers has a NaN or infinity in it; convert it again, or "
            "train it again"
        )
    bar.update(len(pixels))
    places = {label.casefold(): index for index, label in enumerate(labels)}
    own = np.array([places.get(label.casefold(), -1) for label in each.subject.labels], np.int64)
    return np.asarray(own[scores.argmax(axis=1)])


def _of_labels(tiles: Tiles, names: tuple[str, ...], labels: tuple[str, ...]) -> Tiles:
    """Return the tiles that have some of the labels, which then count from zero."""
    places = np.array([labels.index(name) if name in labels else -1 for name in names], np.int64)
    found = places[tiles.labels]
    chosen = np.flatnonzero(found >= 0)
    return Tiles(tiles.pixels[chosen], found[chosen])


def _row(
    entrants: Sequence[Entrant], right: dict[str, Right], corruption: str, strength: int, says: str
) -> Row:
    first, *others = (each.name for each in entrants)
    shares = {
        name: Share(
            accuracy=float(each.mean()), interval=metrics.wilson(int(each.sum()), len(each))
        )
        for name, each in right.items()
    }
    against = {}
    for other in others:
        middle, error = metrics.matched(right[first], right[other])
        against[other] = Difference(
            difference=shares[first].accuracy - shares[other].accuracy,
            interval=(middle - _Z * error, middle + _Z * error),
            only_first=int((right[first] & ~right[other]).sum()),
            only_other=int((~right[first] & right[other]).sum()),
        )
    return Row(corruption=corruption, strength=strength, says=says, shares=shares, against=against)


def _mean(entrants: Sequence[Entrant], answered: Sequence[dict[str, Right]]) -> Row:
    """Average over conditions; what chance adds is a matter of faces, which all of them share."""
    first, *others = (each.name for each in entrants)
    each_face = {
        name: np.mean([right[name] for right in answered], axis=0) for name in (first, *others)
    }
    shares = {}
    for name, share in each_face.items():
        mean, interval = _normal(share)
        shares[name] = Share(accuracy=mean, interval=interval)
    against = {}
    for other in others:
        mean, interval = _normal(each_face[first] - each_face[other])
        against[other] = Difference(difference=mean, interval=interval)
    says = f"over the {len(answered)} rows above"
    return Row(corruption="mean", strength=0, says=says, shares=shares, against=against)


def _normal(values: metrics.Float64Array) -> tuple[float, Interval]:
    """Return a mean and its 95 % interval by the central limit theorem."""
    mean, error = float(values.mean()), float(values.std()) / np.sqrt(len(values))
    return mean, (mean - _Z * float(error), mean + _Z * float(error))


def _facts(each: Entrant, faces: Data, part: Part) -> ModelFacts:
    subject = each.subject
    return ModelFacts(
        name=each.name,
        kind=subject.kind,
        form=subject.form,
        files=subject.files,
        facts=subject.facts,
        labels=subject.labels,
        notes=(*subject.notes, *measure.seen(subject, faces, part)),
    )


def _left_out(entrants: Sequence[Entrant], labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return what it means that models know other labels, where they do."""
    known = {label.casefold() for label in labels}
    all_labels = {label.casefold() for each in entrants for label in each.subject.labels}
    own = ", ".join(sorted(all_labels - known))
    said = (
        f"Not every model knows {own}: faces with such a label were left out, and such an answer "
        "counts as wrong."
    )
    return (said,) if own else ()
