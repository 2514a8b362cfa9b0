"""The file in which events outlive the process: SQLite with a write-ahead log, in its own folder.

A commit hands an event to the kernel and waits for no disk: what was committed survives the
process, and `sync` makes it survive the power. Moving the log into the database (a checkpoint)
waits for the disk, so `keep` does both on a thread of its own, over a connection of its own.
https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from edge.errors import MienError

NAME = "events.db"
LOCK = "lock"

_VERSION = 1
_APPLICATION = 0x4D69656E
"""`Mien`: what file(1) and we know the file by."""

_TABLE = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    boot BLOB NOT NULL,
    appended_s REAL NOT NULL,
    event BLOB NOT NULL
)"""

_LOG_SHORT = 1 << 20
_LOG_LONG = 16 << 20
"""From the shorter length on the log is moved when there is time, from the longer at once."""

_STEP = 8
"""Rows deleted at a time while there are too many bytes: about a page of them."""

_KEPT_ASIDE = 3
"""Damaged spools that are kept for a person to look at: a dying card makes many."""


@dataclass(frozen=True, slots=True)
class Row:
    """An event on disk.

    `boot` names the kernel's boot on whose monotonic clock `appended_s` is; `event` is JSON.
    """

    number: int
    boot: bytes
    appended_s: float
    event: bytes


class UnusableError(MienError):
    """The spool cannot be used now. It may be later: nothing on disk is wrong.

    `code` is that of the problem in the health report.
    """

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class DamagedError(MienError):
    """What is in the file is no spool of ours; it will not become one by waiting."""


_UNUSABLE = {
    "database or disk is full": ("spool-full", "no space is left on the disk"),
    "attempt to write a readonly database": ("spool-read-only", "the disk is read-only"),
    "disk I/O error": ("spool-failing", "the disk does not take it: too large or failing"),
    "unable to open database file": ("spool-failing", "the disk does not let us open it"),
    "database is locked": ("spool-in-use", "another program reads or writes it"),
}
"""SQLite's words for what is the matter with the disk, as sqlite3ErrStr has them (Python 3.10 does
not tell the code), and ours. Whatever else it says is about the file's content."""

_CODES = {
    errno.EROFS: "spool-read-only",
    errno.EACCES: "spool-read-only",
    errno.EPERM: "spool-read-only",
    errno.ENOSPC: "spool-full",
    errno.EDQUOT: "spool-full",
}


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Tell what the disk or SQLite complains of as one of our errors."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as exc:
        known = _UNUSABLE.get(str(exc))
        if known is None:
            raise DamagedError(f"{folder / NAME}: {exc}") from exc
        raise UnusableError(f"{folder}: {known[1]}", known[0]) from exc
    except OSError as exc:
        code = _CODES.get(exc.errno or 0, "spool-failing")
        raise UnusableError(f"{folder}: {exc.strerror}", code) from exc


@final
class Claim:
    """A folder, claimed by this process for as long as it lives.

    The kernel ends the claim with the process, however that ends.

    Raises
    ------
    UnusableError
        Another process has it, or the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        with _told(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise UnusableError(
                f"{folder}: process {holder or 'of another user'} has this spool; stop it, or "
                "give this one another folder ([spool] path)",
                "spool-in-use",
            ) from exc
        # On a full disk the claim holds all the same, it only does not tell whose it is.
        with suppress(OSError):
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


@final
class SpoolFile:
    """The events on disk. `keep` is for one thread, everything else for another.

    Numbers are the caller's: a row's key is its number and `base`.

    Parameters
    ----------
    folder
        Claimed by this process.
    base
        What is added to numbers; by default so much that what is there has numbers up to 0.

    Raises
    ------
    UnusableError, DamagedError
        It cannot be opened.
    """

    def __init__(self, folder: Path, base: int | None = None) -> None:
        self._folder = folder
        self._closing = threading.Lock()
        self._closed = False
        with _told(folder), ExitStack() as stack:
            self._writer = self._connected(stack)
            self._prepare()
            newest = self._number("SELECT max(number) FROM events") or 0
            self._page_bytes = self._number("PRAGMA page_size")
            self._keeper = self._connected(stack)
            self._log = os.open(folder / f"{NAME}-wal", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, self._log)
            _sync_folder(folder)
            self._opened = stack.pop_all()
        self.base = newest if base is None else base

    def resume(self, read_to: int, written_to: int) -> int:
        """Go on where a file that failed left off.

        What is newer than `written_to` is in memory and will be written again, though the disk
        may have taken it before it failed.

        Returns
        -------
        int
            How many events are newer than `read_to`.
        """
        with _told(self._folder):
            with self._transaction():
                newest = (written_to + self.base,)
                self._writer.execute("DELETE FROM events WHERE number > ?", newest)
            return self._number("SELECT count(*) FROM events WHERE number > ?", read_to + self.base)

    def exchange(self, new: Sequence[Row], gone: Collection[int], most_bytes: int) -> list[int]:
        """Write and delete events at once, and drop the oldest while there are too many bytes.

        Returns
        -------
        list[int]
            Which were dropped.
        """
        with _told(self._folder):
            with self._transaction():
                self._writer.executemany(
                    "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)",
                    ((row.number + self.base, row.boot, row.appended_s, row.event) for row in new),
                )
                self._delete(gone)
                dropped = self._drop_beyond(most_bytes)
            if os.fstat(self._log).st_size > _LOG_LONG:
                # Nobody writes meanwhile, so that all of it is moved and the log begins anew.
                self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        return dropped

    def oldest(self, after: int, up_to: int, most: int) -> list[Row]:
        """Return the oldest events with a number above `after` and not above `up_to`."""
        with _told(self._folder):
            found = self._writer.execute(
                "SELECT number, boot, appended_s, event FROM events "
                "WHERE number > ? AND number <= ? ORDER BY number LIMIT ?",
                (after + self.base, up_to + self.base, most),
            ).fetchall()
        return [Row(number - self.base, *rest) for number, *rest in found]

    def keep(self) -> None:
        """Let all that was committed survive the power, and the log stay short."""
        with self._closing, _told(self._folder):
            if self._closed:
                return
            os.fdatasync(self._log)
            if os.fstat(self._log).st_size > _LOG_SHORT:
                self._keeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Move the log into the database, let that survive the power, and close."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            with suppress(sqlite3.Error, OSError):
                self._opened.close()

    def _connected(self, stack: ExitStack) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._folder / NAME, isolation_level=None, check_same_thread=False, timeout=1.0
        )
        stack.callback(connection.close)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # The log's file is cut when it begins anew, so that its size says how much is in it.
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_SHORT}")
        return connection

    def _prepare(self) -> None:
        """Make a file that is empty into a spool; see that any other is one, whole."""
        version = self._number("PRAGMA user_version")
        empty = version == 0 and not self._number("SELECT count(*) FROM sqlite_master")
        ours = self._number("PRAGMA application_id") == _APPLICATION and version == _VERSION
        if not (empty or ours):
            raise DamagedError(
                f"{self._folder / NAME}: not of the kind that this version of mien writes"
            )
        (mode,) = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            text = f"{self._folder}: the file system takes no write-ahead log"
            raise UnusableError(text, "spool-failing")
        if empty:
            with self._transaction():
                self._writer.execute(_TABLE)
                self._writer.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._writer.execute(f"PRAGMA user_version = {_VERSION}")
        (verdict,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DamagedError(f"{self._folder / NAME}: {verdict}")
        # There is a log to sync from the first commit on; this one also proves that one can write.
        self._writer.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            # A full disk has rolled it back already.
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise

    def _drop_beyond(self, most_bytes: int) -> list[int]:
        dropped: list[int] = []
        while self._used_bytes() > most_bytes:
            oldest = self._writer.execute(
                "SELECT number FROM events ORDER BY number LIMIT ?", (_STEP,)
            ).fetchall()
            if not oldest:
                break
            numbers = [number - self.base for (number,) in oldest]
            self._delete(numbers)
            dropped += numbers
        return dropped

    def _delete(self, numbers: Collection[int]) -> None:
        self._writer.executemany(
            "DELETE FROM events WHERE number = ?", ((number + self.base,) for number in numbers)
        )

    def _used_bytes(self) -> int:
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._page_bytes

    def _number(self, query: str, *values: int) -> int:
        found: int = self._writer.execute(query, values).fetchone()[0]
        return found


def set_aside(folder: Path) -> tuple[Path, list[Path]]:
    """Rename a damaged spool, so that a new one can take its place.

    Returns
    -------
    Path, list[Path]
        Its new name, and older damaged spools that were deleted: the newest few are kept.

    Raises
    ------
    UnusableError
        The disk does not let us.
    """
    with _told(folder):
        numbered = {file.stem.partition("-")[2]: file for file in folder.glob("damaged-*.db")}
        known = {int(number): file for number, file in numbered.items() if number.isdecimal()}
        aside = folder / f"damaged-{max(known, default=0) + 1}.db"
        # The database last: an old log beside a new database would be taken for the new one's.
        for end in ("-shm", "-wal", ""):
            with suppress(FileNotFoundError):
                (folder / f"{NAME}{end}").rename(f"{aside}{end}")
        surplus = [
            known[number] for number in sorted(known)[: max(len(known) + 1 - _KEPT_ASIDE, 0)]
        ]
        for file in surplus:
            for end in ("", "-wal", "-shm"):
                Path(f"{file}{end}").unlink(missing_ok=True)
    return aside, surplus


def _sync_folder(folder: Path) -> None:
    """Let the files' names survive the power too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
