"""`mien-convert robustness`, from the command line to what it leaves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from two_labels import NAMES, frame_file, write_archive
from votes import with_votes

from convert import data
from convert.__main__ import main
from convert.robustness_command import parse_model
from convert.subjects import Given

ROOT = Path(__file__).parents[2]
LABELS = f"labels={','.join(NAMES)}"


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as they lie in the folder of the test."""
    (tmp_path / "it.tflite").write_bytes(frame_file(dtype="int8"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "frame.json").write_text("{}")
    write_archive(tmp_path / "shades.npz")
    monkeypatch.chdir(tmp_path)


def test_tables_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    models = [f"it.tflite?{LABELS}", f"it.tflite?{LABELS}&name=black&mean=255&std=1"]
    assert main(["robustness", *models, "--data", "shades.npz"]) == 0
    said = capsys.readouterr().out
    assert "shades, val: 4 faces, spoilt at 48 x 48" in said
    assert "it.tflite |" in said
    assert "| it.tflite minus |" in said
    assert "it.tflite against black: over all spoilt faces" in said


def test_json_is_the_whole_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--json", "--split", "all", "--size", "16", "--tiles", "10"]
    assert main(["robustness", f"it.tflite?{LABELS}", "--data", "shades.npz", *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "mien-robustness/1"
    assert found["size"] == 16
    assert sum(found["data"]["counts"].values()) == 10
    assert found["rows"][0]["shares"]["it.tflite"]["accuracy"] == 1


def test_what_is_right_may_be_what_most_votes_name(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "voted"
    shutil.copytree(data_folder, folder)
    with_votes(folder, [[0, 0, 0, 9, 0, 0, 1, 0, 0, 0], [0, 0, 0, 5, 0, 0, 5, 0, 0, 0]])
    words = ["robustness", "mien-consensus", "--data", str(folder), "--policy", "consensus"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["name"] == "voted, consensus"
    assert found["data"]["counts"] == dict.fromkeys(data.LABELS, 0) | {"happy": 18}


def test_files_are_left_where_they_are_asked_for(data_folder: Path, tmp_path: Path) -> None:
    """A bundle and a file, by the device's own code, where TensorFlow is not to be had."""
    labels = "labels=angry,happy"
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'torch', 'onnx'): sys.modules[name] = None\n"
        "from convert.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "robustness",
         "mien-fer2013", f"{tmp_path}/it.tflite?{labels}", "--data", str(data_folder),
         "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "robustness.json", "robustness.md", "robustness.png"
    ]  # fmt: skip
    record = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert record["data"]["counts"] == {"angry": 5, "happy": 5}


def test_a_float_model_is_measured_too(capsys: pytest.CaptureFixture[str]) -> None:
    keras = pytest.importorskip("keras")
    face = keras.Input((8, 8, 1))
    mean = keras.layers.GlobalAveragePooling2D()(face)
    scores = keras.layers.Dense(2)
    network = keras.Model(face, scores(mean))
    scores.set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    network.save("net.keras")
    models = [f"it.tflite?{LABELS}", f"net.keras?{LABELS}&mean=127.5&std=127.5"]
    assert main(["robustness", *models, "--data", "shades.npz", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["shares"]["net.keras"]["accuracy"] == 1
    assert found["models"][1]["facts"]["tile"] == "8 x 8, luma, (pixel - 127.5) / 127.5"


@pytest.mark.parametrize(
    ("text", "model", "name", "given"),
    [
        ("mien-fer2013", "mien-fer2013", None, Given(spelling="?{}=")),
        (
            "a/b.h5?mean=0&std=255&name=their+own",
            "a/b.h5", "their+own", Given(mean=0, std=255, spelling="?{}="),
        ),
        (
            "my.nets:net?weights=a+b.pt&input-shape=1x48x48&labels=x, y",
            "my.nets:net", None,
            Given(weights=Path("a+b.pt"), input_shape=(1, 48, 48), labels=("x", "y"),
                  spelling="?{}="),
        ),
    ],
)  # fmt: skip
def test_what_is_told_of_a_model_stands_behind_it(
    text: str, model: str, name: str | None, given: Given
) -> None:
    assert parse_model(text) == (model, name, given)


def test_a_file_with_a_question_mark_in_its_name_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "why?mean=1").write_text("")
    assert parse_model("why?mean=1") == ("why?mean=1", None, Given(spelling="?{}="))


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (["none"], "none: no such file or folder, and no bundle of that name"),
        (["run"], "run: is a run folder, .* RUN/frame.tflite"),
        (["it.tflite"], "name its labels in their order: ?labels=A,B,…"),
        (["mien-fer2013?mean=1"], "?mean: mien-fer2013 is a bundle, which says that itself"),
        (["it.tflite?" + LABELS + "&std=0"], "?mean=128 ?std=0: give a number, and one above zero"),
        (
            ["it?weight=w"],
            "weight is not known; what can be told of a model, once each, is name, l",
        ),
        (["it?mean=1&mean=2"], "mean is given twice"),
        (["it?mean=grey"], "mean=grey should be a number"),
        (["it?labels=a,a"], "labels=a,a should be A,B,C: each once"),
        (["it?input-shape=1x0x8"], "input-shape=1x0x8 should be CxHxW"),
        (["it?weights="], "weights= should be a file"),
        (["it?"], "nothing is told behind the question mark"),
        ([f"it.tflite?{LABELS}"] * 2, "two models are called it.tflite"),
        ([f"it.tflite?{LABELS}", "mien-fer2013"], "have not two labels in common"),
        ([f"it.tflite?{LABELS}", "--out", "it.tflite"], "is a file; name a folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    models: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["robustness", *models, "--data", "shades.npz"]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("mien-convert: ")
    for part in said.split(" .* "):
        assert part in error[0]


@pytest.mark.parametrize("options", [["--size", "15"], ["--tiles", "0"], ["--split", "test"]])
def test_options_out_of_range_exit_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["robustness", "mien-fer2013", "--data", "shades.npz", *options])
    assert exit_.value.code == 2
