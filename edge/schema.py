"""The JSON Schemas of everything Mien reads or writes, and the AsyncAPI document of its topics.

All are generated from the types themselves.

The files in `edge/schemas/` are what `mien schema NAME` prints; a test fails where they differ.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import msgspec

from edge import asyncapi
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

ASYNCAPI = "asyncapi"
"""The name of the one document that is no JSON Schema."""


def names() -> list[str]:
    """Return the names that `text` knows."""
    return sorted([*_TYPES, ASYNCAPI])


def text(name: str) -> str:
    """Return a JSON Schema (draft 2020-12) or the AsyncAPI document, as indented JSON.

    Raises
    ------
    UsageError
        There is no schema of that name.
    """
    if name == ASYNCAPI:
        return _json(asyncapi.document())
    if name not in _TYPES:
        raise UsageError(f"schema {name!r}: there is none; there are {', '.join(names())}")
    kind, title = _TYPES[name]
    return _json(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            **msgspec.json.schema(kind),
        }
    )


def _json(document: dict[str, Any]) -> str:
    return json.dumps(_tidied(document), indent=2, ensure_ascii=False) + "\n"


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
