"""`mien-convert filters`, from the command line to what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convert import filter_bench
from convert.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame rate and few filters, in the folder of the test."""
    monkeypatch.setattr(filter_bench, "CONDITIONS", ((10.0, 0.0),))
    monkeypatch.setattr(filter_bench, "STICKINESS", (1.0,))
    monkeypatch.setattr(filter_bench, "AVERAGES_S", (0.2, 0.8))
    monkeypatch.chdir(tmp_path)


def test_tables_go_to_stdout(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filters", "mien-fer2013", "--data", str(data_folder), "--count", "3"]) == 0
    said = capsys.readouterr().out
    assert "3 composed streams at each frame rate" in said
    assert "| mien-fer2013 " in said


def test_json_is_the_whole_of_stdout(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["filters", "mien-fer2013", "--data", str(data_folder), "--count", "3", "--json"]
    assert main([*words, "--seed", "7"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["count"], found["seed"]) == ("mien-filters/1", 3, 7)
    assert found["conditions"][0]["entries"][-1]["family"] == "head"


def test_files_are_left_where_they_are_asked_for(data_folder: Path, tmp_path: Path) -> None:
    """By the device's own code, where TensorFlow is not to be had."""
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'torch', 'onnx'): sys.modules[name] = None\n"
        "from convert import filter_bench\n"
        "filter_bench.CONDITIONS = ((10.0, 0.0), (10.0, 0.3))\n"
        "filter_bench.STICKINESS = (1.0,)\n"
        "from convert.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "filters", "mien-fer2013", "--data", str(data_folder),
         "--count", "3", "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "filters.json", "filters.md", "filters.png"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "none: is no bundle, and none of that name comes with Mien (blazeface-full, "),
        (["blazeface-short"], "it finds faces and names no expression"),
        (["it.tflite"], "it.tflite: is no bundle, and none of that name"),
        (["mien-fer2013", "--out", "it.tflite"], "--out it.tflite: is a file; name a folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str], said: str, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("it.tflite").write_text("")
    assert main(["filters", *words, "--data", str(data_folder)]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("mien-convert: ")
    assert said in error[0]


@pytest.mark.parametrize("options", [["--count", "0"], ["--seed", "-1"], ["--count", "many"]])
def test_options_out_of_range_exit_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["filters", "mien-fer2013", "--data", "none", *options])
    assert exit_.value.code == 2
