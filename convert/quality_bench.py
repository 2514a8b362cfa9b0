"""How poor a look at a face may be before an answer is worth less than none.

Tiles are spoilt one way after another, more and more, far beyond what `convert.robustness` asks of
a network, and the frame model answers them as the device would: calibrated, and not where it is
unsure. Each look is measured as `edge.quality` measures it. How far a head is turned cannot be
spoilt into a tile; there the faces are as they were photographed, found by the device's detector
and cut out by its crop.

A limit is drawn where the abstain rule draws one (`convert.calibration`): beyond it the answers
that the network still gives are wrong at least as often as right. Of all limits on a measure it is
the one with the most right less wrong answers among the looks that pass; there is none where every
look is better answered. On this side of it doubt is left to the confidence.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from convert import corruptions, framing, metrics
from convert.answers import frame_logits
from convert.data import Labels, Tiles, spread
from convert.measure import DataFacts
from edge.bundle import StreamManifest
from edge.crop import crop
from edge.datatypes import UInt8Array
from edge.imaging import sharpness
from edge.networks import StreamNetworks, softmax
from edge.quality import Quality, assess, flaws
from edge.settings import Limits

Measure = Literal["side_pixels", "sharpness", "light", "contrast", "yaw_degrees"]
Sense = Literal["least", "most"]

_GAMMA = 2.2
_WHITE = 255.0


def brightened(tile: UInt8Array, stops: float) -> UInt8Array:
    """Add light to a tile, uint8 [side, side]; what is lighter than white is lost."""
    return np.asarray(np.clip(np.rint(tile * 2 ** (stops / _GAMMA)), 0, _WHITE), dtype=np.uint8)


def washed_out(tile: UInt8Array, share: float) -> UInt8Array:
    """Leave a share of a tile's contrast, as fog or a dirty lens does."""
    mean = float(tile.mean())
    return np.asarray(np.rint(mean + share * (tile - mean)), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way to spoil tiles, and the measure that should notice it."""

    name: str
    apply: Callable[[UInt8Array, float], UInt8Array]
    amounts: tuple[float, ...]
    unit: str
    measure: Measure
    sense: Sense


WAYS = (
    Way("small", corruptions.small, (0.75, 0.5, 0.375, 0.25, 0.1875, 0.125),
        "through {:g} of the side", "side_pixels", "least"),
    Way("blur", corruptions.blurred, (0.02, 0.03, 0.045, 0.06, 0.08, 0.1, 0.13),
        "sigma {:g} of the side", "sharpness", "least"),
    Way("dark", corruptions.darkened, (1.5, 3, 4.5, 6, 7.5, 9), "{:g} EV less", "light", "least"),
    Way("bright", brightened, (0.75, 1.5, 2.25, 3, 4, 5), "{:g} EV more", "light", "most"),
    Way("flat", washed_out, (0.5, 0.25, 0.125, 0.06, 0.03), "{:g} of the contrast", "contrast",
        "least"),
    Way("backlight", corruptions.backlit, (1, 2, 3, 4, 5), "{:g} EV of shadow", "light", "least"),
)  # fmt: skip

TURNS = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 90.0)
"""Degrees between which faces that look aside are told apart."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Looks that are equally spoilt.

    Attributes
    ----------
    says
        What was done to them.
    looks
        How many there are.
    value
        The median of the measure.
    accuracy
        Share of all whose likeliest label is right.
    answered
        Share that is not `unsure`.
    right
        Share of the answered that is right; 0 where none is.
    refused
        Share that the device's own limits refuse, for whatever reason.
    """

    says: str
    looks: int
    value: float
    accuracy: float
    answered: float
    right: float
    refused: float


class Spoilt(msgspec.Struct, frozen=True, kw_only=True):
    """One way, more and more; `limit` is on `measure`, None where no look is better unanswered."""

    name: str
    measure: Measure
    sense: Sense
    steps: tuple[Step, ...]
    limit: float | None


class QualityBench(msgspec.Struct, frozen=True, kw_only=True):
    """What poor looks do to a bundle's frame model.

    `temperature` is the frame model's own, fitted on the tiles as they are; `allowed` are the
    device's default limits.
    """

    schema: Literal["mien-quality/1"] = "mien-quality/1"
    bundle: str
    files: dict[str, str]
    data: DataFacts
    tiles: int
    temperature: float
    abstain_below: float
    allowed: Limits
    spoilt: tuple[Spoilt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Looks that are equally spoilt: tiles, uint8 [n, side, side], labels and measures, [n]."""

    says: str
    tiles: UInt8Array
    labels: Labels
    measured: tuple[Quality, ...]


def bench(
    networks: StreamNetworks,
    manifest: StreamManifest,
    tiles: Tiles,
    facts: DataFacts,
    *,
    files: dict[str, str],
    at_most: int,
) -> QualityBench:
    """Spoil tiles, and find where answers are worth less than none.

    Parameters
    ----------
    networks, manifest
        The bundle.
    tiles, facts
        The faces, and what they are.
    files
        The sha256 of each file of the bundle.
    at_most
        How many tiles are shown, spread evenly.
    """
    tiles = spread(tiles, at_most)
    temperature = metrics.fit_temperature(frame_logits(networks, tiles.pixels), tiles.labels)
    abstain = manifest.calibration.abstain_below
    found = []
    ways: list[tuple[str, Measure, Sense, Iterator[Looks]]] = [
        *((way.name, way.measure, way.sense, looks_of(way, tiles)) for way in WAYS),
        ("turned", "yaw_degrees", "most", turned(tiles, manifest)),
    ]
    for name, measure, sense, some in tqdm(ways, "ways", file=sys.stderr, delay=2):
        answers = [answered(networks, each, temperature, abstain) for each in some]
        found.append(spoilt(name, measure, sense, answers))
    return QualityBench(
        bundle=manifest.name,
        files=files,
        data=facts,
        tiles=len(tiles),
        temperature=temperature,
        abstain_below=abstain,
        allowed=Limits(),
        spoilt=tuple(found),
    )


def looks_of(way: Way, tiles: Tiles) -> Iterator[Looks]:
    """Yield tiles as they are, then spoilt more and more; one copy is held at a time."""
    side = tiles.pixels.shape[1]
    for amount in (None, *way.amounts):
        pixels, pixels_wide = tiles.pixels, float(side)
        if amount is not None:
            pixels = np.stack([way.apply(tile, amount) for tile in tiles.pixels])
            if way.measure == "side_pixels":
                pixels_wide = float(max(1, round(amount * side)))
        says = "as they are" if amount is None else way.unit.format(amount)
        measured = tuple(
            Quality(pixels_wide, sharpness(tile), float(tile.mean()), float(tile.std()), 0.0, 0.0)
            for tile in pixels
        )
        yield Looks(says, pixels, tiles.labels, measured)


def turned(tiles: Tiles, manifest: StreamManifest) -> Iterator[Looks]:
    """Yield the faces that the device's detector finds, by how far they look aside."""
    detector, wanted = framing.short_range_detector(), manifest.input
    found, cut, measured = [], [], []
    for index, tile in enumerate(tiles.pixels):
        picture = framing.enlarged(tile)
        face = framing.find(picture, detector)
        if face is None:
            continue
        height, width = picture.shape
        cut.append(crop(picture, face.keypoints, wanted.crop, wanted.size))
        measured.append(
            assess(
                cut[-1],
                face.keypoints,
                width=width,
                height=height,
                face_length=wanted.crop.face_length,
            )
        )
        found.append(index)
    aside = np.array([abs(each.yaw_degrees) for each in measured])
    for low, high in itertools.pairwise(TURNS):
        some = np.flatnonzero((aside >= low) & (aside < high))
        if len(some):
            yield Looks(
                f"{low:g} to {high:g} degrees aside",
                np.stack([cut[index] for index in some]),
                tiles.labels[np.array(found)[some]],
                tuple(measured[index] for index in some),
            )


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What became of looks: whether each was answered, and whether rightly, bool [n] both."""

    looks: Looks
    sure: npt.NDArray[np.bool_]
    right: npt.NDArray[np.bool_]


def answered(
    networks: StreamNetworks, looks: Looks, temperature: float, abstain_below: float
) -> Answered:
    """Show looks to the frame model."""
    shares = softmax(frame_logits(networks, looks.tiles), temperature)
    return Answered(
        looks, shares.max(axis=1) >= abstain_below, shares.argmax(axis=1) == looks.labels
    )


def spoilt(name: str, measure: Measure, sense: Sense, answers: list[Answered]) -> Spoilt:
    """Lay one way out, and draw the limit on its measure."""
    values = [
        np.array([abs(getattr(one, measure)) for one in each.looks.measured]) for each in answers
    ]
    sure = np.concatenate([each.sure for each in answers])
    return Spoilt(
        name=name,
        measure=measure,
        sense=sense,
        steps=tuple(step(each, some) for each, some in zip(answers, values, strict=True)),
        limit=limit(
            np.concatenate(values)[sure],
            np.concatenate([each.right for each in answers])[sure],
            sense,
        ),
    )


def step(each: Answered, values: npt.NDArray[np.float64]) -> Step:
    """Return the figures of looks that are equally spoilt."""
    refused = [bool(flaws(one, Limits())) for one in each.looks.measured]
    return Step(
        says=each.looks.says,
        looks=len(values),
        value=float(np.median(values)),
        accuracy=float(each.right.mean()),
        answered=float(each.sure.mean()),
        right=float(each.right[each.sure].mean()) if each.sure.any() else 0.0,
        refused=float(np.mean(refused)),
    )


def limit(
    values: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], sense: Sense
) -> float | None:
    """Return the limit with the most right less wrong answers among the looks that pass.

    Parameters
    ----------
    values, right
        The measure of each answered look, and whether its answer is right, [n].
    sense
        Whether looks with the `least` values are the poor ones, or those with the `most`.

    Returns
    -------
    float or None
        The poorest value that passes; None where all looks may.

    Examples
    --------
    >>> import numpy as np
    >>> limit(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True]), "least")
    3.0
    >>> limit(np.array([1.0, 2, 3, 4]), np.array([True, True, True, False]), "most")
    3.0
    >>> limit(np.array([1.0, 2]), np.array([True, True]), "least") is None
    True
    """
    if not len(values):
        return None
    best_first = np.argsort(-values if sense == "least" else values, kind="stable")
    ordered = values[best_first]
    worth = np.cumsum(np.where(right[best_first], 1, -1))
    # Looks with the same value pass or fail together.
    last = np.append(ordered[1:] != ordered[:-1], True)
    candidates = np.flatnonzero(last)
    chosen = candidates[worth[candidates].argmax()]
    return None if chosen == len(ordered) - 1 else float(ordered[chosen])
