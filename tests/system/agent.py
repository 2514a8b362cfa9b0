"""Runs inside a virtual machine, as root: carries out what comes in over a port to its host.

Each request is a line of JSON with a number and a command; the answer has the same number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO


def carried_out(request: dict[str, object]) -> dict[str, object]:
    """Run a command to its end, and return the answer."""
    try:
        done = subprocess.run(
            request["command"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        returncode, stdout, stderr = done.returncode, done.stdout, done.stderr
    except OSError as exc:
        returncode, stdout, stderr = 127, "", str(exc)
    return {
        "number": request["number"],
        "returncode": returncode,
        "stdout": stdout,
        "stderr": stderr,
    }


def serve(port: BinaryIO) -> None:
    """Answer for ever."""
    while True:
        line = port.readline()
        if not line:
            # Nobody listens at the other end yet.
            time.sleep(0.2)
            continue
        answer = json.dumps(carried_out(json.loads(line))).encode() + b"\n"
        while answer:
            answer = answer[port.write(answer) :]


if __name__ == "__main__":
    with Path(sys.argv[1]).open("r+b", buffering=0) as port:
        serve(port)
