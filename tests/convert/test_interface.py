"""What the networks of a run folder take."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert import interface
from convert.errors import RunError
from convert.interface import Interface
from convert.run import TrainingRecord, write_record
from edge.bundle import CropSpec


def test_a_folder_that_says_nothing_has_networks_as_we_train_them(tmp_path: Path) -> None:
    taken = interface.read(tmp_path)
    assert (taken.size, taken.mean, taken.std, len(taken.labels)) == (48, 128, 128, 7)


def test_the_policy_is_that_of_the_training(tmp_path: Path) -> None:
    record = TrainingRecord(
        settings={"policy": "consensus"}, data_sha256="0" * 64, tiles={}, toolchain={}, machine=""
    )
    write_record(tmp_path / "frame.json", record)
    assert interface.read(tmp_path) == Interface(policy="consensus")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    taken = Interface(
        labels=("a", "b"), size=64, mean=0, std=255,
        crop=CropSpec(centre_line=0.5, face_length=0.6), step_hz=25,
    )  # fmt: skip
    write_record(tmp_path / interface.FILE, taken)
    assert interface.read(tmp_path) == taken


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / interface.FILE).write_text('{"size": "large"}')
    with pytest.raises(RunError, match=r"interface\.json: damaged .*run mien-convert quantise"):
        interface.read(tmp_path)


@pytest.mark.parametrize(("mean", "device"), [(128, 128), (0, 0), (127.5, 128), (129.2, 129)])
def test_the_device_subtracts_a_whole_number(mean: float, device: float) -> None:
    taken = Interface(mean=mean, std=127.5)
    assert taken.device_mean == taken.face_input().mean == device
    assert taken.face_input().std == 127.5
