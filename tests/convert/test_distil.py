"""Teachers: what they answer together, computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn import draw_tiles
from optional import needed

pytest.importorskip("tensorflow")
needed("torch")

from convert import data, models
from convert.distil import Teachers
from convert.errors import RunError
from convert.run import sha256_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two run folders with networks that were never trained."""
    folders = []
    for name in ("kalambate", "inverted"):
        folder = tmp_path_factory.mktemp(name)
        models.FRAME_MODELS[name]().save(folder / "frame.keras")
        folders.append(folder)
    return folders


def test_teachers_answer_with_their_mean_probability(runs: list[Path], tmp_path: Path) -> None:
    tiles = draw_tiles(20)
    together = Teachers(runs, 2.0, "float32", tmp_path)
    single = [Teachers([run], 2.0, "float32", tmp_path).answers(tiles) for run in runs]
    found = together.answers(tiles)
    assert found == pytest.approx((single[0] + single[1]) / 2, abs=1e-6)
    logits = np.asarray(models.keras.models.load_model(runs[0] / "frame.keras")(
        data.normalise(tiles))[1])  # fmt: skip
    powers = np.exp(logits / 2)
    assert single[0] == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-5)


def test_teachers_are_pinned_by_their_files(runs: list[Path], tmp_path: Path) -> None:
    assert Teachers(runs, 1.0, "float32", tmp_path).sha256 == tuple(
        sha256_of(run / "frame.keras") for run in runs
    )


def test_answers_to_the_same_view_are_kept(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = draw_tiles(5)
    teachers = Teachers(runs, 1.0, "float32", tmp_path)
    first = teachers.answers(tiles)
    monkeypatch.setattr(Teachers, "_together", None)
    assert (teachers.answers(tiles) == first).all()
    with pytest.raises(TypeError):
        teachers.answers(tiles[::-1])
    assert len(list(tmp_path.glob("answers-*.npy"))) == 1


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"frame\.keras: No such file"):
        Teachers([tmp_path], 1.0, "float32", tmp_path)
