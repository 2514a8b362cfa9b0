"""The float weights that ship: found by name, and those of which the bundles were made."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from convert import weights
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


def test_a_file_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "frame.keras"
    file.touch()
    assert weights.find(str(file)) == file
    assert weights.name_of(sha256_of(file)) is None


def test_what_is_neither_is_named_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"--start mine: neither .* ships \(mien-consensus"):
        weights.find("mine")
