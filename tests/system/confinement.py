"""What a traced program may do, and what of the things it did was more than that."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from syscalls import CHANGING, NEVER, OPENING, SENDING, WRITING, Call

_FOR_WRITING = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)\b")
_SOCKET = re.compile(r"socket\(AF_(INET6?), SOCK_(\w+).*= \d+<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the test expects; all else is a complaint.

    `folders` may be written in, `files` may be written, `addresses` may be connected to.
    `programs` are what may be started besides the first, each as the beginning of its arguments.
    """

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    programs: tuple[Sequence[str], ...] = ()

    def may_write(self, path: str) -> bool:
        """Whether a file of this path may be opened for writing, written or changed."""
        return path in self.files or any(
            path == folder or path.startswith(f"{folder}/") for folder in self.folders
        )


@dataclass(slots=True)
class _Known:
    """What the calls so far say about sockets, by their inode."""

    connected: dict[str, str] = field(default_factory=dict)
    streams: set[str] = field(default_factory=set)
    networked: set[str] = field(default_factory=set)


def complaints(calls: Iterable[Call], allowed: Allowed) -> list[str]:
    """What was done that is not allowed, each once, in words."""
    known, found, programs = _Known(), [], 0
    for call in calls:
        if call.name == "execve":
            programs += 1
        found += list(_against(call, allowed, known, first=programs <= 1))
    return list(dict.fromkeys(found))


def _against(call: Call, allowed: Allowed, known: _Known, *, first: bool) -> Iterator[str]:
    name = call.name
    if name in NEVER:
        yield f"{name} was called"
    elif name in OPENING and _FOR_WRITING.search(call.arguments):
        yield from (f"{path} was opened for writing" for path in _unwritable(call, allowed))
    elif name in CHANGING:
        yield from (f"{path} was changed by {name}" for path in _unwritable(call, allowed))
    elif name == "mmap":
        # What is written through a shared mapping is seen by no other call.
        if "MAP_SHARED" in call.arguments and "PROT_WRITE" in call.arguments:
            paths = [path for path in call.descriptors if not allowed.may_write(path)]
            yield from (f"{path} was mapped for writing" for path in paths)
    elif name in ("execve", "execveat"):
        started = [text.decode() for text in call.texts[1:]]
        known_program = any(started[: len(each)] == list(each) for each in allowed.programs)
        if not first and not known_program:
            yield f"{' '.join(started)} was started"
    elif name in ("clone", "clone3", "fork", "vfork"):
        if "CLONE_THREAD" not in call.arguments and not allowed.programs:
            yield "another process was begun"
    else:
        yield from _on_sockets(call, allowed, known)


def _unwritable(call: Call, allowed: Allowed) -> list[str]:
    return [path for path in call.paths if not allowed.may_write(path)]


def _on_sockets(call: Call, allowed: Allowed, known: _Known) -> Iterator[str]:
    where, address = call.descriptor, call.address
    if call.name == "socket":
        if made := _SOCKET.match(f"socket({call.arguments}"):
            inode = _plain(made[3])
            known.networked.add(inode)
            if made[2].startswith("STREAM"):
                known.streams.add(inode)
        elif "AF_UNIX" not in call.arguments:
            yield f"a socket was made: {call.arguments}"
    elif call.name == "bind":
        # Port 0 of a stream is where a connection comes from; without listen it takes none.
        if where not in known.streams or not (address or "").endswith(":0"):
            yield f"a socket was bound to {address}"
    elif call.name == "connect":
        known.connected[where] = address or "nothing"
        if address not in allowed.addresses:
            yield f"{address} was connected to"
    elif call.name in (*WRITING, *SENDING):
        yield from _written(call, allowed, known)


def _written(call: Call, allowed: Allowed, known: _Known) -> Iterator[str]:
    where, address = call.descriptor, call.address
    if address is not None and address not in allowed.addresses:
        yield f"data was sent to {address}"
    if where.startswith("socket:"):
        if where in known.networked and where not in known.connected and address is None:
            yield f"data was sent over {where}, which is not connected"
    elif where.startswith("pipe:"):
        if not allowed.programs:
            yield "data was written into a pipe"
    elif not where.startswith("anon_inode:[event") and not allowed.may_write(where):
        yield f"{where} was written"


def _plain(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text


def written(calls: Iterable[Call]) -> dict[str, bytes]:
    """All that was written or sent, by where it went, put together in the order of the calls."""
    known: dict[str, str] = {}
    found: dict[str, bytearray] = defaultdict(bytearray)
    for call in calls:
        if call.name == "connect":
            known[call.descriptor] = call.address or "nothing"
        elif call.name in (*WRITING, *SENDING):
            where = call.address or known.get(call.descriptor, call.descriptor)
            found[where] += call.data
    return {where: bytes(data) for where, data in found.items()}
