"""What the documents tell people to type is what mien-flash takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from firmware_configs.__main__ import parser

ROOT = Path(__file__).parents[2]


def commands(document: str) -> list[str]:
    """The mien-flash commands in a document's console blocks, each on one line."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ mien-flash ")]


@pytest.mark.parametrize("command", [*commands("README.md"), *commands("docs/flash.md")])
def test_a_command_is_one(command: str) -> None:
    parser().parse_args(shlex.split(command, comments=True)[1:])


def test_the_readme_goes_from_a_bare_card_to_events_in_ten_lines() -> None:
    text = (ROOT / "README.md").read_text().partition("### From a bare card to events")[2]
    block = text.partition("```console\n")[2].partition("```")[0]
    assert len(block.splitlines()) <= 10
    assert "not tried on a Pi" in " ".join(text[:600].replace("**", "").split())


def test_every_option_of_render_is_explained() -> None:
    text = (ROOT / "docs/flash.md").read_text()
    (render,) = [
        action.choices["render"]
        for action in parser()._actions  # noqa: SLF001  # argparse offers no other way
        if isinstance(action.choices, dict)
    ]
    for action in render._actions:  # noqa: SLF001  # see above
        for option in action.option_strings:
            assert option in text or option in {"-h", "--help"}, option


def test_every_link_of_the_document_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "docs/flash.md").read_text()):
        assert (ROOT / "docs" / target).exists(), target
