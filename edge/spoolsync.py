"""Synchronises the disk at once and then at most every second, on a thread of its own.

On a card that takes half a second for it, nobody else waits for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import final

from edge.spoolfile import DamagedError, SpoolFile, UnusableError

SYNC_S = 1.0
"""From one synchronisation to the next, while there is something new."""


@final
class Synchroniser:
    """Lets what was committed survive the power.

    Parameters
    ----------
    failed
        Told, on the synchroniser's thread, what a synchronisation met.
    """

    def __init__(self, failed: Callable[[UnusableError | DamagedError], None]) -> None:
        self._failed = failed
        self._news = threading.Condition()
        self._file: SpoolFile | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="spool-sync", daemon=True)
        self._thread.start()

    def changed(self, file: SpoolFile) -> None:
        """Take in that something was committed to a file; returns at once."""
        with self._news:
            self._file = file
            self._news.notify()

    def close(self) -> None:
        """Synchronise no more; closing the file does it a last time."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._file is not None or self._closing)
                if self._closing:
                    return
                file, self._file = self._file, None
            begun_s = monotonic()
            try:
                if file is not None:
                    file.keep()
            except (UnusableError, DamagedError) as exc:
                self._failed(exc)
            with self._news:
                rest_s = max(begun_s + SYNC_S - monotonic(), 0.0)
                self._news.wait_for(lambda: self._closing, rest_s)
