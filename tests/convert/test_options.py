"""Checks of options that several commands share."""

from __future__ import annotations

import argparse
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


def test_a_bundle_is_named_or_lies_in_a_folder(tmp_path: Path) -> None:
    options.check_bundle("mien-consensus")
    (tmp_path / "manifest.json").touch()
    options.check_bundle(str(tmp_path))
    with pytest.raises(UsageError, match=r"none: is no bundle, .*\(blazeface-full, "):
        options.check_bundle("none")


def test_a_whole_number_has_a_least() -> None:
    assert options.whole(1)("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="0 is less than 1"):
        options.whole(1)("0")
    with pytest.raises(ValueError, match="invalid literal"):
        options.whole(1)("1.5")


def test_a_share_is_less_than_all() -> None:
    assert options.share("0") == 0
    assert options.share("0.5") == 0.5
    for wrong in ("1", "-0.1", "nan"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not from 0 to less than 1"):
            options.share(wrong)
