"""The training loop: it learns, stops, goes on, and refuses what is not its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from convert import data, models, train
from convert.errors import RunError
from convert.run import TrainingRecord
from convert.train import TrainSettings

SHORT = TrainSettings(epochs=2, batch=32)


def weights_of(run: Path) -> list[np.ndarray]:
    return train.load_network(run / "frame.keras").get_weights()


def test_a_resumed_run_ends_as_one_that_was_never_stopped(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = data.load(data_folder)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    straight = train.train(whole, faces, SHORT)

    class Stopped(Exception):  # noqa: N818  # not an error
        pass

    measure, calls = train.validate, []

    def stop_in_the_second(*args: object) -> dict[str, float]:
        calls.append(args)
        if len(calls) == 2:
            raise Stopped
        return measure(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "validate", stop_in_the_second)
    with pytest.raises(Stopped):
        train.train(parted, faces, SHORT)
    monkeypatch.undo()
    resumed = train.train(parted, faces, SHORT)

    assert [figures["val_loss"] for figures in resumed.epochs] == [
        figures["val_loss"] for figures in straight.epochs
    ]
    for one, other in zip(weights_of(whole), weights_of(parted), strict=True):
        assert (one == other).all()
    names = sorted(path.name for path in parted.iterdir())
    assert names == ["frame-2.keras", "frame.json", "frame.keras"]


def test_it_learns_what_can_be_learned(data_folder: Path, tmp_path: Path) -> None:
    faces = data.load(data_folder)
    bright = faces.train.pixels // 4 + (faces.train.labels * 30).astype(np.uint8)[:, None, None]
    shown = data.Tiles(bright, faces.train.labels)
    record = train.train(
        tmp_path, data.Data(shown, shown, "0" * 64), TrainSettings(epochs=8, batch=16)
    )
    assert record.epochs[-1]["val_accuracy"] > 2 / 7


def test_a_record_tells_no_place(data_folder: Path, tmp_path: Path) -> None:
    faces = data.load(data_folder)
    train.train(tmp_path, faces, TrainSettings(epochs=1, batch=64))
    text = (tmp_path / "frame.json").read_text()
    record = msgspec.json.decode(text, type=TrainingRecord)
    assert record.data_sha256 == faces.labels_sha256
    assert record.tiles == {"train": 140, "val": 35}
    assert record.settings["seed"] == 1
    assert str(tmp_path) not in text
    assert str(data_folder) not in text


@pytest.mark.parametrize("name", ["settings", "data sha256"])
def test_a_folder_of_another_run_is_refused(finished: Path, data_folder: Path, name: str) -> None:
    faces = data.load(data_folder)
    settings = TrainSettings(epochs=1)
    if name == "settings":
        settings = TrainSettings(epochs=1, seed=2)
    else:
        faces = data.Data(faces.train, faces.val, "1" * 64)
    with pytest.raises(RunError, match=f"begun with other {name}"):
        train.train(finished, faces, settings)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a zip"])
def test_a_damaged_network_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frame.keras"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"frame\.keras: not a network"):
        train.load_network(path)


def test_the_frame_model_has_the_shape_of_the_paper() -> None:
    network = models.FRAME_MODELS["kalambate"]()
    assert [tuple(tensor.shape) for tensor in network.outputs] == [(None, 128), (None, 7)]
    shapes = [tuple(weights.shape) for weights in network.get_weights() if weights.ndim == 4]
    assert shapes == [(5, 5, 1, 16), (5, 5, 16, 32), (3, 3, 32, 64)]
