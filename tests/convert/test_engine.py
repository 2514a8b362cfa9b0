"""The engine: it learns, stops, goes on exactly, and says what it did."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from optional import needed

pytest.importorskip("tensorflow")
torch = needed("torch")

from convert import data, engine, models, policies
from convert.errors import RunError
from convert.policies import Taught
from convert.recipe import Recipe
from convert.run import TrainingRecord
from convert.train import load_network

SHORT = Recipe(
    model="kalambate", epochs=3, batch=32, warm_up=0.5, mixup=0.3, cutmix=0.5, small_side=40,
    small_share=0.4, augment=0.7, average=0.9,
)  # fmt: skip
ENGINE = dataclasses.replace(SHORT, model="inverted", small_side=32)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def taught(data_folder: Path) -> Taught:
    return policies.load(data_folder, "labels", 0.0)


def weights_of(run: Path) -> list[np.ndarray]:
    return load_network(run / "frame.keras").get_weights()


def test_a_resumed_run_ends_as_one_that_was_never_stopped(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    straight = engine.train(whole, taught, ENGINE)

    class Stopped(Exception):  # noqa: N818  # not an error
        pass

    measure, calls = engine.validate, []

    def stop_in_the_second(*args: object) -> dict[str, float]:
        calls.append(args)
        if len(calls) == 2:
            raise Stopped
        return measure(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "validate", stop_in_the_second)
    with pytest.raises(Stopped):
        engine.train(parted, taught, ENGINE)
    monkeypatch.undo()
    resumed = engine.train(parted, taught, ENGINE)

    for one, other in zip(straight.epochs, resumed.epochs, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    for before, after in zip(weights_of(whole), weights_of(parted), strict=True):
        assert (before == after).all()
    names = sorted(path.name for path in parted.iterdir())
    assert names == ["frame-3.pt", "frame.json", "frame.keras"]


def test_it_learns_what_can_be_learned(taught: Taught, tmp_path: Path) -> None:
    labels = taught.faces.train.labels
    bars = np.zeros((len(labels), 48, 48), np.uint8)
    for bar, label in zip(bars, labels, strict=True):
        bar[6 * label : 6 * label + 6] = 255
    tiles = data.Tiles(bars, labels)
    shown = Taught(data.Data(tiles, tiles, "0" * 64), policies.one_hot(labels))
    recipe = Recipe(model="residual", epochs=4, batch=16, augment=0.1, average=0.8, warm_up=0.5)
    assert engine.train(tmp_path, shown, recipe).epochs[-1]["val_accuracy"] > 0.8


def test_what_is_kept_answers_as_the_trainee_did(taught: Taught) -> None:
    recipe = dataclasses.replace(SHORT, model="branched", small_share=0.0)
    trainee = engine.Trainee(recipe, np.zeros(7, np.float32), None)
    pixels = taught.faces.train.pixels[:64]
    engine.learn(trainee, pixels, taught.targets[:64], 1)
    wanted = trainee.logits(pixels)
    _, found = trainee.network()(data.normalise(pixels))
    assert np.asarray(found) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_a_record_names_every_ingredient_and_no_place(taught: Taught, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, small_share=0.0, epochs=1)
    engine.train(tmp_path, taught, recipe, teachers=(_certain, ("b" * 64,)))
    text = (tmp_path / "frame.json").read_text()
    record = msgspec.json.decode(text, type=TrainingRecord)
    assert dataclasses.asdict(recipe).items() <= record.settings.items()
    assert record.settings["augment_shift"] == pytest.approx(0.7 * 0.08)
    assert record.settings["teachers"] == "b" * 64
    assert record.toolchain["torch"]
    assert str(tmp_path) not in text
    with pytest.raises(RunError, match="begun with other settings"):
        engine.train(tmp_path, taught, dataclasses.replace(recipe, votes=0.5))


def _certain(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.eye(7, dtype=np.float32)[3], (len(pixels), 7))


def test_a_teacher_is_believed_as_far_as_it_is_to_be(taught: Taught, tmp_path: Path) -> None:
    recipe = Recipe(model="kalambate", epochs=3, batch=16, augment=0.0, warm_up=0, teaching=1.0)
    engine.train(tmp_path, taught, recipe, teachers=(_certain, ("b" * 64,)))
    answers = load_network(tmp_path / "frame.keras")(data.normalise(taught.faces.val.pixels))[1]
    assert (np.asarray(answers).argmax(axis=1) == 3).all()


def test_training_can_start_from_other_weights(taught: Taught) -> None:
    start = models.kalambate()
    trainee = engine.Trainee(SHORT, np.zeros(7, np.float32), start)
    pixels = taught.faces.val.pixels
    wanted = np.asarray(start(data.normalise(pixels))[1])
    assert trainee.logits(pixels) == pytest.approx(wanted, abs=1e-4)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RunError, match="its layers are not those of inverted"):
        engine.Trainee(ENGINE, np.zeros(7, np.float32), models.kalambate())


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    trainee = engine.Trainee(SHORT, np.zeros(7, np.float32), None)
    path = tmp_path / "frame-1.pt"
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(RunError, match=r"frame-1\.pt: not the state of this training"):
        trainee.restored(path)


def test_figures_are_those_of_the_answers() -> None:
    labels = np.array([0, 0, 0, 1])
    logits = np.log(np.array([[0.5, 0.5 - 1e-9], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32))
    figures = engine.validate(logits, data.Tiles(np.zeros((4, 48, 48), np.uint8), labels))
    assert figures["val_accuracy"] == pytest.approx(0.75)
    assert figures["val_balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["val_least_recall"] == pytest.approx(2 / 3)
    wanted = -np.log([0.5, 0.9, 0.2, 0.7]).mean()
    assert figures["val_loss"] == pytest.approx(wanted, abs=1e-4)


def test_the_average_forgets_the_first_weights_soon(taught: Taught) -> None:
    pixels, targets = taught.faces.train.pixels[:32], taught.targets[:32]
    newest, averaged = (
        engine.Trainee(
            dataclasses.replace(SHORT, average=decay, small_share=0.0),
            np.zeros(7, np.float32),
            None,
        )
        for decay in (0.0, 0.999)
    )
    before = averaged.network().get_weights()
    for trainee in (newest, averaged):
        engine.learn(trainee, pixels, targets, 1)
    after, mean = newest.network().get_weights(), averaged.network().get_weights()
    for old, new, found in zip(before, after, mean, strict=True):
        # One step was taken: of the first weights 2/11 are left.
        assert found == pytest.approx(old * 2 / 11 + new * 9 / 11, abs=1e-6)


def test_foretelling_votes_is_learned_and_not_kept(taught: Taught, tmp_path: Path) -> None:
    crowd = np.repeat(np.eye(10, dtype=np.float32)[:7], 20, axis=0)[: len(taught.faces.train)]
    recipe = dataclasses.replace(SHORT, epochs=1, crowd=0.5, small_share=0.0)
    with_votes = Taught(taught.faces, taught.targets, crowd)
    engine.train(tmp_path / "with", with_votes, recipe)
    engine.train(tmp_path / "without", taught, dataclasses.replace(recipe, crowd=0.0))
    first, second = (load_network(tmp_path / name / "frame.keras") for name in ("with", "without"))
    assert [each.shape for each in first.weights] == [each.shape for each in second.weights]
    seen = data.normalise(taught.faces.val.pixels)
    assert np.abs(np.asarray(first(seen)[0]) - np.asarray(second(seen)[0])).max() > 1e-3
