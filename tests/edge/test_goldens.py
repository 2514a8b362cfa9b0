"""Golden vectors, run by the device's own runtime."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import msgspec
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


def refusal(folder: Path, data: bytes) -> str:
    """What is said of a bundle that was packaged with other golden vectors."""
    (folder / "golden.npz").write_bytes(data)
    entry = msgspec.structs.replace(MANIFEST.golden, sha256=hashlib.sha256(data).hexdigest())
    manifest = msgspec.structs.replace(MANIFEST, golden=entry)
    with pytest.raises(BundleError, match="not golden vectors") as raised:
        goldens.read(Bundle(folder, manifest, "0" * 64), manifest)
    return str(raised.value)


def packed(**changed: object) -> bytes:
    arrays = {name: getattr(GOLDENS, name) for name in GOLDENS.__slots__}
    file = io.BytesIO()
    np.savez_compressed(file, **(arrays | changed))  # type: ignore[arg-type]
    return file.getvalue()


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, something=np.zeros(3))
    assert "KeyError" in refusal(tmp_path, file.getvalue())


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    assert "BadZipFile" in refusal(tmp_path, b"nothing")


def test_what_unpacks_to_more_than_it_may_is_refused(tmp_path: Path) -> None:
    data = packed(more=np.zeros(goldens.MOST_BYTES, np.uint8))
    assert len(data) < 1_000_000
    assert "bytes when unpacked" in refusal(tmp_path, data)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"faces": GOLDENS.faces[:, :40]}, "faces is uint8"),
        ({"faces": GOLDENS.faces.astype(np.float32)}, "faces is float32"),
        ({"order": GOLDENS.order + len(GOLDENS.faces)}, "order names faces that are not there"),
        ({"order": GOLDENS.order[:0], "resets": GOLDENS.resets[:0]}, "head_logits is float32"),
        ({"resets": GOLDENS.resets[1:]}, "resets is bool"),
        ({"head_logits": GOLDENS.head_logits * np.float32(np.nan)}, "no numbers"),
        ({"head_tolerance": np.inf}, "no numbers"),
    ],
)
def test_arrays_that_cannot_be_run_are_refused(
    tmp_path: Path, changed: dict[str, object], complaint: str
) -> None:
    assert complaint in refusal(tmp_path, packed(**changed))
