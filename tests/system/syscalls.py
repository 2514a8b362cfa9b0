"""What a program asks of the kernel: strace runs it, and its calls are read back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from realbroker import program

OPENING = ("open", "openat", "openat2", "creat")
WRITING = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
SENDING = ("sendto", "sendmsg", "sendmmsg")
CHANGING = (
    *("mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2"),
    *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "truncate"),
)
STARTING = ("execve", "execveat", "clone", "clone3", "fork", "vfork")
SOCKETS = ("socket", "bind", "connect")
MAPPING = ("mmap",)
NEVER = (
    *("listen", "accept", "accept4"),
    # Ways for data that go past the calls above.
    *("sendfile", "splice", "tee", "vmsplice", "copy_file_range", "process_vm_writev", "ptrace"),
    *("io_uring_setup", "memfd_create", "memfd_secret", "shmget", "shmat", "msgsnd"),
    *("mq_open", "mq_timedsend", "add_key", "pidfd_getfd", "bpf"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
)
"""What the daemon has no business with, whatever the arguments."""

TRACED = (
    *(*OPENING, *WRITING, *SENDING, *CHANGING, *STARTING, *SOCKETS, *MAPPING, *NEVER),
    "socketpair",
)

_LONGEST = 1 << 20
"""Bytes of an argument that strace prints; one that is longer is an error."""

_LINE = re.compile(r"(?P<process>\d+) +(?P<rest>.*)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_BUFFER = re.compile(r'iov_base="((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(?:AT_FDCWD|\d+)<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one process, as strace prints it; strings and paths are hexadecimal there."""

    process: int
    name: str
    arguments: str

    @property
    def texts(self) -> list[bytes]:
        """Its string arguments."""
        return [_bytes(each) for each in _TEXT.findall(self.arguments)]

    @property
    def descriptor(self) -> str:
        """What its first descriptor stands for: a path, `socket:[INODE]`, `pipe:[INODE]`."""
        found = _DESCRIPTOR.search(self.arguments)
        return _bytes(found[1]).decode() if found else ""

    @property
    def descriptors(self) -> list[str]:
        """What each of its descriptors stands for."""
        return [_bytes(each).decode() for each in _DESCRIPTOR.findall(self.arguments)]

    @property
    def paths(self) -> list[str]:
        """The paths that it names, made absolute by the folder that goes before."""
        folders = self.descriptors or [os.sep]
        return [os.path.join(folders[0], text.decode()) for text in self.texts]  # noqa: PTH118

    @property
    def data(self) -> bytes:
        """What it writes or sends."""
        buffers = _BUFFER.findall(self.arguments)
        if buffers:
            return b"".join(_bytes(each) for each in buffers)
        return self.texts[0] if self.texts else b""

    @property
    def address(self) -> str | None:
        """The address that it names: HOST:PORT, a path of a Unix socket, or its family."""
        family = re.search(r"sa_family=(\w+)", self.arguments)
        if family is None:
            return None
        port = re.search(r"sin6?_port=htons\((\d+)\)", self.arguments)
        host = re.search(r'inet_(?:addr\(|pton\(AF_INET6, )"([^"]*)"', self.arguments)
        if port and host:
            return f"{_bytes(host[1]).decode()}:{port[1]}"
        path = re.search(r'sun_path=@?"([^"]*)"', self.arguments)
        return _bytes(path[1]).decode() if path else family[1]


def _bytes(text: str) -> bytes:
    """What strace's hexadecimal says; what it leaves as it is, it leaves as it is."""
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


@contextmanager
def traced(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], *, cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command whose calls, and those of its children, are noted in `folder`."""
    wanted = ",".join(f"?{name}" for name in TRACED)
    options = ["-f", "-qq", "-xx", "-y", "-s", str(_LONGEST), "--seccomp-bpf", "-e", "signal=none"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(program("strace", "strace"), *options),
                *("-e", f"trace={wanted}", "-o", str(folder / "calls"), "--", *command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            env={**os.environ, **environ},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            # strace alone would leave what it traces behind.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def calls(folder: Path) -> list[Call]:
    """The calls that were noted, in the order in which they began."""
    with (folder / "calls").open() as lines:
        return list(parsed(lines))


def parsed(lines: Iterable[str]) -> Iterator[Call]:
    """Read strace's output; a call that another thread's interrupted is put together again."""
    begun: dict[str, str] = {}
    for line in lines:
        found = _LINE.match(line)
        assert found is not None, line
        process, rest = found["process"], found["rest"].rstrip("\n")
        if rest.startswith("<... "):
            rest = begun.pop(process) + _RESUMED.sub("", rest, count=1)
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>")
            continue
        call = _CALL.match(rest)
        assert call is not None, line
        assert '"...' not in rest, f"strace cut an argument short: {rest[:80]}"
        yield Call(int(process), call["name"], call["arguments"])
    for process, rest in begun.items():
        # It never came back: the process ended within.
        call = _CALL.match(rest)
        assert call is not None, rest
        yield Call(int(process), call["name"], call["arguments"])
