"""Tells a frozen camera from one that looks at something still.

A sensor is never silent: two pictures of the same wall differ by noise in every row. A driver or
an encoder that hangs hands out the very same picture again and again. So what is looked for is
equality, pixel for pixel, for longer than any encoder repeats itself. It applies to live cameras
only: a clip may hold a picture as long as it likes.

A picture without content (a covered lens, a dark room, where noise is clipped away) may repeat
itself in good health, and says nothing.
"""

from __future__ import annotations

from typing import final

import numpy as np

from edge.datatypes import UInt8Array

_ROWS = 8
"""Compared first, as they lie in memory: where they differ, and they mostly do, that is all."""

_CONTENT = 8
"""Levels between the darkest and the brightest sampled pixel of a picture that shows something."""


@final
class Stillness:
    """For how long a camera has given one and the same picture."""

    def __init__(self) -> None:
        self._luma: UInt8Array | None = None
        self._rows = b""
        self._since_s = 0.0
        self._suspect = False

    @property
    def suspect(self) -> bool:
        """Whether the picture is still the one it froze with before it was opened again."""
        return self._suspect

    def seconds(self, luma: UInt8Array, now_s: float) -> float:
        """Take in the next picture, and return for how many seconds it has been the same."""
        rows = luma[:: max(luma.shape[0] // _ROWS, 1)]
        sample = rows.tobytes()
        if sample == self._rows and np.ptp(rows) >= _CONTENT and self._same(luma):
            return now_s - self._since_s
        self._luma, self._rows, self._since_s, self._suspect = luma, sample, now_s, False
        return 0.0

    def reopened(self, now_s: float, *, frozen: bool) -> None:
        """Begin to count anew, as the camera was opened again; `frozen` says that this was why."""
        self._since_s, self._suspect = now_s, frozen or self._suspect

    def _same(self, luma: UInt8Array) -> bool:
        return self._luma is not None and np.array_equal(luma, self._luma)
