"""The temporal head."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from convert import data, head, models, steadiness, streams
from convert.compare import Embedded
from convert.errors import RunError
from convert.head import HeadSettings
from convert.interface import Interface
from convert.run import StreamReport, TrainingRecord, read_record
from convert.streams import LEARNING, StreamSettings


def test_a_step_is_the_equations_of_the_paper() -> None:
    step = models.gru_step()
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 128)).astype(np.float32)
    h = random.uniform(-1, 1, (3, 64)).astype(np.float32)
    logits, state = step.predict_on_batch([x, h])

    def dense(name: str, values: np.ndarray) -> np.ndarray:
        kernel, *bias = step.get_layer(name).get_weights()
        return values @ kernel + (bias[0] if bias else 0)

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    z = sigmoid(dense("update_input", x) + dense("update_state", h))
    r = sigmoid(dense("reset_input", x) + dense("reset_state", h))
    n = np.tanh(dense("candidate_input", x) + r * dense("candidate_state", h))
    expected = z * h + (1 - z) * n
    assert state == pytest.approx(expected, abs=1e-5)
    assert logits == pytest.approx(dense("logits", expected), abs=1e-5)


def test_unrolling_starts_from_zero_and_carries_the_state() -> None:
    step = models.gru_step()
    embeddings = np.random.default_rng(0).normal(size=(2, 3, 128)).astype(np.float32)
    logits = head.free_run(step, embeddings)[0]
    state = np.zeros((2, 64), np.float32)
    for index in range(3):
        wanted, state = step.predict_on_batch([embeddings[:, index], state])
        assert logits[:, index] == pytest.approx(wanted, abs=1e-5)


def test_a_head_that_answers_right_is_measured_so() -> None:
    labels = np.repeat([[1, 2]], 10, axis=1).reshape(1, 20)
    targets = np.eye(7, dtype=np.float32)[labels]
    noisy = targets.copy()
    noisy[0, ::2] = targets[0, 0][[6, 0, 1, 2, 3, 4, 5]]
    seen = Embedded(np.zeros((1, 20, 128), np.float32), noisy, targets, (labels == 2) * 1)
    report = head.compare(seen, targets * 5)
    assert report.head_accuracy == 1
    assert report.frame_accuracy < 1
    assert report.head_flips_a_minute == 0
    assert report.frame_flips_a_minute > 0


def test_training_leaves_a_head_and_what_was_measured(finished: Path) -> None:
    report = read_record(finished / "streams.json", StreamReport, made_by="train-head")
    assert (report.streams, report.steps) == (2, 80)
    assert 0.05 <= report.temperature <= 20
    assert (finished / "head.keras").is_file()


def learnable(seed: int, count: int = 96, steps: int = 16) -> Embedded:
    """Return streams of two stills that say in each step what they show, through much noise."""
    random = np.random.default_rng(seed)
    labels = np.stack([random.permutation(7)[:2] for _ in range(count)])
    stretch = np.repeat([[0, 1]], steps // 2, axis=1).reshape(1, steps).repeat(count, axis=0)
    targets = np.eye(7, dtype=np.float32)[np.take_along_axis(labels, stretch, axis=1)]
    told = 2 * targets + random.normal(size=targets.shape)
    # Noise everywhere could be learned by heart.
    embeddings = np.concatenate([told, np.zeros((count, steps, 121))], axis=2)
    return Embedded(embeddings.astype(np.float32), targets, targets, stretch)


def taught(weight: float, seen: Embedded) -> tuple[list[float], Any]:
    """Teach a head; return the entropy before each batch, and the head."""
    import keras  # noqa: PLC0415  # only here

    keras.utils.set_random_seed(3)
    step = models.gru_step()
    step.compile(keras.optimizers.Adam(1e-2))
    learn, parts = head.through_time(step, 0.3, 2.0), steadiness.spans(seen.stretch)
    told = []
    for index in range(30):
        seed = np.array([0, index])
        entropy, _ = learn(seen.embeddings, seen.targets, parts, np.float32(weight), seed)
        told.append(float(entropy))
    return told, step


def test_learning_through_time_makes_a_head_right_and_steadiness_steady() -> None:
    seen, others, found = learnable(0), learnable(1), []
    for weight in (0.0, 10.0):
        told, step = taught(weight, seen)
        assert told[-1] < 0.7 * told[0]
        logits = head.free_run(step, others.embeddings)[0]
        found.append(head.validate(logits, others, HeadSettings(steadiness=weight)))
    restless, steady = found
    assert steady["val_wandering"] < 0.6 * restless["val_wandering"]
    assert steady["val_flips_a_minute"] < restless["val_flips_a_minute"]
    assert min(each["val_accuracy"] for each in found) > 0.7


def test_the_loss_is_entropy_and_excess_of_sharpened_answers() -> None:
    logits = np.zeros((1, 4, 7), np.float32)
    logits[0, 1, 3] = 1.0
    parts = steadiness.spans(np.zeros((1, 4), int))
    targets = np.eye(7, dtype=np.float32)[np.zeros((1, 4), int)]
    entropy, wandering = map(float, head.loss_terms(logits, targets, parts, 3.0))
    assert entropy == pytest.approx((3 * np.log(7) + np.log(6 + np.e)) / 4)
    away = np.exp(3) / (6 + np.exp(3)) - 1 / 7
    assert wandering == pytest.approx(2 * away / 3, abs=1e-6)


def test_streams_are_seen_at_any_frame_rate_from_5_to_30() -> None:
    random = np.random.default_rng(1)
    drawn = [streams.frame_rate(random) for _ in range(1000)]
    assert min(drawn) == 5.0
    assert max(drawn) == 30.0
    assert all(each == int(each) for each in drawn)
    # As many below the geometric mean as above.
    assert sum(each < 12.25 for each in drawn) == pytest.approx(500, abs=60)


def test_the_calmest_epoch_of_those_as_right_is_kept(finished: Path) -> None:
    record = read_record(finished / "head.json", TrainingRecord, made_by="train-head")
    losses = [figures["val_loss"] for figures in record.epochs]
    assert record.best_epoch == 1 + int(np.argmin(losses))


@pytest.mark.slow
def test_a_resumed_head_ends_as_one_that_was_never_stopped(
    finished: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = data.load(data_folder)
    settings = HeadSettings(epochs=2, batch=2, train_streams=4, val_streams=2)
    short = StreamSettings(seconds=1.0)
    runs = [tmp_path / "whole", tmp_path / "parted"]
    for run in runs:
        run.mkdir()
        shutil.copy(finished / "frame.keras", run)
    straight, _ = head.train_head(runs[0], faces, settings, short)

    class Stopped(Exception):  # noqa: N818  # not an error
        pass

    measure, calls = head.compare, []

    def stop_in_the_second(*args: object, **more: object) -> StreamReport:
        calls.append(args)
        if len(calls) == 2:
            raise Stopped
        return measure(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(head, "compare", stop_in_the_second)
    with pytest.raises(Stopped):
        head.train_head(runs[1], faces, settings, short)
    monkeypatch.undo()
    resumed, _ = head.train_head(runs[1], faces, settings, short)
    assert [figures["train_loss"] for figures in resumed.epochs] == [
        figures["train_loss"] for figures in straight.epochs
    ]
    with pytest.raises(RunError, match="begun with other settings"):
        head.train_head(runs[1], faces, HeadSettings(epochs=3), short)


def test_the_record_tells_every_setting_of_the_streams(finished: Path) -> None:
    settings = read_record(finished / "head.json", TrainingRecord, made_by="train-head").settings
    assert settings["stream_seconds"] == LEARNING.seconds
    assert settings["stream_motion_jitter"] == LEARNING.motion.jitter
    assert settings["stream_webcam_noise"] == LEARNING.webcam.noise
    assert (settings["stream_slowest_fps"], settings["stream_fastest_fps"]) == (5.0, 30.0)
    assert settings["steadiness"] == HeadSettings().steadiness


def test_steps_that_miss_the_face_see_what_was_newest(finished: Path, data_folder: Path) -> None:
    frame, faces = head.load_network(finished / "frame.keras"), data.load(data_folder).val
    blind = dataclasses.replace(LEARNING, seconds=2.0, misses=10_000.0, longest_miss=9.0)
    seen = head.embed(frame, Interface(), faces, 2, settings=blind, seed=[1])
    assert seen.embeddings.shape[:2] == seen.stretch.shape == (2, 20)
    assert (seen.frame_logits == seen.frame_logits[:, :1]).all()


def test_a_head_wants_a_frame_model_first(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"frame\.keras"):
        head.train_head(tmp_path, data.load(data_folder), HeadSettings(epochs=1))
