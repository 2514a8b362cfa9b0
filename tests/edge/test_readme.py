"""What the README tells people to type, typed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edge.__main__ import parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BY_CI = {"run", "test"}
"""The two commands under a `<!-- command: NAME -->` are run by .ci/run, from a clean clone."""


def blocks(language: str) -> list[str]:
    """The commands of every fenced block of a language, one an entry."""
    found = re.findall(rf"(<!-- command: (\w+) -->\n)?```{language}\n(.*?)```", README, re.DOTALL)
    return [
        line.removeprefix("$ ")
        for _, name, text in found
        if name not in BY_CI
        for line in text.splitlines()
    ]


@pytest.mark.parametrize("command", blocks("sh"))
def test_a_command_that_can_be_run_here_is_run(command: str, tmp_path: Path) -> None:
    for name in ("edge", "firmware_configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    mien = f"{shlex.quote(sys.executable)} -m edge"
    done = subprocess.run(
        ["/bin/sh", "-c", re.sub(r"^mien ", f"{mien} ", command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", [line for line in blocks("console") if line.startswith("mien ")]
)
def test_a_command_that_needs_more_than_this_machine_is_at_least_one(command: str) -> None:
    parser().parse_args(shlex.split(command)[1:])


def test_both_commands_of_the_first_screen_are_there_for_ci() -> None:
    for name in BY_CI:
        match = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```", README)
        assert match is not None
        assert "\n" not in match[1]


def test_every_file_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
