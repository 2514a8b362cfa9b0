"""Records of a run folder: whole or not there, and refused when they are something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert import run
from convert.errors import RunError
from convert.run import TrainingRecord

RECORD = TrainingRecord(
    settings={"epochs": 2, "model": "kalambate"},
    data_sha256="0" * 64,
    tiles={"train": 3},
    toolchain={},
    machine="x",
    epochs=({"seconds": 1.5}, {"seconds": 2.0}),
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "frame.json"
    run.write_record(path, RECORD)
    assert run.read_record(path, TrainingRecord, made_by="train") == RECORD
    assert RECORD.seconds == 3.5
    assert [each.name for each in path.parent.iterdir()] == ["frame.json"]


@pytest.mark.parametrize("content", [b"", b"\x80", b"{}", b'{"unknown": 1}', b"[1"])
def test_a_damaged_record_names_the_command_that_mends_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frame.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"frame\.json: damaged .* mien-convert train again"):
        run.read_record(path, TrainingRecord, made_by="train")


def test_a_missing_record_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run mien-convert quantise first"):
        run.read_record(tmp_path / "quantised.json", TrainingRecord, made_by="quantise")


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "frame.keras"
    run.write_whole(path, b"before")

    def fail(beside: Path) -> None:
        beside.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"frame\.keras: cannot write it \(No space left"):
        run.write_whole(path, fail)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write it"):
        run.write_whole(tmp_path / "file" / "frame.json", b"")
