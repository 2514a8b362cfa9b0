"""`mien` that forgets to let go of a face's tile in every frame: python leaking.py run ..."""

from __future__ import annotations

import numpy as np

from edge.__main__ import program
from edge.datatypes import Event, Frame
from edge.pipeline import Pipeline

KEPT: list[object] = []
looked = Pipeline.__call__


def leaking(self: Pipeline, frame: Frame, *, look: bool = False) -> list[Event]:
    KEPT.append(np.ones((48, 48), np.uint8))
    return looked(self, frame, look=look)


if __name__ == "__main__":
    Pipeline.__call__ = leaking  # type: ignore[method-assign]
    program()
