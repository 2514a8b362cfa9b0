"""The AsyncAPI document is one, by the parser of those who make AsyncAPI."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from npm import installed

from edge import asyncapi, schema

pytestmark = pytest.mark.system


def read(document: str, folder: Path) -> dict[str, Any]:
    """What the parser says of a document."""
    node, programs = installed()
    file = folder / "asyncapi.json"
    file.write_text(document)
    done = subprocess.run(
        [node, programs / "asyncapi.mjs", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_parser_has_nothing_to_complain_of(tmp_path: Path) -> None:
    found = read(schema.text("asyncapi"), tmp_path)
    assert found["complaints"] == []
    assert len(found["channels"]) == len(asyncapi.CHANNELS)
    assert (found["sent"], found["received"]) == (len(asyncapi.CHANNELS) - 1, 1)


def test_the_parser_would_complain(tmp_path: Path) -> None:
    broken = asyncapi.document()
    del broken["channels"]["event"]["address"]
    broken["operations"]["send-event"]["action"] = "shout"
    found = read(json.dumps(broken), tmp_path)
    assert any("send-event" in each for each in found["complaints"])
