"""The JSON Schemas of everything Mien reads or writes, generated from the types themselves.

The files in `edge/schemas/` are what `mien schema NAME` prints; a test fails where they differ.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import msgspec

from edge.bundle import Manifest
from edge.commands import Command
from edge.datatypes import Event
from edge.errors import UsageError
from edge.payloads import CameraState, CameraStatus, Health, Info, Result, SelfTest
from edge.settings import Settings

_TYPES: dict[str, tuple[Any, str]] = {
    "bundle": (Manifest, "manifest.json of a Mien bundle"),
    "command": (Command, "Payload of <prefix>/cmd/<command>"),
    "config": (Settings, "mien.toml"),
    "event": (Event, "Payload of <prefix>/camera/<camera>/event"),
    "health": (Health, "Payload of <prefix>/health"),
    "info": (Info, "Payload of <prefix>/info"),
    "result": (Result, "Payload of <prefix>/cmd/result"),
    "selftest": (SelfTest, "Payload of <prefix>/selftest"),
    "state": (CameraState, "Payload of <prefix>/camera/<camera>/state"),
    "status": (CameraStatus, "Payload of <prefix>/camera/<camera>/status"),
}


def names() -> list[str]:
    """Return the names that `text` knows."""
    return sorted(_TYPES)


def text(name: str) -> str:
    """Return a JSON Schema (draft 2020-12), indented, with a final newline.

    Raises
    ------
    UsageError
        There is no schema of that name.
    """
    if name not in _TYPES:
        raise UsageError(f"schema {name!r}: there is none; the schemas are {', '.join(names())}")
    kind, title = _TYPES[name]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_tidied(msgspec.json.schema(kind)),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _tidied(schema: Any) -> Any:  # noqa: ANN401  # JSON has no better type
    """Take the source's indentation out of descriptions, which are docstrings."""
    if isinstance(schema, dict):
        return {
            key: inspect.cleandoc(value)
            if key == "description" and isinstance(value, str)
            else _tidied(value)
            for key, value in schema.items()
        }
    return [_tidied(each) for each in schema] if isinstance(schema, list) else schema
