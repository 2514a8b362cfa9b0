"""Golden vectors, run by the device's own runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge import bundle, goldens
from edge.bundle import Bundle
from edge.errors import BundleError
from edge.networks import StreamNetworks

LOADED, MANIFEST = bundle.load_stream("mien-fer2013")
GOLDENS = goldens.read(LOADED, MANIFEST)


def test_the_shipped_bundle_answers_here_as_it_did_where_it_was_made() -> None:
    result = goldens.check(StreamNetworks(LOADED, MANIFEST), GOLDENS)
    assert result.steps >= 1000
    assert result.passed, result


def test_a_part_of_them_is_enough_for_a_quick_look() -> None:
    result = goldens.check(StreamNetworks(LOADED, MANIFEST), GOLDENS, steps=50)
    assert result.steps == 50
    assert result.passed


@pytest.mark.parametrize("part", ["frame_logits", "head_logits"])
def test_an_answer_beyond_its_tolerance_fails(part: str) -> None:
    tolerance = getattr(GOLDENS, part.replace("logits", "tolerance"))
    wrong = getattr(GOLDENS, part).copy()
    wrong[GOLDENS.order[0] if part == "frame_logits" else 0, 0] += 3 * tolerance + 1
    other = replace(GOLDENS, **{part: wrong})
    assert not goldens.check(StreamNetworks(LOADED, MANIFEST), other, steps=5).passed


def test_the_faces_tell_labels_apart() -> None:
    assert len(set(GOLDENS.head_logits.argmax(axis=1).tolist())) >= 2
    assert GOLDENS.resets[0]
    assert len(np.unique(GOLDENS.order)) == len(GOLDENS.faces)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    import hashlib  # noqa: PLC0415  # only here

    import msgspec  # noqa: PLC0415  # only here

    file = tmp_path / "golden.npz"
    np.savez(file, something=np.zeros(3))
    entry = msgspec.structs.replace(
        MANIFEST.golden, sha256=hashlib.sha256(file.read_bytes()).hexdigest()
    )
    manifest = msgspec.structs.replace(MANIFEST, golden=entry)
    with pytest.raises(BundleError, match="not golden vectors"):
        goldens.read(Bundle(tmp_path, manifest, "0" * 64), manifest)
