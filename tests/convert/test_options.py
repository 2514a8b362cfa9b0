"""Checks of options that several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert import options
from edge.errors import UsageError


def test_out_may_be_a_folder_or_nothing_yet(tmp_path: Path) -> None:
    for out in (None, tmp_path, tmp_path / "new"):
        options.check_out(out)


def test_out_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.touch()
    with pytest.raises(UsageError, match="report: is a file; name a folder"):
        options.check_out(file)
