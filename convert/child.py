"""Work in a process of its own, for libraries that have been seen to crash, hang or exit.

The parent writes a request, starts `python -m MODULE REQUEST`, and finds the results as files
beside it. What a person has to mend comes back as the same one line it would be in one process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from tqdm import tqdm

from convert.errors import ConversionError
from edge.errors import MienError

_REFUSED = 3
_NO_NETWORK = {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
_LOOK_EVERY_S = 0.5

Request = TypeVar("Request", bound=msgspec.Struct)


@contextmanager
def worked(
    module: str,
    request: msgspec.Struct,
    what: str,
    limit_s: float,
    failed: type[MienError] = ConversionError,
) -> Iterator[Path]:
    """Let another process do a request, and give the folder with what it made.

    Parameters
    ----------
    module
        Run by `python -m`; its `main` calls `work`.
    request
        Paths in it are absolute: the other process runs in the folder.
    what
        How an error and the progress bar name the work.
    limit_s
        After so many seconds the process is killed.
    failed
        The kind of error to raise.

    Raises
    ------
    ConversionError or `failed`
        It refused, crashed, or took longer than `limit_s` seconds; the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="mien-") as folder:
            scratch = Path(folder)
            (scratch / "request.json").write_bytes(msgspec.json.encode(request))
            code, said = attempt(
                [sys.executable, "-m", module, str(scratch / "request.json")], what, limit_s, failed
            )
            refused = scratch / "refused.json"
            if code == _REFUSED and refused.exists():
                raise failed(f"{what}: {json.loads(refused.read_bytes())}")
            if code:
                raise failed(f"{what}: the library that does it refuses it ({said})")
            yield scratch
    except OSError as exc:
        raise failed(
            f"{what}: cannot work in {tempfile.gettempdir()} ({exc.strerror}); make room there, or "
            "set TMPDIR to another folder"
        ) from exc


def attempt(
    command: Sequence[str], what: str, limit_s: float, failed: type[MienError] = ConversionError
) -> tuple[int, str]:
    """Run a command that may crash or hang; return its exit status and its last line on stderr.

    Raises
    ------
    ConversionError or `failed`
        It died of a signal, or took longer than `limit_s` seconds.
    """
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        tqdm(desc=what, bar_format="{desc}: {elapsed}", leave=False, file=sys.stderr) as bar,
        subprocess.Popen(  # noqa: S603  # our own interpreter and module
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            env={**os.environ, **_NO_NETWORK},
        ) as process,
    ):  # fmt: skip
        try:
            code = _waited(process, limit_s, bar.refresh)
        except BaseException:  # Ctrl-C too: the other process must not outlive this one
            process.kill()
            raise
        if code is None:
            process.kill()
            raise failed(
                f"{what}: it was still busy after {limit_s:g} s and was stopped; give it longer "
                "with --limit, or simplify the network"
            )
        errors.seek(0)
        lines = [line.strip() for line in errors.read().splitlines() if line.strip()]
    if code < 0:
        name = signal.Signals(-code).name
        raise failed(
            f"{what}: the library that does it crashed ({name}); look for an operator that it does "
            "not have, or save the network another way"
        )
    return code, lines[-1] if lines else "it said nothing"


def _waited(
    process: subprocess.Popen[bytes], limit_s: float, meanwhile: Callable[[], object]
) -> int | None:
    """Return a process's exit status, or None when it takes longer."""
    end = time.monotonic() + limit_s
    while (left := end - time.monotonic()) > 0:
        try:
            return process.wait(min(_LOOK_EVERY_S, left))
        except subprocess.TimeoutExpired:
            meanwhile()
    return None


def work(kind: type[Request], do: Callable[[Request, Path], None]) -> None:
    """Do the request that the command line names; the other side of `worked`."""
    file = Path(sys.argv[1])
    request = msgspec.json.decode(file.read_bytes(), type=kind)
    # Libraries leave files, and look for some, where they run.
    os.chdir(file.parent)
    try:
        do(request, file.parent)
    except MienError as exc:
        (file.parent / "refused.json").write_text(json.dumps(str(exc)))
        sys.exit(_REFUSED)
