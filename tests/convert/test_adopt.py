"""A model from elsewhere takes its place in a run folder only where it fits and all is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("tensorflow")

import keras
from commands import contents

from convert import adopt, interface
from convert.adopt import Told, taken_by
from convert.data import LABELS
from convert.errors import RunError
from convert.interface import Interface
from convert.sources import Source, read
from edge.bundle import CropSpec
from edge.errors import UsageError

ZERO_TO_ONE = Told(mean=0, std=255)


def frame(file: Path, *, side: int = 16, width: int = 5, rescaled: bool = False) -> Source:
    picture = keras.Input((side, side, 1))
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(picture) if rescaled else picture
    features = keras.layers.Conv2D(width, 3, strides=4, activation="relu")(scaled)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    keras.Model(picture, keras.layers.Dense(7, "softmax")(pooled)).save(file)
    return read(str(file))


def head(file: Path, *, width: int = 5, labels: int = 7) -> Source:
    sequence = keras.Input((None, width))
    memory = keras.layers.GRU(4)(sequence)
    keras.Model(sequence, keras.layers.Dense(labels)(memory)).save(file)
    return read(str(file))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return frame(tmp_path_factory.mktemp("plain") / "frame.keras")


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return frame(tmp_path_factory.mktemp("scaling") / "frame.keras", rescaled=True)


@pytest.fixture
def run(plain: Source, tmp_path: Path) -> Path:
    adopt.adopt(tmp_path / "run", plain, taken_by(tmp_path / "run", plain, ZERO_TO_ONE))
    return tmp_path / "run"


def test_what_is_told_is_what_the_run_folder_says(plain: Source, tmp_path: Path) -> None:
    told = Told(
        labels=LABELS[::-1], mean=0, std=255, step_hz=25,
        crop=CropSpec(centre_line=0.5, face_length=0.6),
    )  # fmt: skip
    taken = taken_by(tmp_path, plain, told)
    assert not contents(tmp_path)
    adopt.adopt(tmp_path, plain, taken)
    assert set(contents(tmp_path)) == {"frame.keras", "frame-source.json", "interface.json"}
    assert interface.read(tmp_path) == Interface(
        labels=LABELS[::-1], size=16, mean=0, std=255, step_hz=25,
        crop=CropSpec(centre_line=0.5, face_length=0.6),
    )  # fmt: skip


def test_labels_are_the_usual_seven_unless_told(plain: Source, tmp_path: Path) -> None:
    assert taken_by(tmp_path, plain, ZERO_TO_ONE).labels == LABELS


def test_a_network_that_scales_its_pixels_need_not_be_told(scaling: Source, tmp_path: Path) -> None:
    taken = taken_by(tmp_path, scaling, Told())
    assert (taken.mean, taken.std) == pytest.approx((127.5, 127.5))
    told = Told(mean=taken.mean, std=taken.std)
    assert taken_by(tmp_path, scaling, told) == taken


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            Told(mean=0, std=255, labels=("a", "b")),
            "gives 7 logits, and 2 labels .* in their order",
        ),
        (Told(), "does not say how its pixels were scaled; give --mean M --std S"),
        (Told(mean=0), "give --mean M --std S"),
        (Told(mean=0, std=0), "std of 0; the device takes .* a std above 0"),
        (Told(mean=0, std=-1), "a std above 0"),
        (Told(mean=0, std=float("nan")), "a std above 0"),
        (Told(mean=float("inf"), std=255), "a mean of 0 to 255"),
        (Told(mean=300, std=255), "mean of 300 .* takes a mean of 0 to 255"),
        (Told(mean=-10, std=255), "a mean of 0 to 255"),
    ],
)
def test_what_is_missing_or_cannot_be_is_refused(
    plain: Source, tmp_path: Path, told: Told, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        taken_by(tmp_path, plain, told)
    assert "\n" not in str(raised.value)


def test_a_scaling_told_against_the_networks_own_is_refused(
    scaling: Source, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"mean 127\.5, std 127\.5\); leave --mean and --std out"):
        taken_by(tmp_path, scaling, ZERO_TO_ONE)


def test_a_picture_that_no_device_cuts_is_refused(tmp_path: Path) -> None:
    large = frame(tmp_path / "large.keras", side=600)
    with pytest.raises(
        UsageError, match="600 pixels a side, and the device cuts faces of 8 to 512"
    ):
        taken_by(tmp_path, large, ZERO_TO_ONE)


@pytest.mark.parametrize("text", ["", "0.5", "0.5,0.6,0.7", "a,b", "0,0.6", "1.2,0.6", "0.5,nan"])
def test_a_framing_is_two_numbers(text: str) -> None:
    with pytest.raises(UsageError, match=r"--crop .*: write CENTRE_LINE,FACE_LENGTH"):
        adopt.parse_crop(text)
    assert adopt.parse_crop("0.5,0.6") == CropSpec(centre_line=0.5, face_length=0.6)


def test_a_head_joins_the_frame_model_it_was_trained_for(run: Path, tmp_path: Path) -> None:
    source = head(tmp_path / "head.keras")
    taken = taken_by(run, source, Told(step_hz=5))
    adopt.adopt(run, source, taken)
    assert interface.read(run) == taken
    assert (taken.step_hz, taken.size, taken.std) == (5, 16, 255)
    assert {"head.keras", "head-source.json"} < set(contents(run))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"width": 6}, "takes an embedding of 6 and gives 7 logits, .* has 5 and 7"),
        ({"labels": 6}, "embedding of 5 and gives 6 logits, .* has 5 and 7"),
    ],
)
def test_a_head_for_another_frame_model_is_refused(
    run: Path, tmp_path: Path, shape: dict[str, int], said: str
) -> None:
    before = contents(run)
    with pytest.raises(UsageError, match=said):
        taken_by(run, head(tmp_path / "head.keras", **shape), Told())
    assert contents(run) == before


def test_what_a_frame_model_has_to_be_told_a_head_must_not(run: Path, tmp_path: Path) -> None:
    source = head(tmp_path / "head.keras")
    for told in (Told(labels=LABELS), ZERO_TO_ONE):
        with pytest.raises(UsageError, match="are for a frame model, and this is a head"):
            taken_by(run, source, told)


def test_a_head_wants_a_frame_model_first(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"frame\.keras"):
        taken_by(tmp_path / "run", head(tmp_path / "head.keras"), Told())


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("frame.json", "holds a frame model that was trained there"),
        ("head.keras", "holds a head for another frame model"),
    ],
)
def test_networks_of_another_run_are_left_alone(
    plain: Source, tmp_path: Path, there: str, said: str
) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(RunError, match=f"{said}.*; choose another --run"):
        taken_by(tmp_path, plain, ZERO_TO_ONE)
    assert contents(tmp_path) == {there: b"precious"}


def test_the_same_source_again_changes_no_file(plain: Source, run: Path) -> None:
    before = contents(run)
    adopt.adopt(run, plain, taken_by(run, plain, ZERO_TO_ONE))
    assert contents(run) == before


def test_a_source_that_cannot_be_written_whole_is_not_written_at_all(
    plain: Source, tmp_path: Path
) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    broken: Any = SimpleNamespace(save=full)
    source = dataclasses.replace(plain, head=broken)
    with pytest.raises(RunError, match=r"head\.keras: cannot write it \(No space left"):
        adopt.adopt(tmp_path, source, Interface(size=16))
    assert not contents(tmp_path)
