"""What is measured of a model, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from two_labels import NAMES, SIDE, frame_file, write_archive

from convert import answers, data, measure, subjects
from convert.data import Data
from convert.errors import ConversionError
from convert.measure import Measurement
from convert.subjects import Given, Subject

Answer = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def faces(tmp_path: Path) -> Data:
    return data.load(write_archive(tmp_path / "data.npz"), names=NAMES, size=SIDE)


def subject(answer: Answer, trained_on: str | None = None) -> Subject:
    return Subject(
        kind="a function", form="float64", files={}, labels=NAMES, size=SIDE, facts={},
        answer=answer, trained_on=trained_on,
    )  # fmt: skip


def logits(tiles: np.ndarray) -> np.ndarray:
    light = (tiles[:, 0, 0].astype(np.float32) - 128) / 16
    return np.stack([-light, light], axis=1)


def shares(tiles: np.ndarray) -> np.ndarray:
    light = (tiles[:, :1, 0] / 255).astype(np.float32)
    return np.hstack([1 - light, light])


def measured(answer: Answer, faces: Data, part: data.Part = "val") -> Measurement:
    return measure.measure(subject(answer), "it", faces, "shades", part)


@pytest.mark.parametrize(("part", "n"), [("val", 4), ("train", 12), ("all", 16)])
def test_a_split_is_measured_or_both(faces: Data, part: measure.Part, n: int) -> None:
    found = measured(logits, faces, part)
    assert found.main.n == found.data.n == n
    assert found.main.accuracy == 1
    assert found.data.split == part
    assert found.data.counts == {"dark": n // 2, "light": n // 2}
    assert found.data.sha256 == faces.labels_sha256
    assert found.data.name == "shades"


def test_probabilities_are_not_softened_again(faces: Data) -> None:
    found = measured(shares, faces)
    tiles = faces.val
    wrong = 1 - shares(tiles.pixels)[np.arange(4), tiles.labels]
    assert found.main.brier == pytest.approx((2 * wrong**2).mean(), abs=1e-6)
    assert "It gives probabilities itself" in found.notes[0]


def test_eight_bits_of_probability_are_known_for_what_they_are() -> None:
    random = np.random.default_rng(0)
    exact = random.dirichlet(np.ones(7), 1000)
    stored = (np.rint(exact * 256) / 256).astype(np.float32)
    found = measure.probabilities(stored)
    assert found is not None
    assert found.sum(axis=1) == pytest.approx(1)
    assert np.abs(found - exact).max() < 0.02


@pytest.mark.parametrize(
    "scores", [[[0.5, -0.1, 0.6]], [[0.9, 0.9, 0.9]], [[1.0, 0, 0], [3.0, 1, 2]]]
)
def test_other_scores_are_no_probabilities(scores: list[list[float]]) -> None:
    assert measure.probabilities(np.array(scores, np.float32)) is None


def test_scores_like_those_of_a_sigmoid_are_remarked_upon(faces: Data) -> None:
    found = measured(lambda tiles: shares(tiles) * 0.5, faces)
    assert "do not sum to 1; they were read as logits" in found.notes[0]


def test_an_answer_that_is_no_number_is_refused(faces: Data) -> None:
    def broken(tiles: np.ndarray) -> np.ndarray:
        scores = logits(tiles)
        scores[2, 0] = np.nan
        return scores

    with pytest.raises(ConversionError, match=r"it: its answer to picture 2 of val has a NaN"):
        measured(broken, faces)


@pytest.mark.parametrize(
    ("part", "said"),
    [("val", "chose the best epoch"), ("train", "very pictures"), ("all", "very pictures")],
)
def test_what_a_model_was_trained_on_is_remarked_upon(
    faces: Data, part: measure.Part, said: str
) -> None:
    met = subject(logits, trained_on=faces.labels_sha256)
    assert said in " ".join(measure.measure(met, "it", faces, "shades", part).notes)
    other = subject(logits, trained_on="0" * 64)
    assert measure.measure(other, "it", faces, "shades", part).notes == ()


def test_a_report_tells_no_folder(tmp_path: Path, faces: Data) -> None:
    file = tmp_path / "it.tflite"
    file.write_bytes(frame_file())
    opened = subjects.open_model(str(file), Given(labels=NAMES))
    assert measure.measure(opened, str(file), faces, "shades", "val").model == "it.tflite"


def test_a_file_that_ends_in_softmax_gives_probabilities(tmp_path: Path, faces: Data) -> None:
    found = {}
    for dtype in ("float32", "int8"):
        file = tmp_path / f"{dtype}.tflite"
        file.write_bytes(frame_file(dtype=dtype, softmax=True))
        opened = subjects.open_model(str(file), Given(labels=NAMES))
        found[dtype] = measure.measure(opened, str(file), faces, "shades", "all")
        assert "It gives probabilities itself" in found[dtype].notes[0]
    assert found["int8"].main.brier == pytest.approx(found["float32"].main.brier, abs=0.01)


def test_a_bundle_is_measured_on_streams_too(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "STREAMS", 2)
    opened = subjects.open_model("mien-fer2013", Given())
    drawn = data.load(data_folder)
    found = measure.measure(opened, "mien-fer2013", drawn, "drawn", "val")
    assert found.streams is not None
    assert (found.streams.streams, found.streams.steps) == (2, 80)
    assert list(found.scores) == ["int8"]
    alone = Data(drawn.train, drawn.val.of(np.flatnonzero(drawn.val.labels == 3)), "0" * 64)
    found = measure.measure(opened, "mien-fer2013", alone, "drawn", "val")
    assert found.streams is None
    assert "streams need two" in found.notes[0]
