"""`mien-convert evaluate`, from the command line to what it leaves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from two_labels import NAMES, frame_file, write_archive
from votes import with_votes

from convert.__main__ import main


@pytest.fixture
def model(tmp_path: Path) -> str:
    file = tmp_path / "it.tflite"
    file.write_bytes(frame_file(dtype="int8"))
    return str(file)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as they lie in the folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write_archive(tmp_path / "shades.npz"))


@pytest.fixture
def asked(model: str, data: str) -> list[str]:
    return ["evaluate", model, "--data", data, "--labels", ",".join(NAMES)]


def test_tables_go_to_stdout(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "it.tflite: a .tflite file" in said
    assert "shades, val: 4 pictures" in said
    assert "| mean squared error" in said
    assert "| dark " in said


def test_what_most_votes_name_is_held_against_published_results_too(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "voted"
    shutil.copytree(data_folder, folder)
    with_votes(folder, [[0, 0, 0, 9, 0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 1, 8, 0, 0]])
    assert main(["evaluate", "mien-consensus", "--data", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["name"].endswith(", consensus")
    assert (found["published"]["n"], found["published"]["contempt"]) == (35, 17)


def test_json_is_the_whole_of_stdout(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*asked, "--json", "--split", "all"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "mien-evaluation/1"
    assert found["scores"]["int8"]["accuracy"] == 1
    assert found["data"]["counts"] == {"dark": 8, "light": 8}


def test_a_page_is_left_where_it_is_asked_for(asked: list[str], tmp_path: Path) -> None:
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    assert "it.tflite" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["model"] == "it.tflite"


@pytest.mark.parametrize("target", ["it.tflite", "mien-fer2013"])
def test_what_the_device_runs_is_measured_without_tensorflow(
    target: str, model: str, data: str, data_folder: Path, tmp_path: Path
) -> None:
    arguments = (
        [model, "--data", data, "--labels", ",".join(NAMES)]
        if target == "it.tflite"
        else [target, "--data", str(data_folder)]
    )
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'torch', 'onnx'): sys.modules[name] = None\n"
        "from convert import answers\n"
        "answers.STREAMS = 60\n"
        "from convert.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", *arguments, "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name a MODEL, or a run folder as --run DIR; one of the two"),
        (["it", "--run", "run"], "one of the two"),
        (["it", "--through-crop"], "--through-crop goes with a run folder alone"),
        (["mien-fer2013", "--labels", "a,a"], "name each once"),
        (["it:it", "--weights", "w", "--input-shape", "48"], "w: there is no such file"),
        (["it:it", "--input-shape", "1-48"], "write it like 1x48x48"),
        (["--run", "run", "--split", "train"], "a run folder is measured on val"),
        (["--run", "run", "--mean", "1"], "says by itself what it takes"),
        (["--run", "run", "--out", "run"], "is the run folder; name another"),
        (["it", "--out", "it.tflite"], "is a file; name a folder"),
    ],
)
@pytest.mark.usefixtures("model", "inside")
def test_wrong_usage_is_one_line_and_exits_2(
    options: list[str], said: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *options, "--data", data]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("mien-convert: ")
    assert said in error[0]


def test_a_file_that_is_no_frame_model_exits_1(
    asked: list[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(model).write_bytes(b"no")
    assert main(asked) == 1
    assert "not a TFLite file" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["--run", "as the model"])
def test_a_run_folder_keeps_its_record_and_gets_its_page(
    named: str, finished: Path, data_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "evaluation.json").unlink()
    which = ["--run", str(run)] if named == "--run" else [str(run)]
    out = tmp_path / "out"
    assert main(["evaluate", *which, "--data", str(data_folder), "--out", str(out)]) == 0
    assert json.loads((run / "evaluation.json").read_text())["quantised"]["n"] == 35
    assert list(json.loads((out / "evaluation.json").read_text())["scores"]) == ["float", "int8"]
    said = capsys.readouterr().out
    assert "| float |" in said
    assert "| int8  |" in said
