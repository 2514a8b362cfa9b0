"""Models on spoilt faces: what is right is counted, compared face by face, and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from convert import robustness, robustness_report
from convert.corruptions import CORRUPTIONS
from convert.data import Data, Tiles
from convert.errors import ConversionError, DataError, RunError
from convert.robustness import Difference, Entrant, Robustness
from convert.subjects import Subject
from edge.errors import UsageError

NAMES = ("dark", "light")


def shades(count: int = 40) -> Tiles:
    """Tiles of one shade each, dark and light in turn."""
    labels = np.arange(count) % 2
    pixels = (60 + 130 * labels)[:, None, None] * np.ones((1, 16, 16))
    return Tiles(pixels.astype(np.uint8), labels)


def data_of(tiles: Tiles, names: tuple[str, ...] = NAMES) -> Data:
    return Data(tiles, tiles, "a" * 64, names)


def entrant(
    name: str,
    decide: Callable[[np.ndarray], np.ndarray],
    *,
    labels: tuple[str, ...] = NAMES,
    size: int = 16,
    trained_on: str | None = None,
) -> Entrant:
    """A model that decides from tiles, [n, size, size], on an index of its labels, [n]."""

    def answer(pixels: np.ndarray) -> np.ndarray:
        assert pixels.shape[1:] == (size, size)
        assert pixels.dtype == np.uint8
        return np.eye(len(labels), dtype=np.float32)[decide(pixels)]

    subject = Subject(
        kind="a rule", form="float32", files={"it": "f" * 64}, labels=labels, size=size,
        facts={"tile": "16 x 16"}, answer=answer, trained_on=trained_on,
    )  # fmt: skip
    return Entrant(name, subject)


def bright(pixels: np.ndarray) -> np.ndarray:
    return (pixels.mean(axis=(1, 2)) > 125).astype(int)


def corner(pixels: np.ndarray) -> np.ndarray:
    return (pixels[:, 0, 0] > 125).astype(int)


def always(index: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.full(len(pixels), index)


def compare(*entrants: Entrant, tiles: Tiles | None = None) -> Robustness:
    return robustness.compare(entrants, data_of(tiles or shades()), "shades", "val")


@pytest.fixture(scope="module")
def found() -> Robustness:
    return compare(entrant("mean", bright), entrant("corner", corner), entrant("none", always(0)))


def row(found: Robustness, name: str) -> robustness.Row:
    return next(each for each in found.rows if each.name == name)


def test_there_is_a_row_for_clean_faces_and_for_each_strength_of_each_corruption(
    found: Robustness,
) -> None:
    names = [f"{each.name} {strength}" for each in CORRUPTIONS for strength in (1, 2, 3)]
    assert [each.name for each in found.rows] == ["clean", *names]
    assert found.mean.name == "mean"
    assert found.size == 16


def test_accuracy_is_the_share_of_right_answers(found: Robustness) -> None:
    clean = row(found, "clean").shares
    assert clean["mean"].accuracy == clean["corner"].accuracy == 1
    assert clean["none"].accuracy == 0.5
    assert clean["none"].interval[0] < 0.5 < clean["none"].interval[1]
    # Dark enough, all shades are dark.
    assert row(found, "dark 3").shares["mean"].accuracy == 0.5


def test_differences_are_between_the_first_model_and_each_other_on_the_same_faces(
    found: Robustness,
) -> None:
    clean = row(found, "clean").against
    assert list(clean) == ["corner", "none"]
    assert (clean["none"].difference, clean["none"].verdict) == (0.5, "better")
    assert (clean["none"].only_first, clean["none"].only_other) == (20, 0)
    assert (clean["corner"].difference, clean["corner"].verdict) == (0, "undecided")
    # The corner of a backlit face is a window.
    assert row(found, "backlight 3").shares["corner"].accuracy == 0.5


def test_the_worse_model_is_told_too() -> None:
    turned_round = compare(entrant("none", always(0)), entrant("mean", bright))
    assert row(turned_round, "clean").against["mean"].verdict == "worse"


def test_an_interval_that_holds_zero_decides_nothing() -> None:
    assert Difference(difference=0.1, interval=(-0.1, 0.3)).verdict == "undecided"
    assert Difference(difference=0.1, interval=(0.05, 0.15)).verdict == "better"
    assert Difference(difference=-0.1, interval=(-0.15, -0.05)).verdict == "worse"


def test_the_mean_is_over_all_spoilt_rows_and_counts_each_face_once(found: Robustness) -> None:
    for name in ("mean", "corner", "none"):
        shares = [each.shares[name].accuracy for each in found.rows[1:]]
        assert found.mean.shares[name].accuracy == pytest.approx(np.mean(shares))
    # A model whose answers do not depend on the corruption has no more faces for it.
    low, high = found.mean.shares["none"].interval
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(40), rel=0.01)


def test_every_model_sees_the_same_spoilt_face_at_its_own_size() -> None:
    seen: dict[str, list[np.ndarray]] = {"as it is": [], "larger": []}

    def watch(name: str) -> Callable[[np.ndarray], np.ndarray]:
        def decide(pixels: np.ndarray) -> np.ndarray:
            seen[name].append(pixels)
            return bright(pixels)

        return decide

    compare(entrant("as it is", watch("as it is")), entrant("larger", watch("larger"), size=32))
    for small, large in zip(seen["as it is"], seen["larger"], strict=True):
        assert large.mean() == pytest.approx(small.mean(), abs=3)


def test_labels_may_stand_in_another_order_and_in_other_capitals() -> None:
    other = entrant("other", lambda pixels: 1 - bright(pixels), labels=("LIGHT", "Dark"))
    found = compare(entrant("mean", bright), other)
    assert row(found, "clean").shares["other"].accuracy == 1
    assert not found.notes


def test_faces_of_labels_that_not_every_model_knows_are_left_out() -> None:
    tiles = shades()
    tiles.labels[:] = [2 if index % 4 == 0 else label for index, label in enumerate(tiles.labels)]
    names = ("dark", "light", "grey")
    first = entrant("three", always(2), labels=names)
    found = robustness.compare(
        [first, entrant("two", bright)], data_of(tiles, names), "shades", "val"
    )
    assert found.data.counts == {"dark": 10, "light": 20}
    assert row(found, "clean").shares["three"].accuracy == 0
    assert row(found, "clean").shares["two"].accuracy == 1
    assert "Not every model knows grey" in found.notes[0]


def test_faces_can_be_fewer_spread_evenly() -> None:
    found = robustness.compare(
        [entrant("mean", bright)], data_of(shades(41)), "shades", "train", at_most=11
    )
    assert found.data.n == 11


@pytest.mark.parametrize(
    ("entrants", "said"),
    [
        ([entrant("it", bright), entrant("it", corner)], "two models are called it; .*name=NAME"),
        ([entrant("a", bright), entrant("b", bright, labels=("dark", "x"))], "not two labels in c"),
    ],
)
def test_models_that_cannot_be_compared_are_refused(entrants: list[Entrant], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compare(*entrants)


def test_an_answer_that_is_no_number_names_the_model() -> None:
    broken = entrant("broken", bright)
    subject = Subject(
        **{name: getattr(broken.subject, name) for name in Subject.__dataclass_fields__}
        | {"answer": lambda pixels: np.full((len(pixels), 2), np.nan, np.float32)}
    )
    with pytest.raises(ConversionError, match="broken: one of its answers has a NaN"):
        compare(Entrant("broken", subject))


def test_no_face_of_a_common_label_is_said() -> None:
    tiles = Tiles(shades().pixels, np.full(40, 2))
    names = ("dark", "light", "grey")
    pair = [entrant("three", always(2), labels=names), entrant("two", bright)]
    with pytest.raises(DataError, match="no picture of val has a label"):
        robustness.compare(pair, data_of(tiles, names), "shades", "val")


def test_it_is_told_that_a_model_has_seen_the_faces() -> None:
    found = compare(entrant("mean", bright, trained_on="a" * 64))
    assert "chose the best epoch" in found.models[0].notes[0]


# What is told


def test_tables_tell_each_share_who_wins_and_what_costs_most(found: Robustness) -> None:
    said = robustness_report.tables(found)
    assert "shades, val: 40 faces, spoilt at 16 x 16" in said
    assert "| clean: as they are" in said
    assert "100.0 % (91.2 to 100.0) |" in said
    assert "| mean minus" in said
    assert ") mean |" in said
    assert "mean against none: over all spoilt faces better (" in said
    assert "- better in " in said
    assert "- undecided in " in said
    assert "What costs most at strength 2" in said


def test_one_model_is_compared_with_none() -> None:
    said = robustness_report.tables(compare(entrant("mean", bright)))
    assert "| mean: over the 27 rows above" in said
    assert " minus" not in said


def test_record_figure_and_page_are_written_and_alike_each_time(
    found: Robustness, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        robustness_report.write(found, tmp_path / folder)
    names = ["robustness.json", "robustness.md", "robustness.png"]
    assert sorted(file.name for file in (tmp_path / "one").iterdir()) == names
    for name in names:
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert one == two
    record = json.loads((tmp_path / "one" / "robustness.json").read_text())
    assert msgspec.convert(record, Robustness) == found
    page = (tmp_path / "one" / "robustness.md").read_text()
    assert "](robustness.png)" in page
    assert "- `corner`: a rule; float32; tile: 16 x 16\n  - `it` ffff" in page
    assert robustness_report.tables(found) in page


def test_a_figure_is_drawn_of_one_model_and_of_more_than_there_are_colours(tmp_path: Path) -> None:
    for count in (1, 7):
        models = [entrant(f"model {index}", bright) for index in range(count)]
        robustness_report.write(compare(*models), tmp_path / str(count))
        assert (tmp_path / str(count) / "robustness.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_is_named(found: Robustness, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match=r"file/.*cannot write it"):
        robustness_report.write(found, tmp_path / "file" / "below")
