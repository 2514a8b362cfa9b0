"""Errors: one line each, whatever they quote."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.errors import MienError, one_line


@given(st.text(st.characters(codec=None), max_size=50), st.integers(0, 200))
def test_an_error_is_one_printable_line_of_bounded_length(text: str, times: int) -> None:
    said = str(MienError(text * times))
    assert said.isprintable()
    assert len(said) <= 1000


def test_an_ordinary_line_stays_as_it_is() -> None:
    assert str(MienError("bundle é: absent; copy it again")) == "bundle é: absent; copy it again"


def test_line_ends_and_terminal_codes_are_escaped() -> None:
    assert one_line("a\nb\x1b[2J\udcff") == r"a\nb\x1b[2J\udcff"


def test_what_is_too_long_keeps_its_beginning_and_its_end() -> None:
    said = one_line("bundle x: " + "y" * 5000 + "; package it again")
    assert said.startswith("bundle x: yyy")
    assert "yyy…yyy" in said
    assert said.endswith("; package it again")
