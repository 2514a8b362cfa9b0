"""TensorFlow without its greeting."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def load_tensorflow() -> None:
    """Import TensorFlow; what it writes to stderr meanwhile goes nowhere.

    On a machine without a graphics card it complains from C++ that some of its parts are there
    twice, whatever TF_CPP_MIN_LOG_LEVEL says. An error still comes as an exception.
    """
    sys.stderr.flush()
    kept = os.dup(sys.__stderr__.fileno()) if sys.__stderr__ else None
    if kept is None:
        return
    with Path(os.devnull).open("wb") as nowhere:
        try:
            os.dup2(nowhere.fileno(), 2)
            import tensorflow  # noqa: F401, PLC0415, ICN001  # what is asked for
        finally:
            os.dup2(kept, 2)
            os.close(kept)
