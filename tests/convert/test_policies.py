"""What counts as right: the labels, or what a crowd agrees on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from votes import with_votes

from convert import data, policies
from convert.data import LABELS
from convert.errors import DataError
from edge.errors import UsageError


@pytest.fixture
def voted(data_folder: Path, tmp_path: Path) -> Path:
    """Faces labelled angry, disgust, ... in turn, and votes of five kinds in turn."""
    for file in data_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return with_votes(
        tmp_path,
        [
            [0, 0, 0, 10, 0, 0, 0, 0, 0, 0],  # all say happy
            [0, 0, 0, 0, 4, 0, 6, 0, 0, 0],  # most say neutral
            [0, 0, 0, 0, 5, 0, 5, 0, 0, 0],  # undecided
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 9],  # not a face
            [3, 0, 0, 0, 2, 0, 0, 5, 0, 0],  # half name none of the seven
        ],
    )


def test_labels_alone_need_no_votes(data_folder: Path) -> None:
    taught = policies.load(data_folder, "labels", 0.0)
    assert (taught.targets == np.eye(7)[taught.faces.train.labels]).all()


@pytest.mark.parametrize(("policy", "votes"), [("labels", 0.5), ("consensus", 0.0)])
def test_votes_that_are_not_there_are_missed(data_folder: Path, policy: str, votes: float) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: no column votes_NF, .*--policy labels"):
        policies.load(data_folder, policy, votes)  # type: ignore[arg-type]


def test_a_count_that_is_no_number_is_named(voted: Path) -> None:
    file = voted / "labels.csv"
    file.write_text(file.read_text().replace(",10,", ",ten,", 1))
    with pytest.raises(DataError, match="a vote count is not a number"):
        policies.load(voted, "consensus", 1.0)


def test_consensus_leaves_out_what_most_cannot_name(voted: Path) -> None:
    taught = policies.load(voted, "consensus", 1.0)
    assert len(taught.faces.train) == len(taught.targets) == 140 * 4 // 5
    assert taught.targets[:4] == pytest.approx(
        np.array(
            [
                [0, 0, 0, 1, 0, 0, 0],
                [0, 0, 0, 0, 0.4, 0, 0.6],
                [0, 0, 0, 0, 0.5, 0, 0.5],
                [0.6, 0, 0, 0, 0.4, 0, 0],
            ]
        )
    )


def test_consensus_is_validated_where_more_than_half_agree(voted: Path) -> None:
    val = policies.load(voted, "consensus", 1.0).faces.val
    assert len(val) == 35 * 2 // 5
    assert val.labels.tolist() == [LABELS.index(name) for name in ("happy", "neutral")] * 7
    assert (val.pixels[1] == data.load(voted).val.pixels[1]).all()


def test_the_rest_of_a_target_is_what_most_say(voted: Path) -> None:
    taught = policies.load(voted, "consensus", 0.5)
    assert taught.targets[1].tolist() == pytest.approx([0, 0, 0, 0, 0.2, 0, 0.8])
    assert taught.faces.train.labels[1] == LABELS.index("neutral")


def test_votes_are_translated_into_labels() -> None:
    random = np.random.default_rng(0)
    votes = np.zeros((2000, 10), np.int64)
    kind = random.integers(2, size=2000)
    votes[np.arange(2000), np.where(kind, 3, 6)] = 10
    # Whoever looks neutral to the crowd is labelled sad three times in four.
    labels = np.where(kind, 3, np.where(random.random(2000) < 0.75, 4, 6))
    found = policies.translated(votes, labels)
    assert found.sum(axis=1) == pytest.approx(np.ones(2000), abs=1e-5)
    assert found[kind == 0][0, 4] == pytest.approx(0.75, abs=0.04)
    assert found[kind == 1][0, 3] > 0.98


def test_labels_keep_their_share_of_the_target(voted: Path) -> None:
    taught = policies.load(voted, "labels", 0.3)
    right = taught.targets[np.arange(140), taught.faces.train.labels]
    assert (right >= 0.7 - 1e-6).all()
    assert len(taught.faces.train) == 140


def test_shares_of_all_votes_are_there_where_asked_for(voted: Path) -> None:
    assert policies.load(voted, "labels", 0.3).crowd is None
    crowd = policies.load(voted, "labels", 0.0, crowd=True).crowd
    assert crowd is not None
    assert crowd.shape == (140, 10)
    assert crowd[3].tolist() == pytest.approx([0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0.9])
    kept = policies.load(voted, "consensus", 1.0, crowd=True).crowd
    assert kept is not None
    assert kept[3].tolist() == pytest.approx([0.3, 0, 0, 0, 0.2, 0, 0, 0.5, 0, 0])


def test_faces_that_nobody_voted_on_are_not_learned_from(data_folder: Path, tmp_path: Path) -> None:
    for file in data_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with_votes(tmp_path, [[0] * 10])
    with pytest.raises(DataError, match="no face whose votes agree"):
        policies.load(tmp_path, "consensus", 1.0)
    assert np.isfinite(policies.load(tmp_path, "labels", 0.5).targets).all()


def test_faces_come_with_the_labels_that_a_policy_holds_to_be_right(voted: Path) -> None:
    plain, agreed = policies.faces(voted, "labels"), policies.faces(voted, "consensus")
    assert (plain.policy, agreed.policy) == ("labels", "consensus")
    # Of val, those of which most votes name one label: happy or neutral.
    assert len(agreed.val) < len(plain.val)
    assert set(agreed.val.labels.tolist()) == {LABELS.index("happy"), LABELS.index("neutral")}


def test_votes_are_for_their_own_labels_alone(voted: Path) -> None:
    with pytest.raises(UsageError, match="measure it on labels"):
        policies.faces(voted, "consensus", ("a", "b"))
    with pytest.raises(UsageError, match="measure it on labels"):
        policies.faces(voted, "consensus", size=64)
    assert policies.faces(voted, "labels", size=64).val.pixels.shape[1:] == (64, 64)


@pytest.fixture
def published(data_folder: Path, tmp_path: Path) -> Path:
    for file in data_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return with_votes(
        tmp_path,
        [
            [0, 0, 0, 5, 1, 1, 1, 1, 1, 0],  # happy, once single votes are left out
            [0, 0, 0, 2, 0, 0, 0, 8, 0, 0],  # contempt
            [0, 0, 0, 2, 0, 0, 0, 0, 8, 0],  # most cannot tell
            [0, 0, 0, 5, 0, 0, 5, 0, 0, 0],  # no more than half
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],  # nothing but slips
        ],
    )


def test_the_published_protocol_has_an_eighth_label(published: Path) -> None:
    found = policies.by_majority(published, "val")
    assert found.labels.tolist() == [LABELS.index("happy"), policies.CONTEMPT] * 7
    assert (found.pixels == data.load(published).val.pixels[np.arange(35) % 5 < 2]).all()
    assert len(policies.by_majority(published, "all")) == 2 * (140 + 35) // 5


def test_the_published_protocol_needs_majorities(published: Path) -> None:
    file = published / "labels.csv"
    head, *rows = file.read_text().splitlines()
    nobody = [",".join([*row.split(",")[:-10], *"0" * 10]) for row in rows]
    file.write_text("\n".join([head, *nobody]) + "\n")
    with pytest.raises(DataError, match="take --policy labels"):
        policies.by_majority(published, "val")
