"""Where events go besides the network: a stream of JSON lines."""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import Protocol

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
        # Unbuffered: an event is with the operating system when `send` returns, and one that
        # could not be written is not tried again at exit.
        self._stream = FileIO(1, "w", closefd=False) if target == "-" else _appended(target)

    def send(self, event: Event) -> None:
        """Write one event and hand it to the operating system."""
        try:
            line = msgspec.json.encode(event) + b"\n"
            while line:
                line = line[self._stream.write(line) :]
        except OSError as exc:
            name = "standard output" if self._target == "-" else self._target
            raise MienError(f"events cannot be written to {name}: {exc.strerror}") from exc

    def close(self) -> None:
        """Close the file; standard output is left open."""
        self._stream.close()


def _appended(target: str) -> FileIO:
    try:
        return Path(target).open("ab", buffering=0)
    except OSError as exc:
        raise MienError(
            f"events cannot be written to {target}: {exc.strerror}; name a file in a folder "
            "that exists and may be written, or - for standard output"
        ) from exc
