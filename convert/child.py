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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from convert.errors import SourceError
from edge.errors import MienError

_REFUSED = 3
_NO_NETWORK = {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

Request = TypeVar("Request", bound=msgspec.Struct)


@contextmanager
def worked(module: str, request: msgspec.Struct, what: str, limit_s: float) -> Iterator[Path]:
    """Let another process do a request, and give the folder with what it made.

    Raises
    ------
    SourceError
        It refused, crashed, or took longer than `limit_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        scratch = Path(folder)
        (scratch / "request.json").write_bytes(msgspec.json.encode(request))
        command = [sys.executable, "-m", module, str(scratch / "request.json")]
        try:
            done = subprocess.run(  # noqa: S603  # our own interpreter and module
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit_s,
                check=False,
                env={**os.environ, **_NO_NETWORK},
            )
        except subprocess.TimeoutExpired:
            raise SourceError(
                f"{what}: reading it was not done after {limit_s:g} s and was stopped; give it "
                "longer with --limit, or simplify the network"
            ) from None
        refused = scratch / "refused.json"
        if done.returncode == _REFUSED and refused.exists():
            raise SourceError(f"{what}: {json.loads(refused.read_bytes())}")
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            raise SourceError(f"{what}: the library that reads it crashed ({name}); save it again")
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            said = lines[-1].strip() if lines else "it said nothing"
            raise SourceError(f"{what}: the library that reads it refuses it ({said})")
        yield scratch


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
