"""What decides how a frame model comes out: every ingredient of its training, each switchable.

`convert.engine` trains by them. Nothing is imported here that a command line would wait for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

Policy = Literal["labels", "consensus"]
POLICIES: tuple[Policy, ...] = ("labels", "consensus")
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The ingredients. All of them are recorded beside the weights.

    Attributes
    ----------
    model : str
        A name in `models.FRAME_MODELS`.
    epochs, seed, batch : int
    policy : str
        What counts as right; see `convert.policies`.
    votes : float
        Share of the target that comes from the crowd's votes, 0 to 1.
    crowd : float
        Weight of a second task that is not kept: to foretell the votes, of all ten kinds, from
        the embedding. It teaches what faces have in common and leaves the answers unbiased
        (Caruana, "Multitask Learning", 1997).
    learning_rate, weight_decay : float
        AdamW's (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm
        2); kernels alone decay.
    warm_up : float
        Epochs in which the rate rises from 0; then it falls along half a cosine to a hundredth.
    smoothing : float
        Share of the target that is spread over all labels.
    balance : float
        How much of the labels' log frequency is added to the logits while training: tau of
        equation 10 of Menon et al., "Long-Tail Learning via Logit Adjustment", 2021. 0 for none,
        1 for what minimises the balanced error.
    mixup, cutmix : float
        Concentration of the beta distribution that a batch's mixing is drawn from; 0 for none.
        With both, half the batches are mixed in each way. See `mixed`.
    mixed_share : float
        Share of batches that are mixed at all.
    augment : float
        How strong: 1 for `augment.Strong` as it is, 0 for mirroring alone; shares and ranges are
        multiplied.
    average : float
        Decay of the moving average of all weights that is validated and kept; 0 for none.
    precision : str
        What convolutions are computed in. `bfloat16` is twice as fast where the processor has it.
    small_side : int
        Side in pixels of the tiles learned from in the first `small_share` of the epochs; a
        multiple of 8, for networks halve it three times.
    small_share : float
    views : int
        How many differently augmented copies of the tiles there are; epochs take turns. 0: as
        many as epochs.
    teaching : float
        Share of the target that is the teachers' answer; see `convert.distil`.
    temperature : float
        Of the teachers' answers.
    """

    model: str = "residual"
    epochs: int = 60
    seed: int = 1
    batch: int = 128
    policy: Policy = "labels"
    votes: float = 0.0
    crowd: float = 0.0
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warm_up: float = 2.0
    smoothing: float = 0.0
    balance: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed_share: float = 0.5
    augment: float = 1.0
    average: float = 0.998
    precision: Precision = "float32"
    small_side: int = 32
    small_share: float = 0.0
    views: int = 0
    teaching: float = 0.0
    temperature: float = 1.0

    def view(self, epoch: int) -> int:
        """Return which augmented copy an epoch (from 1) learns from."""
        return (epoch - 1) % self.views + 1 if self.views else epoch


def rate(recipe: Recipe, done: float) -> float:
    """Return the learning rate after so many epochs, whole and part.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation
    5, without restarts, after the warm-up of Goyal et al., "Accurate, Large Minibatch SGD", 2017,
    section 2.2.
    """
    if done < recipe.warm_up:
        return recipe.learning_rate * done / recipe.warm_up
    whole = max(recipe.epochs - recipe.warm_up, 1e-9)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (done - recipe.warm_up) / whole)))
    return recipe.learning_rate * (0.01 + 0.99 * cosine)


def options(settings: Mapping[str, str | int | float], start: str | None = None) -> str:
    """Return the options of `mien-convert train` by which a run was made.

    Parameters
    ----------
    settings
        Of its record. Teachers and what it started from are named by the sha256 of their files.
    start
        A better name for what it started from.

    Returns
    -------
    str
        `--model residual --epochs 60 ...`: those three that each run has, then what differs from
        the usual.
    """
    words = [f"--{name} {settings[name]}" for name in _ALWAYS]
    # `train` as it is without any ingredient has settings of its own, none of them an option.
    if "policy" not in settings:
        return " ".join(words)
    usual = Recipe()
    # How small the smaller tiles would have been says nothing of a run that saw none.
    unused = () if settings.get("small_share") else ("small_side",)
    for each in fields(Recipe):
        value = settings.get(each.name, getattr(usual, each.name))
        if each.name not in (*_ALWAYS, *unused) and value != getattr(usual, each.name):
            words.append(f"--{each.name.replace('_', '-')} {value}")
    words += [f"--teacher RUN-OF-{each[:12]}" for each in str(settings.get("teachers", "")).split()]
    if begun_from := str(settings.get("start", "")):
        words.append(f"--start {start or f'RUN-OF-{begun_from[:12]}/frame.keras'}")
    return " ".join(words)


_ALWAYS = ("model", "epochs", "seed")
