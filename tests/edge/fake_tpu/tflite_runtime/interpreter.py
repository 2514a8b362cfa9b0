"""A TFLite runtime with an Edge TPU that does what the file `FAKE_EDGETPU` says.

It has the names and signatures of `tflite_runtime.interpreter` that Mien uses, and computes by
ai-edge-litert on the CPU. The first word in the file says how the Edge TPU is at this moment, for
every process that has the file:

    ok    missing (no device)    failing (invoke raises)    hang (invoke does not return)
    hang-load (loading does not return)    crash (loading ends the process)    wrong (other answers)

Each process that loads it adds a line to FILE.loads: `child` or `daemon`. With `ok-child` the
words `failing` and `hang` hold for the daemon alone, as with a stick that fails after it was tried.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as real

CONTROL = Path(os.environ["FAKE_EDGETPU"])
WHO = "child" if sys.argv[:1] == ["-c"] else "daemon"


def mode() -> str:
    words = CONTROL.read_text().split()
    return "ok" if words[1:] == ["ok-child"] and WHO == "child" else words[0]


class Delegate:
    """What `load_delegate` returns."""


def load_delegate(library: str, options: dict[str, Any] | None = None) -> Delegate:
    assert (library, options) == ("libedgetpu.so.1", None)
    with CONTROL.with_name(CONTROL.name + ".loads").open("a") as file:
        file.write(f"{WHO}\n")
    if mode() == "missing":
        raise ValueError(f"Failed to load delegate from {library}\n")
    if mode() == "hang-load":
        threading.Event().wait()
    if mode() == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return Delegate()


class Interpreter:
    """ai-edge-litert's, and what the Edge TPU does to it."""

    def __init__(
        self,
        model_path: str | None = None,
        model_content: bytes | None = None,
        experimental_delegates: list[Delegate] | None = None,
        num_threads: int | None = None,
    ) -> None:
        self._real = real.Interpreter(
            model_path=model_path, model_content=model_content, num_threads=num_threads
        )
        self._there = bool(experimental_delegates)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def invoke(self) -> None:
        if self._there and mode() == "failing":
            raise RuntimeError("Node number 0 (EdgeTpuDelegateForCustomOp) failed to invoke.")
        if self._there and mode() == "hang":
            threading.Event().wait()
        self._real.invoke()

    def get_tensor(self, index: int) -> np.ndarray:
        found = self._real.get_tensor(index)
        return np.zeros_like(found) if self._there and mode() == "wrong" else found
