"""An outbox on disk: what the broker has not acknowledged outlives the process and the power.

`append` returns when its event is with the kernel, so that SIGKILL loses nothing; the disk is
synchronised at once and then at most every second, so that a power cut loses a second at most.

Two threads of the spool's own touch the disk: one writes and reads, one synchronises. `append`
waits for them `PATIENCE_S` at most; while they are behind it waits only where memory is full, and
after `SLOW_S` of that never. Where the disk takes nothing (full, read-only, hanging, another's),
events wait in memory, as many as `memory`, and `troubles` says so; it is tried again every
`RETRY_S`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import final

import msgspec

from edge import spoolage
from edge.datatypes import Event
from edge.ledger import BEFORE_ALL, Ledger, Waiting
from edge.outbox import Held, MemoryOutbox, Outbox, Trouble
from edge.settings import Settings
from edge.spoolfile import Claim, DamagedError, Row, SpoolFile, UnusableError, set_aside
from edge.spoolsync import Synchroniser

_log = logging.getLogger(__name__)

PATIENCE_S = 0.1
"""How long `append` waits for an event to be with the kernel; it mostly takes a ten-thousandth."""

RETRY_S = 30.0
"""From one attempt to use a disk that failed to the next."""

OPEN_S = 2.0
"""How long the start waits for the disk; a slower one is used as soon as it is there."""

CLOSE_S = 1.5
"""How long `close` waits for the disk."""

SLOW_S = 5.0
"""A disk that has been behind for so long is a problem."""

_READ_S = 0.05
"""How long `take` waits for events that are on disk alone."""

_EXPIRE_S = 60.0
_TURN_S = 1.0
_WINDOW = 500
_BATCH = 256


def outbox(settings: Settings, environ: Mapping[str, str] = os.environ) -> Outbox:
    """Return where events wait, as the settings say: on disk, or in memory.

    Parameters
    ----------
    settings
        Without `spool.path`, `spool` below the first of `STATE_DIRECTORY` is used, which systemd
        gives; without that, memory.
    environ
        The environment.
    """
    wanted, memory = settings.spool, settings.mqtt.queue
    folder = folder_of(settings, environ)
    if folder is None:
        _log.info("spool: none; events that wait for the broker are lost with the process")
        return MemoryOutbox(memory)
    return Spool(
        folder,
        most_bytes=wanted.most_mb * 1_000_000,
        most_age_s=wanted.most_hours * 3600.0,
        memory=memory,
    )


def folder_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that `outbox` would keep events in, or None where that is memory."""
    folder = settings.spool.path
    if folder is None and environ.get("STATE_DIRECTORY"):
        folder = f"{environ['STATE_DIRECTORY'].split(':')[0]}/spool"
    return Path(folder) if folder is not None and settings.spool.enabled else None


@final
class Spool:
    """An outbox on disk, and in memory while the disk fails. What it drops is the oldest.

    Parameters
    ----------
    folder
        Where its files are; made if need be. One process at a time uses it.
    most_bytes, most_age_s
        What the events on disk may take, and how old they may become.
    memory
        How many events wait in memory while the disk takes none.
    window
        How many of the oldest events on disk are in memory too, to be sent next.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int,
        most_age_s: float,
        memory: int,
        window: int = _WINDOW,
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_age_s = most_age_s
        self._boot = spoolage.boot()
        self._ledger = Ledger(memory, window)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._done = threading.Condition(self._lock)
        self._claim: Claim | None = None
        self._file: SpoolFile | None = None
        self._tried = self._ready = self._closing = self._closed = False
        self._behind_since_s: float | None = None
        self._behind_said = False
        self._base: int | None = None
        self._retry_s = self._expire_s = 0.0
        self._failure: Trouble | None = None
        self._damage: Trouble | None = None
        self._sync_error: UnusableError | DamagedError | None = None
        self._synchroniser = Synchroniser(self._unsynchronised)
        self._thread = threading.Thread(target=self._write_on, name="spool", daemon=True)
        self._thread.start()
        with self._lock:
            self._done.wait_for(lambda: self._tried, OPEN_S)

    @property
    def depth(self) -> int:
        """How many events are neither acknowledged nor dropped."""
        with self._lock:
            return self._ledger.depth

    @property
    def dropped(self) -> int:
        """How many events were given up: too many, too old, or on a disk that lost them."""
        return self._ledger.dropped

    @property
    def last(self) -> int:
        """The number of the newest event appended; 0 before the first."""
        return self._ledger.last

    @property
    def unsaved(self) -> int:
        """How many of the events in it would be lost with the process."""
        return self._ledger.unwritten

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What is the matter with the disk now."""
        with self._lock:
            slow = self._slowness()
            return tuple(each for each in (self._failure, slow, self._damage) if each)

    def append(self, event: Event) -> None:
        """Take an event in; it outlives the process unless the disk fails or is behind."""
        with self._lock:
            number = self._ledger.append(event, monotonic())
            self._work.notify()
            if not self._ready:
                return
            if self._behind_since_s is None:
                if not self._waited(lambda: not self._ledger.is_unwritten(number)):
                    self._behind_since_s = monotonic()
            elif (slow := self._slowness()) is None:
                # Rather late than lost: the next event would push out one that is nowhere else.
                self._waited(lambda: not self._ledger.full)
            elif not self._behind_said:
                self._behind_said = True
                _log.warning("spool: %s", slow.text)

    def _waited(self, happened: Callable[[], bool]) -> bool:
        """Wait for the disk, but not for long nor where it fails; False where it was too slow."""
        return self._done.wait_for(lambda: not self._ready or happened(), PATIENCE_S)

    def take(self, most: int) -> list[Held]:
        """Return the oldest events that were not taken yet, in order, `most` at most."""
        with self._lock:
            if self._closed:
                return []
            taken = self._ledger.take(most)
            if self._ledger.wanted is not None and self._file is not None:
                self._work.notify()
                if not taken and most:
                    self._done.wait_for(lambda: self._ledger.wanted is None, _READ_S)
                    taken = self._ledger.take(most)
            return taken

    def acknowledge(self, number: int) -> None:
        """Forget an event that arrived; it leaves the disk with the next write."""
        with self._lock:
            self._ledger.acknowledge(number)
            # It may have arrived before it was written: then that is not waited for.
            self._done.notify_all()

    def release(self) -> None:
        """Let all that was taken and not acknowledged be taken again, in order."""
        with self._lock:
            self._ledger.release()

    def close(self) -> None:
        """Write and synchronise what there is, for `CLOSE_S` at most, and let the folder go."""
        with self._lock:
            self._closing = True
            self._work.notify_all()
        self._thread.join(CLOSE_S)

    def _slowness(self) -> Trouble | None:
        since_s = self._behind_since_s
        if since_s is None or monotonic() - since_s < SLOW_S:
            return None
        return Trouble(
            "spool-slow",
            f"{self._folder}: the disk has not caught up for {monotonic() - since_s:.0f} s; "
            "events wait in memory",
        )

    def _unsynchronised(self, error: UnusableError | DamagedError) -> None:
        """Let the writing thread deal with what its file's synchronisation met."""
        with self._lock:
            self._sync_error = error
            self._work.notify()

    # What follows runs on the writing thread.

    def _write_on(self) -> None:
        while True:
            with self._lock:
                self._work.wait_for(self._has_work, min(_TURN_S, RETRY_S))
                closing = self._closing
            self._turn()
            with self._lock:
                idle = not (self._ready and self._ledger.unwritten)
            if closing and idle:
                break
        with self._lock:
            self._ready, self._closed = False, True
        self._synchroniser.close()
        self._close_file()
        if self._claim is not None:
            self._claim.release()

    def _has_work(self) -> bool:
        if self._closing or not self._tried or (self._ready and self._ledger.unwritten):
            return True
        readable = self._file is not None and self._ledger.wanted is not None
        return readable or self._sync_error is not None

    def _turn(self) -> None:
        """Do what there is to do on disk; where that fails, go on in memory."""
        try:
            try:
                self._use()
            except DamagedError as exc:
                self._set_aside(exc)
                self._use()
        except UnusableError as exc:
            self._failed(exc)
        except DamagedError as exc:
            self._failed(UnusableError(f"{exc}, and so is a new one", "spool-failing"))
        with self._lock:
            self._tried = True
            self._done.notify_all()

    def _use(self) -> None:
        error, self._sync_error = self._sync_error, None
        if error is not None:
            raise error
        if not self._ready and monotonic() < self._retry_s:
            # What cannot be written to can mostly be read.
            with suppress(UnusableError):
                self._refill()
        else:
            if not self._ready:
                self._open()
            self._exchange()
            self._refill()
        self._expire()

    def _open(self) -> None:
        """Open the file, again where it failed, and find out what is in it."""
        if self._claim is None:
            self._claim = Claim(self._folder)
        self._close_file()
        opened = SpoolFile(self._folder, self._base)
        with self._lock:
            self._file, self._base = opened, opened.base
            gone = self._ledger.gone
        opened.exchange((), gone, self._most_bytes)
        between = opened.resume(self._ledger.read_to, self._ledger.written_to)
        with self._lock:
            self._ledger.written((), gone)
            self._ledger.recount(between)
            self._ready = True
            recovered, self._failure = self._failure, None
        if recovered is not None:
            _log.info("spool: %s: the disk takes events again", self._folder)
        if between:
            _log.info("spool: %d events on disk wait for the broker", between)

    def _exchange(self) -> None:
        """Write the oldest of what is in memory alone, and delete what need not be there."""
        assert self._file is not None  # noqa: S101  # only a file that is open is ready
        with self._lock:
            batch, gone = self._ledger.batch(_BATCH), self._ledger.gone
        if not batch and not gone:
            return
        rows = [
            Row(number, self._boot, each.appended_s, msgspec.json.encode(each.event))
            for number, each in batch
        ]
        dropped = self._file.exchange(rows, gone, self._most_bytes)
        self._synchroniser.changed(self._file)
        with self._lock:
            self._ledger.written([row.number for row in rows], gone)
            self._ledger.given_up(dropped)
            if not self._ledger.unwritten:
                self._behind_since_s, said = None, self._behind_said
                self._behind_said = False
                if said:
                    _log.info("spool: %s: the disk has caught up", self._folder)
            self._done.notify_all()

    def _refill(self) -> None:
        """Read what is to be sent next."""
        with self._lock:
            wanted = self._ledger.wanted
        if wanted is None or self._file is None:
            return
        rows = self._file.oldest(*wanted)
        read = [(row.number, waiting) for row in rows if (waiting := self._waiting(row))]
        if len(read) < len(rows):
            good = {number for number, _ in read}
            self._give_up([row.number for row in rows if row.number not in good])
            _log.error("spool: %d events on disk are none", len(rows) - len(read))
        with self._lock:
            self._ledger.read(read)
            if not rows:
                self._ledger.recount(0)
            self._done.notify_all()

    def _waiting(self, row: Row) -> Waiting | None:
        """Return what is in a row, if it is an event."""
        try:
            event = msgspec.json.decode(row.event, type=Event)
        except msgspec.MsgspecError:
            return None
        return Waiting(event, monotonic() - spoolage.age_s(row, event, self._boot))

    def _give_up(self, numbers: list[int]) -> None:
        assert self._file is not None  # noqa: S101  # they come from there
        self._file.exchange((), numbers, self._most_bytes)
        with self._lock:
            self._ledger.given_up(numbers)

    def _expire(self) -> None:
        """Once a minute, drop what is too old."""
        now_s = monotonic()
        if now_s < self._expire_s:
            return
        self._expire_s = now_s + _EXPIRE_S
        oldest_s = now_s - self._most_age_s
        while self._ready and self._file is not None:
            rows = self._file.oldest(BEFORE_ALL, self._ledger.last, _BATCH)
            dated = [(row.number, self._waiting(row)) for row in rows]
            old = [number for number, each in dated if each and each.appended_s < oldest_s]
            if not old:
                break
            self._give_up(old)
        with self._lock:
            self._ledger.expire(oldest_s)

    def _failed(self, error: UnusableError) -> None:
        """Go on in memory, and try the disk again later."""
        self._retry_s = monotonic() + RETRY_S
        with self._lock:
            self._ledger.unwritable()
            self._ready, before = False, self._failure
            self._failure = Trouble(error.code, f"{error}; events wait in memory")
            self._behind_since_s = None
        if before is None or before.code != error.code:
            _log.error("spool: %s", self._failure.text)

    def _set_aside(self, error: DamagedError) -> None:
        """Rename a damaged file and begin a new one with what is in memory."""
        self._close_file()
        aside, deleted = set_aside(self._folder)
        with self._lock:
            before = self._ledger.dropped
            self._ledger.start_afresh()
            lost = self._ledger.dropped - before
            self._ready, self._retry_s = False, 0.0
            self._damage = Trouble(
                "spool-damaged", f"{error}; it was set aside as {aside.name}: look at the disk"
            )
        _log.error("spool: %s; %d events were in it alone", self._damage.text, lost)
        for file in deleted:
            _log.warning("spool: %s: deleted; newer damaged spools are kept", file)

    def _close_file(self) -> None:
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()
