"""TensorFlow without what it says to itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def silenced() -> Iterator[None]:
    """Let nothing through to stderr, not from C++ either; an error is still an exception.

    TensorFlow 2.19 writes there whatever TF_CPP_MIN_LOG_LEVEL says: of graphics cards that are
    not there as it loads, of its own passes as it reads a SavedModel.
    """
    if sys.__stderr__ is None:
        yield
        return
    sys.__stderr__.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def load_tensorflow() -> None:
    """Import TensorFlow in silence."""
    with silenced():
        import tensorflow  # noqa: F401, ICN001, PLC0415  # the point of it
