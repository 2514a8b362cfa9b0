"""How often a camera is looked at: less often where nobody is, or where the board is hot. Pure.

A kiosk waits for most of its day. A camera that saw no face for a while is looked at a few times a
second, and at its full rate from the first frame on which the detector finds something that may
be a face. A board that is too hot is slowed down before its firmware does so more roughly.
"""

from __future__ import annotations

from typing import final

from edge.payloads import Pace
from edge.settings import Cadence as CadenceSettings

COOLER_BY = 5.0
"""Degrees below `hot_celsius` at which a hot board counts as cool again."""


@final
class Cadence:
    """How often one camera is looked at.

    Parameters
    ----------
    settings
        The settings.
    """

    def __init__(self, settings: CadenceSettings) -> None:
        self._settings = settings
        self._seen_s: float | None = None
        self._idle = False

    def saw(self, *, candidates: int, tracks: int, time_s: float) -> None:
        """Take in what one frame held.

        Parameters
        ----------
        candidates
            Faces that were found at least once: they are worth a closer look at once.
        tracks
            Faces that are believed: only they say that somebody is there. Otherwise one mistake
            of the detector would keep an empty room under full observation.
        time_s
            The frame's time.
        """
        if tracks or self._seen_s is None or time_s < self._seen_s:
            self._seen_s = time_s
        self._idle = not candidates and time_s - self._seen_s >= self._settings.idle_after_s

    def interval_s(self, *, hot: bool) -> float:
        """Return the least time between two frames that are looked at; 0 is every frame."""
        idle_s = 1.0 / self._settings.idle_fps if self._idle else 0.0
        hot_s = 1.0 / self._settings.hot_fps if hot else 0.0
        return max(idle_s, hot_s)

    def pace(self, *, hot: bool) -> Pace:
        """Return why the camera is looked at as often as it is."""
        if hot:
            return "hot"
        return "idle" if self._idle else "full"


@final
class Heat:
    """Whether the board is hot.

    Parameters
    ----------
    hot_celsius
        From which temperature on; it stays so until it is `COOLER_BY` below.
    """

    def __init__(self, hot_celsius: float) -> None:
        self._hot_celsius = hot_celsius
        self.hot = False

    def feel(self, celsius: float | None) -> bool:
        """Take in a temperature, and return whether the board is hot; unknown is not."""
        limit = self._hot_celsius - (COOLER_BY if self.hot else 0.0)
        self.hot = celsius is not None and celsius >= limit
        return self.hot
