"""Where events go besides the network: a stream of JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol, TextIO

import msgspec

from edge.datatypes import Event
from edge.errors import MienError


class Sink(Protocol):
    """Something that takes events."""

    def send(self, event: Event) -> None:
        """Take one event. Must return at once."""
        ...

    def close(self) -> None:
        """Hand on what was taken, and release what is held."""
        ...


class JsonLines:
    """Writes one event a line, each at once.

    Parameters
    ----------
    target
        A path, which is appended to, or `-` for standard output.

    Raises
    ------
    MienError
        The file cannot be written, when made or later.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._stream = sys.stdout if target == "-" else _appended(target)

    def send(self, event: Event) -> None:
        """Write one event and hand it to the operating system."""
        try:
            self._stream.write(msgspec.json.encode(event).decode() + "\n")
            self._stream.flush()
        except OSError as exc:
            name = "standard output" if self._target == "-" else self._target
            raise MienError(f"events cannot be written to {name}: {exc.strerror}") from exc

    def close(self) -> None:
        """Close the file; standard output is left open."""
        if self._target != "-":
            self._stream.close()


def _appended(target: str) -> TextIO:
    try:
        return Path(target).open("a", encoding="utf-8")
    except OSError as exc:
        raise MienError(
            f"events cannot be written to {target}: {exc.strerror}; name a file in a folder "
            "that exists and may be written, or - for standard output"
        ) from exc
