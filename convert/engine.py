"""The training engine: PyTorch trains a Keras network by a recipe.

An epoch is decided by the recipe and its number alone, so that a run that was stopped and resumed
gives the weights of one that was not, on the same processor with as many threads.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.metadata
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import torch
from torch.nn import functional

from convert import augment, models
from convert.data import LABELS, Tiles, normalise
from convert.errors import RunError
from convert.mixing import log_prior, mixed, smoothed
from convert.policies import Taught
from convert.recipe import Precision, Recipe, rate
from convert.run import Ancestor, Figures, TrainingRecord
from convert.train import begin, loop, with_embedding
from convert.twin import Twin
from edge.datatypes import Float32Array, UInt8Array

_AT_ONCE = 512

Answering = Callable[[UInt8Array], Float32Array]
"""Takes tiles, uint8 [n, size, size]; gives probabilities, float32 [n, labels]."""


def train(
    run: Path,
    taught: Taught,
    recipe: Recipe,
    *,
    teachers: tuple[Answering, tuple[str, ...]] | None = None,
    start: tuple[keras.Model, str] | None = None,
    ancestors: tuple[Ancestor, ...] = (),
) -> TrainingRecord:
    """Train a frame model into a run folder, or go on with one that was stopped there.

    Leaves `frame.keras` (the best epoch by accuracy on `val`), `frame.json`, and `frame-N.pt` to
    go on from.

    Parameters
    ----------
    run
        The run folder; see `convert.run`.
    taught
        Faces and targets.
    recipe
        Held against that with which the folder was begun.
    teachers
        What answers, and the sha256 of each that has a part in it; for `recipe.teaching`.
    start
        A network of the recipe's layers whose weights to start from, and the sha256 of its file.
    ancestors
        What is known of how those came to be, for the record.

    Raises
    ------
    RunError
        The folder holds a run with other settings or data, or cannot be written; the network to
        start from has other layers; training diverged.
    """
    answering, pinned = teachers or (None, ())
    how = strength(recipe.augment)
    settings = dataclasses.asdict(recipe)
    settings |= {f"augment_{name}": value for name, value in dataclasses.asdict(how).items()}
    settings |= {"teachers": " ".join(pinned), "start": start[1] if start else ""}
    prior = log_prior(taught.targets, recipe.balance)
    kinds = 0 if taught.crowd is None else taught.crowd.shape[1]
    trainee = Trainee(recipe, prior, start and start[0], kinds)
    tiles, targets = taught.faces.train, smoothed(taught.targets, recipe.smoothing)

    def epoch(trainee: Trainee, number: int) -> Figures:
        view = recipe.view(number)
        pixels = augment.augment(tiles.pixels, how, np.random.default_rng([recipe.seed, 0, view]))
        wanted = targets
        if answering is not None:
            wanted = (1 - recipe.teaching) * targets + recipe.teaching * answering(pixels)
        if taught.crowd is not None:
            wanted = np.concatenate([wanted, taught.crowd], axis=1)
        learned = learn(trainee, pixels, wanted, number)
        return {**learned, **validate(trainee.logits(taught.faces.val.pixels), taught.faces.val)}

    fresh = begin(settings, taught.faces)
    toolchain = fresh.toolchain | {"torch": importlib.metadata.version("torch")}
    return loop(
        run,
        "frame",
        msgspec.structs.replace(fresh, toolchain=toolchain, ancestors=ancestors),
        trainee,
        epoch,
        whole=Trainee.network,
        restore=trainee.restored,
        suffix=".pt",
    )


def strength(factor: float) -> augment.Strong:
    """Return the augmentation with all its ranges and shares multiplied, shares at most 1."""
    usual = dataclasses.asdict(augment.Strong())
    shares = {"coarse", "blur", "light", "slope", "noise", "jpeg", "cover"}
    return augment.Strong(
        **{
            name: min(1.0, factor * value) if name in shares else factor * value
            for name, value in usual.items()
        }
    )


def learn(
    trainee: Trainee, pixels: UInt8Array, targets: Float32Array, number: int
) -> dict[str, float]:
    """Train once through tiles, uint8 [n, size, size], and their targets; see `Trainee.step`."""
    recipe = trainee.recipe
    random = np.random.default_rng([recipe.seed, 1, number])
    # Dropout draws from the epoch's own seed: no state of it has to be kept.
    torch.manual_seed(int(random.integers(2**63)))
    order = random.permutation(len(pixels))
    batches = -(-len(order) // recipe.batch)
    small = number <= recipe.small_share * recipe.epochs
    loss = right = 0.0
    for place in range(batches):
        chosen = order[place * recipe.batch : (place + 1) * recipe.batch]
        faces, wanted = mixed(normalise(pixels[chosen]), targets[chosen], recipe, random)
        done = number - 1 + (place + 1) / batches
        each, matched = trainee.step(
            faces, wanted, rate(recipe, done), recipe.small_side if small else None
        )
        loss, right = loss + each * len(chosen), right + matched
    return {"train_loss": loss / len(order), "train_accuracy": right / len(order)}


def validate(logits: Float32Array, tiles: Tiles) -> Figures:
    """Return what logits, [n, labels], are worth.

    The loss in nats, unsmoothed; accuracy; and of the labels' recalls, those that occur, the mean
    and the least.
    """
    powers = logits - logits.max(axis=1, keepdims=True)
    likelihood = powers - np.log(np.exp(powers).sum(axis=1, keepdims=True))
    right = logits.argmax(axis=1) == tiles.labels
    recalls = [right[tiles.labels == label].mean() for label in np.unique(tiles.labels)]
    return {
        "val_loss": float(-likelihood[np.arange(len(tiles)), tiles.labels].mean()),
        "val_accuracy": float(right.mean()),
        "val_balanced_accuracy": float(np.mean(recalls)),
        "val_least_recall": float(min(recalls)),
    }


class Trainee:
    """A network in training: its twin, the moving average of its weights, and the optimiser.

    Parameters
    ----------
    recipe
        How it learns.
    prior
        Added to the logits while training, [labels].
    start
        A network of the same layers whose weights to start from; without it, random ones that
        the seed decides.
    kinds
        Of votes that are foretold as a second task.

    Raises
    ------
    RunError
        `start` has other layers.
    """

    def __init__(
        self,
        recipe: Recipe,
        prior: Float32Array,
        start: keras.Model | None = None,
        kinds: int = 0,
    ) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe = recipe
        self._keras = models.FRAME_MODELS[recipe.model]()
        if start is not None:
            begin_from(self._keras, start)
        self._whole = models.foretelling(self._keras, kinds)
        self._twin = Twin(self._whole, self._whole.layers[-1].name).to(
            device(), memory_format=torch.channels_last
        )
        self._averaged = copy.deepcopy(self._twin).eval()
        self._prior = torch.from_numpy(prior).to(device())
        kernels = [each for each in self._twin.parameters() if each.ndim > 1]
        others = [each for each in self._twin.parameters() if each.ndim <= 1]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": kernels, "weight_decay": recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            fused=True,
        )
        self._steps = 0

    def step(
        self, faces: Float32Array, targets: Float32Array, learning_rate: float, side: int | None
    ) -> tuple[float, int]:
        """Take one step; return the mean loss before it and how many answers were right.

        Parameters
        ----------
        faces
            float32 [n, size, size, 1], normalised.
        targets
            float32 [n, labels], each of sum 1; with a second task [n, labels + kinds], the shares
            of the votes behind.
        learning_rate
            Of this step.
        side
            The resolution to bring the faces to first, in pixels.
        """
        labels = len(LABELS)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        shown = torch.from_numpy(faces).permute(0, 3, 1, 2).to(device())
        wanted = torch.from_numpy(targets).to(device())
        if side is not None:
            shown = functional.interpolate(
                shown, (side, side), mode="bilinear", antialias=True, align_corners=False
            )
        self._twin.train()
        with computing(self.recipe.precision):
            logits = self._twin(shown.contiguous(memory_format=torch.channels_last))
        logits, foretold = logits.float().split([labels, logits.shape[1] - labels], 1)
        loss = functional.cross_entropy(logits + self._prior, wanted[:, :labels])
        if foretold.shape[1]:
            second = functional.cross_entropy(foretold, wanted[:, labels:])
            loss = loss + self.recipe.crowd * second
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self._steps += 1
        self._average()
        right = (logits.argmax(1) == wanted[:, :labels].argmax(1)).sum()
        return float(loss.detach()), int(right)

    def _average(self) -> None:
        """Move the averaged weights towards the newest.

        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992, with
        exponential weights; at the start over fewer steps, so as to forget the random weights.
        Statistics of the normalisations are averaged with them.
        """
        decay = min(self.recipe.average, (1 + self._steps) / (10 + self._steps))
        if not self.recipe.average:
            decay = 0.0
        with torch.no_grad():
            mean, new = self._averaged.state_dict(), self._twin.state_dict()
            for name, value in mean.items():
                if value.is_floating_point():
                    value.lerp_(new[name], 1 - decay)

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """Return what the averaged weights answer to tiles, uint8 [n, size, size]."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(pixels), _AT_ONCE):
                faces = torch.from_numpy(normalise(pixels[start : start + _AT_ONCE]))
                shown = faces.permute(0, 3, 1, 2).to(device())
                found.append(self._averaged(shown)[:, : len(LABELS)].cpu().numpy())
        return np.concatenate(found)

    def network(self) -> keras.Model:
        """Return the averaged weights as the network that is kept, embedding and logits."""
        self._averaged.write(self._whole)
        deploy = models.DEPLOYED.get(self.recipe.model, with_embedding)
        return deploy(self._keras)

    def save(self, path: Path) -> None:
        """Write all that is needed to go on."""
        torch.save(
            {
                "twin": self._twin.state_dict(),
                "averaged": self._averaged.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "steps": self._steps,
            },
            path,
        )

    def restored(self, path: Path) -> Trainee:
        """Take the state that `save` wrote; return itself.

        Raises
        ------
        RunError
            The file is missing or damaged.
        """
        try:
            state: dict[str, Any] = torch.load(path, map_location=device(), weights_only=True)
            self._twin.load_state_dict(state["twin"])
            self._averaged.load_state_dict(state["averaged"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._steps = state["steps"]
        except Exception as exc:  # PyTorch tells a damaged file in many ways
            reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            raise RunError(
                f"{path}: not the state of this training ({reason}); train it again"
            ) from exc
        return self


def begin_from(network: keras.Model, start: keras.Model) -> None:
    """Give a network the weights of another one of the same shapes.

    Raises
    ------
    RunError
        The shapes differ.
    """
    weights = start.get_weights()
    if [each.shape for each in weights] != [tuple(each.shape) for each in network.weights]:
        raise RunError(
            f"--start: its layers are not those of {network.name}; start from a run of the same "
            "--model"
        )
    network.set_weights(weights)


def device() -> torch.device:
    """Return what PyTorch computes on: a graphics processor where it sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computing(precision: Precision) -> AbstractContextManager[object]:
    """Return a context in which convolutions compute in a precision."""
    context: AbstractContextManager[object] = torch.autocast(
        device().type, torch.bfloat16, enabled=precision == "bfloat16"
    )
    return context
