"""The command line of the workstation."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from convert.__main__ import main

COMMANDS = [
    "train", "train-head", "quantise", "framing", "evaluate", "robustness", "filters", "package",
    "sign",
]  # fmt: skip


def test_help_is_quick_and_names_every_command() -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "convert", "--help"], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - start < 2  # 0.1 s on an idle machine
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"mien-convert {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["tran"], ["train"], ["train", "--data", "d", "--run", "r", "--epochs", "0"]]
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


@pytest.mark.parametrize("command", ["train", "train-head", "quantise", "evaluate"])
def test_a_missing_data_folder_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow")
    assert main([command, "--data", str(tmp_path / "none"), "--run", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("mien-convert: ")
    assert "none: No such file or directory; give --data" in said
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_one_line_with_the_extra_that_has_it(tmp_path: Path) -> None:
    # A package of that name which is not there, whatever this environment has.
    program = (
        "import sys; sys.modules['tqdm'] = None\n"
        "from convert.__main__ import main\n"
        f"sys.exit(main(['framing', '--data', {str(tmp_path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "mien-convert: the package tqdm is missing; pip install 'mien[convert]'\n"
    )


def test_a_reader_who_has_read_enough_is_no_traceback() -> None:
    check = f"{sys.executable} -m convert check mien-fer2013 --json"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {check} | true"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
