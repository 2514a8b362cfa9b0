"""What counts as right: the labels of a data set, or what a crowd agrees on.

The two label sets of FER2013 disagree on a third of the faces, so that no network can answer both.

`labels`
    The data set's own labels, with which published figures are measured. Votes, where they are
    used, are first translated: which labels do faces with such votes bear? Untranslated they
    teach that hardly any face is disgusted or afraid.
`consensus`
    The votes that ten people gave each face (Barsoum et al., "Training Deep Networks for Facial
    Expression Recognition with Crowd-Sourced Label Distribution", 2016, section 3.2.3,
    cross-entropy). Faces of which most votes name none of the model's labels are left out; `val`
    is the faces of which more than half of the votes name one of them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert import data
from convert.data import LABELS, Data, Labels, Part, Tiles
from convert.errors import DataError
from convert.layouts.sheets import LABELS_FILE
from convert.recipe import Policy
from edge.datatypes import Float32Array
from edge.errors import UsageError

VOTES = {
    "angry": "votes_anger", "disgust": "votes_disgust", "fear": "votes_fear",
    "happy": "votes_happiness", "sad": "votes_sadness", "surprise": "votes_surprise",
    "neutral": "votes_neutral",
}  # fmt: skip
"""The column of `labels.csv` that counts the votes for a label."""

OTHERS = ("votes_contempt", "votes_unknown", "votes_NF")
"""Votes for no label of the model: contempt, cannot tell, not a face."""

CONTEMPT = len(LABELS)
"""The column of `read_votes` with the votes for contempt, and the label it is in `by_majority`."""

_ROUNDS = 400
_STEP = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """Faces and what is to be answered to them.

    Attributes
    ----------
    faces : Data
        With the labels that the policy holds to be right.
    targets : float32 array, [train, labels]
        What `train` is taught, each row of sum 1.
    crowd : float32 array, [train, kinds of votes], or None
        The shares of all its votes, in the order of `read_votes`; None where not asked for.
    """

    faces: Data
    targets: Float32Array
    crowd: Float32Array | None = None


def faces(
    path: Path, policy: Policy, names: tuple[str, ...] = LABELS, size: int = data.TILE
) -> Data:
    """Read a data set with the labels that a policy holds to be right.

    Parameters
    ----------
    path, names, size
        As for `data.load`.
    policy
        What counts as right.

    Raises
    ------
    DataError
        As `load`.
    UsageError
        Votes are for the seven labels and the size they were given on, and others are asked for.
    """
    if policy == "labels":
        return data.load(path, names=names, size=size)
    if (names, size) != (LABELS, data.TILE):
        raise UsageError(
            f"--policy {policy}: votes are for {', '.join(LABELS)} on {data.TILE}x{data.TILE} "
            "tiles, which is not what this model knows; measure it on labels"
        )
    return load(path, policy, 1.0).faces


def load(path: Path, policy: Policy, votes: float, *, crowd: bool = False) -> Taught:
    """Read a data set, of any layout where no votes are asked for.

    Parameters
    ----------
    path
        As for `data.load`.
    policy
        What counts as right.
    votes
        Share of the targets that comes from votes, 0 to 1; the rest is the right label alone.
    crowd
        Whether the votes are wanted besides.

    Raises
    ------
    DataError
        As `data.load`, or votes are asked for and `labels.csv` has none.
    """
    faces = data.load(path)
    if policy == "labels" and not votes and not crowd:
        return Taught(faces, one_hot(faces.train.labels))
    counts = read_votes(path)
    train, val = counts["train"], counts["val"]
    shares = (train / np.maximum(train.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    if policy == "labels":
        targets = blended(faces.train.labels, translated(train, faces.train.labels), votes)
        return Taught(faces, targets, shares if crowd else None)
    named = len(LABELS)
    for_labels = train[:, :named].sum(axis=1)
    kept = np.flatnonzero((for_labels > 0) & (2 * for_labels >= train.sum(axis=1)))
    agreed = np.flatnonzero(2 * val[:, :named].max(axis=1) > val.sum(axis=1))
    if not kept.size or not agreed.size:
        raise DataError(f"{path / LABELS_FILE}: no face whose votes agree; train on its labels")
    among = train[kept, :named] / for_labels[kept, None]
    chosen = train[kept, :named].argmax(axis=1)
    relabelled = Data(
        Tiles(faces.train.pixels[kept], chosen),
        Tiles(faces.val.pixels[agreed], val[agreed, :named].argmax(axis=1)),
        faces.labels_sha256,
        faces.names,
        policy,
    )
    targets = blended(chosen, among.astype(np.float32), votes)
    return Taught(relabelled, targets, shares[kept] if crowd else None)


def by_majority(path: Path, part: Part) -> Tiles:
    """Read the faces on which results on FER+ are published, with the majority's label.

    The majority protocol of Barsoum et al., by the rules of the program they published with the
    votes: of each face's ten kinds of votes single ones are taken for slips and left out; faces of
    which more than half of the rest name one of eight expressions bear that one. The eighth is
    `CONTEMPT`, which no model of this project can answer: it counts as an error.

    Parameters
    ----------
    path
        A folder with votes.
    part
        Which split of it, or both.

    Raises
    ------
    DataError
        As `load`, or no face has a majority.
    """
    faces, counts = data.load(path), read_votes(path)
    kept, agreed = [], []
    for split in ("train", "val") if part == "all" else (part,):
        votes = np.where(counts[split] > 1, counts[split], 0)
        majority = votes.argmax(axis=1)
        named = (2 * votes.max(axis=1) > votes.sum(axis=1)) & (majority <= CONTEMPT)
        kept.append(faces.split(split).pixels[named])
        agreed.append(majority[named])
    pixels, labels = np.concatenate(kept), np.concatenate(agreed)
    if not labels.size:
        raise DataError(f"{path / LABELS_FILE}: no face whose votes agree; take --policy labels")
    return Tiles(pixels, labels)


def one_hot(labels: Labels) -> Float32Array:
    """Return targets that are the label alone, [n, labels]."""
    return np.eye(len(LABELS), dtype=np.float32)[labels]


def blended(labels: Labels, crowd: Float32Array, votes: float) -> Float32Array:
    """Return `votes` of the crowd's distribution, [n, labels], and the rest of the label alone."""
    return np.asarray((1 - votes) * one_hot(labels) + votes * crowd, dtype=np.float32)


def read_votes(folder: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Read the vote counts of the rows that `data.load` keeps, split by split.

    Returns
    -------
    dict of int64 arrays, [n, labels + others]
        By split; columns in the order of `VOTES`, then of `OTHERS`.

    Raises
    ------
    DataError
        There is no `labels.csv` with those columns, or a count is no number.
    """
    file = folder / LABELS_FILE
    columns = (*(VOTES[label] for label in LABELS), *OTHERS)
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = csv.DictReader(opened)
            missing = set(columns) - set(rows.fieldnames or ())
            if missing:
                raise DataError(
                    f"{file}: no column {', '.join(sorted(missing))}; votes need them: train with "
                    "--policy labels and without --votes, or add them"
                )
            kept = [row for row in rows if row["label"].casefold() in LABELS]
            counts = {
                split: [
                    [int(row[name]) for name in columns] for row in kept if row["split"] == split
                ]
                for split in ("train", "val")
            }
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise DataError(f"{file}: {reason}; votes are columns of it") from exc
    except (ValueError, TypeError) as exc:
        raise DataError(f"{file}: a vote count is not a number ({exc}); copy it again") from exc
    return {split: np.array(each, np.int64) for split, each in counts.items()}


def translated(votes: npt.NDArray[np.int64], labels: Labels) -> Float32Array:
    """Return which labels faces with such votes bear, float32 [n, labels] of sum 1.

    Multinomial logistic regression of the labels on the shares of the votes and their roots, by
    gradient descent with Nesterov's momentum: Bishop, "Pattern Recognition and Machine Learning",
    2006, equations 4.104 and 4.109.
    """
    shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    known = np.concatenate([shares, np.sqrt(shares), np.ones((len(votes), 1))], axis=1)
    right = one_hot(labels).astype(np.float64)
    weights = np.zeros((known.shape[1], right.shape[1]))
    speed = np.zeros_like(weights)
    for _ in range(_ROUNDS):
        ahead = _softmax(known @ (weights + 0.9 * speed))
        speed = 0.9 * speed - _STEP * known.T @ (ahead - right) / len(votes)
        weights += speed
    return _softmax(known @ weights).astype(np.float32)


def _softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
