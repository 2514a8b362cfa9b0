"""The schemas in the package are those of the types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge import schema
from edge.errors import UsageError

FOLDER = Path(schema.__file__).parent / "schemas"


@pytest.mark.parametrize("name", schema.names())
def test_the_file_is_what_the_types_say(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == schema.text(name), (
        f"run: mien schema {name} > edge/schemas/{name}.json"
    )


@pytest.mark.parametrize("name", [name for name in schema.names() if name != schema.ASYNCAPI])
def test_the_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(schema.text(name)))


def test_no_schema_is_without_its_type() -> None:
    assert sorted(file.stem for file in FOLDER.glob("*.json")) == schema.names()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match="asyncapi, bundle, command, config, event"):
        schema.text("evnt")


def test_consumers_may_meet_keys_they_do_not_know() -> None:
    event = json.loads(schema.text("event"))["$defs"]["Event"]
    assert event.get("additionalProperties", True) is True
