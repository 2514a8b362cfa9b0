"""Bundles: loaded when whole, refused with a reason when not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import bundle
from edge.errors import BundleError

SHIPPED = Path(bundle.__file__).parent / "bundles"


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a shipped bundle to where it can be damaged."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(SHIPPED / name, tmp_path / name))

    return copied


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", bundle.shipped())
def test_every_shipped_bundle_loads_and_says_where_it_is_from(name: str) -> None:
    loaded = bundle.load(name)
    assert loaded.manifest.name == name
    assert loaded.manifest.provenance.licence
    assert loaded.manifest.provenance.origin


def test_the_house_ships_two_detectors_and_two_expression_bundles() -> None:
    assert bundle.shipped() == [
        "blazeface-full",
        "blazeface-short",
        "mien-consensus",
        "mien-fer2013",
    ]


def test_a_bundle_is_named_by_its_folder_too(copy: Callable[[str], Path]) -> None:
    folder = copy("mien-fer2013")
    assert bundle.load(str(folder)).sha256 == bundle.load("mien-fer2013").sha256


def test_the_ident_names_the_very_manifest() -> None:
    loaded = bundle.load("mien-fer2013")
    assert loaded.ident == f"mien-fer2013@{loaded.manifest.version}+{loaded.sha256[:12]}"


def test_a_bundle_that_was_replaced_since_is_not_read_in_its_place(
    copy: Callable[[str], Path],
) -> None:
    folder = copy("mien-fer2013")
    before = bundle.load(str(folder)).sha256
    assert bundle.load(str(folder), sha256=before).sha256 == before
    # Not even parsed: it need not be a manifest.
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="is another one by now"):
        bundle.load(str(folder), sha256=before)


def test_a_missing_bundle_names_those_there_are() -> None:
    with pytest.raises(BundleError, match=r"bundle absent: .* \(blazeface-full, blazeface-short"):
        bundle.load("absent")


def test_a_missing_file_is_named(copy: Callable[[str], Path]) -> None:
    folder = copy("mien-fer2013")
    (folder / "head.tflite").unlink()
    with pytest.raises(BundleError, match=r"head\.tflite: No such file .*copy the whole bundle"):
        bundle.load(str(folder))


def test_a_truncated_file_is_named(copy: Callable[[str], Path]) -> None:
    folder = copy("mien-fer2013")
    file = folder / "frame.tflite"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BundleError, match=r"frame\.tflite: sha256 is .* cut short"):
        bundle.load(str(folder))


def test_an_altered_file_is_named(copy: Callable[[str], Path]) -> None:
    folder = copy("blazeface-short")
    file = folder / "frame.tflite"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"frame\.tflite: sha256 is"):
        bundle.load(str(folder))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.update(colour="red"), "unknown field `colour`"),
        (lambda m: m.pop("labels"), "missing required field `labels`"),
        (lambda m: m["input"].update(sise=48), "unknown field `sise`.*input"),
        (lambda m: m.update(schema="mien-bundle/2"), "schema is 'mien-bundle/2'.*update mien"),
        (lambda m: m.pop("schema"), "not a bundle manifest"),
        (lambda m: m.update(kind="clip"), "Invalid value 'clip'"),
        (lambda m: m["calibration"].update(temperature=0), "Expected `float` >= 0.01"),
        (lambda m: m["labels"].append("bored"), "7 logits for 8 labels"),
        (lambda m: m["states"][0].update(input="elsewhere"), "states name 'elsewhere'"),
        (lambda m: m["frame"].update(file="../../etc/passwd"), "matching regex"),
        (
            lambda m: next(t for t in m["head"]["inputs"] if t["role"] == "state").update(
                scale=0.5
            ),
            "would drift; quantise the head again",
        ),
        (lambda m: m["head"]["inputs"].pop(), "must have inputs with the roles embedding, state"),
        (lambda m: m["head"]["inputs"].append(m["head"]["inputs"][0]), "must have inputs with"),
        (lambda m: m["states"].append(m["states"][0]), "must have inputs with the roles"),
        (lambda m: m["labels"].__setitem__(0, "happy"), "'happy' stands twice"),
        (lambda m: m["labels"].__setitem__(0, "unsure"), "'unsure' stands twice, or for what has"),
        (lambda m: m["input"].update(size=64), r"shape \[1, 48, 48, 1\], by input.size"),
        (lambda m: m["frame"]["outputs"][1].update(shape=[]), "gives no logits for 7 labels"),
        (lambda m: m["frame"]["inputs"][0].pop("scale"), "integers have a scale"),
        (lambda m: m.update(step_hz=1e9), "Expected `float` <= 240"),
        (lambda m: m.update(name="mien\n"), "matching regex"),
        (lambda m: m.update({"a\nb": 1}), r"unknown field `a\\nb`"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(
    copy: Callable[[str], Path], change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    folder = copy("mien-fer2013")
    edit(folder, change)
    with pytest.raises(BundleError, match=complaint) as raised:
        bundle.load(str(folder))
    assert "manifest.json" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m["frame"].update(inputs=[]), "must have inputs with the roles image"),
        (lambda m: m["frame"]["outputs"].pop(), "must have outputs with the roles boxes, scores"),
        (lambda m: m["input"].update(size=64), r"shape \[1, 128, 128, 3\], by input.size"),
        (lambda m: m["anchors"]["layers"][0].update(cells=10**9), "by anchors it has"),
        (lambda m: m["frame"]["outputs"][0].update(dtype="int8", scale=1.0), "not float32"),
    ],
)
def test_a_detector_that_cannot_be_right_is_refused(
    copy: Callable[[str], Path], change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    folder = copy("blazeface-short")
    edit(folder, change)
    with pytest.raises(BundleError, match=complaint):
        bundle.load(str(folder))


@pytest.mark.parametrize("name", ["manifest.json", "frame.tflite", "golden.npz"])
@pytest.mark.parametrize(
    ("put", "complaint"),
    [
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, "Is a directory"),
        (lambda file: file.symlink_to("/dev/zero"), "not a regular file"),
        (lambda file: file.symlink_to(file.name), "Too many levels of symbolic links"),
        (lambda file: (file.touch(), os.truncate(file, 10**12)), "larger than"),
    ],
)
def test_what_is_no_file_is_refused_and_not_waited_for(
    copy: Callable[[str], Path], name: str, put: Callable[[Path], object], complaint: str
) -> None:
    folder = copy("mien-fer2013")
    (folder / name).unlink()
    put(folder / name)
    with pytest.raises(BundleError, match=complaint) as raised:
        bundle.load(str(folder))
    assert str(folder / name) in str(raised.value)


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-that-name/x", "a\0b", "/a\0b"])
def test_a_name_that_can_be_no_folder_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match=r"^bundle "):
        bundle.load(name)


def test_a_manifest_nested_without_end_is_refused() -> None:
    raw = b'{"schema": "mien-bundle/1", "a": ' + b"[" * 100_000
    with pytest.raises(BundleError, match="not a bundle manifest"):
        bundle.parse_manifest(raw, source="manifest.json")


def test_a_manifest_that_is_no_json_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("mien-fer2013")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json: not a bundle manifest"):
        bundle.load(str(folder))


def test_a_detector_is_no_expression_bundle_and_the_other_way_round() -> None:
    with pytest.raises(BundleError, match="it is a face detector"):
        bundle.load_stream("blazeface-short")
    with pytest.raises(BundleError, match="it is an expression model"):
        bundle.load_detector("mien-fer2013")


TEXT = (SHIPPED / "blazeface-short" / "manifest.json").read_bytes()


@given(st.data())
def test_a_mutilated_manifest_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(TEXT)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        bundle.parse_manifest(bytes(raw), source="manifest.json")
    except BundleError as exc:
        assert str(exc).startswith("manifest.json: ")
