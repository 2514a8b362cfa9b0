"""Arithmetic on targets and batches: smoothing, logit adjustment, mixup, cutmix."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from convert.recipe import Recipe
from edge.datatypes import Float32Array


def smoothed(targets: Float32Array, share: float) -> Float32Array:
    """Spread a share of each target, [n, labels], evenly over the labels.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section 7.
    """
    return np.asarray((1 - share) * targets + share / targets.shape[1], dtype=np.float32)


def log_prior(targets: Float32Array, tau: float) -> Float32Array:
    """Return what logit adjustment adds to the logits, [labels]; see `Recipe.balance`."""
    frequency = np.maximum(targets.mean(axis=0, dtype=np.float64), 1e-6)
    return np.asarray(tau * np.log(frequency), dtype=np.float32)


def mixed(
    faces: Float32Array, targets: Float32Array, recipe: Recipe, random: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Mix each face of a batch with another one, and their targets with them, or do not.

    Mixup is equation 1 of Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018: a
    weighted mean. Cutmix is section 3.1 of Yun et al., "CutMix: Regularization Strategy to Train
    Strong Classifiers with Localizable Features", 2019: a rectangle of one in the other. Both
    with one weight for the whole batch.

    Parameters
    ----------
    faces
        float32 [n, size, size, 1].
    targets
        float32 [n, labels].
    recipe
        Of which `mixup`, `cutmix` and `mixed_share` are used.
    random
        Decides all of it.
    """
    ways = [each for each in ("mixup", "cutmix") if getattr(recipe, each)]
    if not ways or random.random() >= recipe.mixed_share:
        return faces, targets
    way = ways[int(random.integers(len(ways)))]
    alpha = getattr(recipe, way)
    weight = float(random.beta(alpha, alpha))
    others = random.permutation(len(faces))
    if way == "mixup":
        faces = weight * faces + (1 - weight) * faces[others]
    else:
        rows, columns = _rectangle(faces.shape[1], 1 - weight, random)
        faces = faces.copy()
        faces[:, rows, columns] = faces[others, rows, columns]
        cut = (rows.stop - rows.start) * (columns.stop - columns.start)
        weight = 1 - cut / faces.shape[1] ** 2
    blended = weight * targets + (1 - weight) * targets[others]
    return np.asarray(faces, np.float32), np.asarray(blended, np.float32)


def _rectangle(size: int, share: float, random: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a square of a share of the area, cut off at the edges."""
    half = size * math.sqrt(share) / 2
    middle: npt.NDArray[np.float64] = random.uniform(0, size, 2)
    starts = np.clip(np.rint(middle - half), 0, size).astype(int)
    stops = np.clip(np.rint(middle + half), 0, size).astype(int)
    return slice(starts[0], stops[0]), slice(starts[1], stops[1])
