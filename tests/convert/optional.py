"""What a newcomer may lack and CI may not."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def needed(name: str) -> Any:  # noqa: ANN401  # a module
    """Import a module; without it skip the test, but fail it in CI."""
    if os.environ.get("CI") == "true":
        return importlib.import_module(name)
    return pytest.importorskip(name)
