"""The training loop: seeded, and resumable after any epoch; and how TensorFlow trains in it.

An epoch is decided by the settings and its number alone, so that a run that was stopped and
resumed gives the weights of one that was not.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import os
import platform
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Protocol, TypeVar, cast

import keras
import msgspec
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from convert import data, models
from convert.data import LABELS, Augmentation, Data, Tiles
from convert.errors import RunError
from convert.run import Figures, TrainingRecord, read_record, write_record, write_whole

TOOLCHAIN = ("tensorflow", "keras", "numpy")


class Savable(Protocol):
    """A network in training, or one that is done."""

    def save(self, path: Path) -> object:
        """Write all of it to a file."""


Trained = TypeVar("Trained", bound=Savable)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What decides how a frame model comes out, besides the data and the augmentation."""

    model: str = "kalambate"
    epochs: int = 80
    seed: int = 1
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.05


def train(run: Path, faces: Data, settings: TrainSettings) -> TrainingRecord:
    """Train a frame model into a run folder, or go on with one that was stopped there.

    Parameters
    ----------
    run
        The run folder; see `convert.run`.
    faces
        What to learn from (`train`) and to choose the best epoch by (`val`).
    settings
        Held against those the folder was begun with.

    Raises
    ------
    RunError
        The folder holds a run with other settings or data, or cannot be written.
    """
    augmentation = Augmentation()
    seeded(settings.seed)
    chosen = dataclasses.asdict(settings) | {
        f"augment_{name}": value for name, value in dataclasses.asdict(augmentation).items()
    }
    trainee = compiled(settings, batches=-(-len(faces.train) // settings.batch))
    one_hot = np.eye(len(LABELS), dtype=np.float32)

    def epoch(trainee: keras.Model, number: int) -> Figures:
        random = np.random.default_rng([settings.seed, number])
        reseed_dropout(trainee, random)
        order = random.permutation(len(faces.train))
        pixels = data.augment(faces.train.pixels[order], augmentation, random)
        history = trainee.fit(
            data.normalise(pixels), one_hot[faces.train.labels[order]],
            batch_size=settings.batch, shuffle=False, verbose=0,
        )  # fmt: skip
        return {
            "train_loss": history.history["loss"][0],
            "train_accuracy": history.history["accuracy"][0],
            **validate(trainee, faces.val),
        }

    return loop(run, "frame", begin(chosen, faces), trainee, epoch, whole=with_embedding)


def compiled(settings: TrainSettings, *, batches: int) -> keras.Model:
    """Return a new frame model as far as its logits, ready for epochs of so many batches."""
    network = models.FRAME_MODELS[settings.model]()
    trainee = keras.Model(network.input, network.get_layer("logits").output, name=network.name)
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, batches * settings.epochs, alpha=0.01
    )
    trainee.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
        metrics=["accuracy"],
    )
    return trainee


def validate(trainee: keras.Model, tiles: Tiles) -> Figures:
    """Return the loss (in nats, unsmoothed) and accuracy of a model that gives logits."""
    logits = trainee.predict(data.normalise(tiles.pixels), batch_size=512, verbose=0)
    powers = logits - logits.max(axis=1, keepdims=True)
    likelihood = powers - np.log(np.exp(powers).sum(axis=1, keepdims=True))
    return {
        "val_loss": float(-likelihood[np.arange(len(tiles)), tiles.labels].mean()),
        "val_accuracy": float((logits.argmax(axis=1) == tiles.labels).mean()),
    }


def seeded(seed: int) -> None:
    """Seed every generator and ask TensorFlow for operations that repeat bit for bit."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def reseed_dropout(trainee: keras.Model, random: np.random.Generator) -> None:
    """Let dropout draw from the epoch's own seed: a file keeps no state of it to resume from."""
    for layer in trainee.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign(random.integers(2**32, size=2, dtype=np.uint32))


def with_embedding(trainee: keras.Model) -> keras.Model:
    """Return the network as it is kept: with its embedding as an output beside the logits."""
    outputs = [trainee.get_layer(name).output for name in ("embedding", "logits")]
    return keras.Model(trainee.input, outputs, name=trainee.name)


def begin(settings: dict[str, str | int | float], faces: Data) -> TrainingRecord:
    """Return the record of a run in which nothing was trained yet."""
    cores = len(os.sched_getaffinity(0))
    graphics = len(tf.config.list_physical_devices("GPU"))
    versions = {name: importlib.metadata.version(name) for name in TOOLCHAIN}
    return TrainingRecord(
        settings=settings,
        data_sha256=faces.labels_sha256,
        tiles={"train": len(faces.train), "val": len(faces.val)},
        toolchain={"python": platform.python_version(), **versions},
        machine=f"{platform.machine()}, {cores} cores, {graphics or 'no'} GPU",
    )


def loop(
    run: Path,
    stem: str,
    fresh: TrainingRecord,
    trainee: Trained,
    epoch: Callable[[Trained, int], Figures],
    *,
    whole: Callable[[Trained], Savable],
    restore: Callable[[Path], Trained] | None = None,
    suffix: str = ".keras",
    worth: Callable[[Figures], float] = itemgetter("val_accuracy"),
) -> TrainingRecord:
    """Train epoch by epoch, leaving after each what is needed to go on.

    Parameters
    ----------
    run, stem
        Results become `run/stem.keras` and `run/stem.json`.
    fresh
        The record of a run not begun; `epochs` in its settings says when to stop.
    trainee
        What trains; where the folder holds a later state of it, that is used instead.
    epoch
        Trains once through the data and measures.
    whole
        Turns the trainee into the model that is kept.
    restore
        Reads a state that the trainee saved; without it, that of a compiled Keras model.
    suffix
        Of the files in which states are saved.
    worth
        How good an epoch with such figures is; the best one is kept.

    Raises
    ------
    RunError
        The folder holds a run with other settings or data, or cannot be written.
    """
    record = resumed(run / f"{stem}.json", fresh)
    if record.epochs:
        state = run / f"{stem}-{len(record.epochs)}{suffix}"
        trainee = restore(state) if restore else cast("Trained", load_network(state))
    total = int(fresh.settings["epochs"])
    done = len(record.epochs)
    for number in tqdm(range(done + 1, total + 1), "train", total, initial=done, file=sys.stderr):
        start = time.monotonic()
        figures = epoch(trainee, number)
        if not math.isfinite(sum(figures.values())):
            raise RunError(f"{run}: training diverged in epoch {number}; lower --learning-rate")
        figures["seconds"] = round(time.monotonic() - start, 2)
        epochs = (*record.epochs, figures)
        best = 1 + int(np.argmax([worth(each) for each in epochs]))
        if best == number:
            write_whole(run / f"{stem}.keras", whole(trainee).save)
        write_whole(run / f"{stem}-{number}{suffix}", trainee.save)
        # The record is what makes an epoch done; before it, the old state is still whole.
        record = msgspec.structs.replace(record, epochs=epochs, best_epoch=best)
        write_record(run / f"{stem}.json", record)
        (run / f"{stem}-{number - 1}{suffix}").unlink(missing_ok=True)
        shown = " ".join(f"{name}={value:.3f}" for name, value in figures.items())
        tqdm.write(f"epoch {number}: {shown}", file=sys.stderr)
    return record


def resumed(file: Path, fresh: TrainingRecord) -> TrainingRecord:
    """Return the record in a run folder, or `fresh` where there is none."""
    if not file.exists():
        return fresh
    record = read_record(file, TrainingRecord, made_by="train")
    for name in ("settings", "data_sha256", "tiles"):
        if getattr(record, name) != getattr(fresh, name):
            raise RunError(
                f"{file}: begun with other {name.replace('_', ' ')}; repeat those to go on with "
                "it, or choose another --run"
            )
    return record


def load_network(path: Path) -> keras.Model:
    """Read a .keras file.

    Raises
    ------
    RunError
        It is missing or damaged.
    """
    try:
        return keras.models.load_model(path)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as exc:
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise RunError(f"{path}: not a network ({reason}); train it again") from exc
