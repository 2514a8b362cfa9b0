"""What a process leaves on disk for the next to avoid: an Edge TPU that hangs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import final

import msgspec

_log = logging.getLogger(__name__)

NOTE = "edgetpu.json"


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a process leaves to the next: how often it hung since it last worked, and how."""

    hangs: int = 0
    reason: str = ""


@final
class Notes:
    """The note on disk.

    Parameters
    ----------
    file
        Where it is kept; None keeps it for as long as the process lives.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._note = self._read()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notes:
        """Return those in the state directory that systemd gives."""
        folder = environ.get("STATE_DIRECTORY", "").split(":")[0]
        return cls(Path(folder) / NOTE if folder else None)

    @property
    def note(self) -> Note:
        """What is noted now; one without hangs says nothing."""
        return self._note

    def leave(self, note: Note) -> None:
        """Replace the note; a disk that fails is logged, since nothing else can be done then."""
        self._note = note
        if self._file is None:
            return
        try:
            if note.hangs == 0:
                self._file.unlink(missing_ok=True)
                return
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(note))
            fresh.replace(self._file)
        except OSError as exc:
            _log.warning("edgetpu: %s: cannot be written: %s", self._file, exc.strerror)

    def _read(self) -> Note:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Note) if self._file else Note()
        except (OSError, msgspec.DecodeError):
            # None, or damaged: what it said costs one more attempt to find out.
            return Note()
