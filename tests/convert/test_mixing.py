"""Targets and batches: smoothed, adjusted, mixed."""

from __future__ import annotations

import numpy as np
import pytest

from convert.mixing import log_prior, mixed, smoothed
from convert.recipe import Recipe

EYE = np.eye(7, dtype=np.float32)


def batch(count: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Return faces whose every pixel is their label."""
    labels = np.arange(count) % 7
    faces = np.broadcast_to(labels[:, None, None, None], (count, 48, 48, 1)).astype(np.float32)
    return faces, EYE[labels]


def test_smoothing_spreads_a_share_over_all_labels() -> None:
    found = smoothed(EYE, 0.07)
    assert found[0, 0] == pytest.approx(0.94)
    assert found[0, 1] == pytest.approx(0.01)
    assert found.sum(axis=1) == pytest.approx(np.ones(7))


def test_the_prior_is_the_logarithm_of_how_often_a_label_occurs() -> None:
    targets = EYE[[0, 0, 0, 1]]
    prior = log_prior(targets, 1.0)
    assert prior[0] - prior[1] == pytest.approx(np.log(3))
    assert np.isfinite(prior).all()
    assert (log_prior(targets, 0.0) == 0).all()


def test_without_mixing_a_batch_stays_as_it_is() -> None:
    faces, targets = batch()
    assert mixed(faces, targets, Recipe(), np.random.default_rng(0))[0] is faces
    never = Recipe(mixup=1.0, mixed_share=0.0)
    assert mixed(faces, targets, never, np.random.default_rng(0))[0] is faces


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
@pytest.mark.parametrize("seed", range(5))
def test_a_target_says_how_much_of_each_face_there_is(way: str, seed: int) -> None:
    faces, targets = batch()
    recipe = Recipe(mixed_share=1.0, mixup=float(way == "mixup"), cutmix=float(way == "cutmix"))
    seen, wanted = mixed(faces, targets, recipe, np.random.default_rng(seed))
    assert seen.dtype == wanted.dtype == np.float32
    # Pixels are labels, so that the mean pixel is the mean label.
    assert seen.mean(axis=(1, 2, 3)) == pytest.approx(wanted @ np.arange(7), abs=1e-4)
    assert wanted.sum(axis=1) == pytest.approx(np.ones(len(faces)))
    assert (faces == batch()[0]).all()
