"""How long to wait before trying again. Pure, but for the dice."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import final


@final
class Backoff:
    """Exponential waits with full jitter, so that a fleet does not return all at once.

    Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: the n-th wait is
    drawn from 0 to `min(longest, shortest * 2**n)`.

    Parameters
    ----------
    shortest_s, longest_s
        Upper ends of the first wait and of every wait after many, in seconds.
    dice
        Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        shortest_s: float = 1.0,
        longest_s: float = 60.0,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._dice = dice
        self._ceiling_s = shortest_s

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        wait_s = self._ceiling_s * self._dice()
        self._ceiling_s = min(self._ceiling_s * 2.0, self._longest_s)
        return wait_s

    def slow_s(self) -> float:
        """Return a wait for what only a person can mend: half the longest or more."""
        self._ceiling_s = self._longest_s
        return self._longest_s * (1.0 + self._dice()) / 2.0

    def reset(self) -> None:
        """Begin again with the shortest wait."""
        self._ceiling_s = self._shortest_s
