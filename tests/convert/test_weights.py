"""The float weights that ship: found by name, and those of which the bundles were made."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from convert import weights
from convert.errors import RunError
from convert.run import sha256_of
from edge.errors import UsageError

NAMES = sorted(weights.shipped())


def test_the_default_bundle_has_its_weights() -> None:
    assert "mien-consensus" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_was_made_of_the_weights_of_its_name(name: str) -> None:
    manifest = json.loads(
        resources.files("edge").joinpath("bundles", name, "manifest.json").read_text()
    )
    sha256 = sha256_of(weights.find(name))
    assert manifest["provenance"]["source_sha256"]["frame.keras"] == sha256
    assert weights.name_of(sha256) == name


def test_rounding_to_half_precision_halves_a_file_and_changes_next_to_nothing(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorflow")
    import keras  # noqa: PLC0415  # once it is known to be there

    from convert import models  # noqa: PLC0415  # likewise

    network = models.residual()
    whole, half = tmp_path / "whole.keras", tmp_path / "half.keras"
    network.save(whole)
    shutil.copy(whole, half)
    weights.halve(half)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    faces = np.random.default_rng(1).uniform(-1, 1, (8, 48, 48, 1)).astype(np.float32)
    rounded = keras.models.load_model(half)
    assert {each.dtype for each in rounded.weights} == {"float32"}
    for before, after in zip(network(faces), rounded(faces), strict=True):
        assert np.asarray(after) == pytest.approx(np.asarray(before), abs=0.01 * np.ptp(before))
    again = half.read_bytes()
    weights.halve(half)
    assert half.read_bytes() == again


def test_what_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    import keras  # noqa: PLC0415  # once it is known to be there

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.set_weights([np.full((2, 1), 1e6, np.float32), np.zeros(1, np.float32)])
    network.save(file := tmp_path / "frame.keras")
    before = file.read_bytes()
    with pytest.raises(RunError, match=r"layers/dense/vars/0 is not finite in half precision"):
        weights.halve(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_they_are_a_small_part_of_the_wheel(name: str) -> None:
    assert weights.find(name).stat().st_size < 1_000_000


def test_a_file_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "frame.keras"
    file.touch()
    assert weights.find(str(file)) == file
    assert weights.name_of(sha256_of(file)) is None


def test_what_is_neither_is_named_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"--start mine: neither .* ships \(mien-consensus"):
        weights.find("mine")
