"""Notices that stages take longer than the board's budget, and for how long they have.

One slow interval says little: a card that is written to, a browser that starts. What lasts for a
minute is worth a person's look.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from edge.payloads import Percentiles

SUSTAINED_S = 60.0
"""How long a stage must have been over its budget, without a break, to be a problem."""


@final
class Overruns:
    """The stages that are over budget now.

    Parameters
    ----------
    budgets_ms
        What each stage's 95th percentile may be; stages that are not named may take what they like.
    """

    def __init__(self, budgets_ms: Mapping[str, float]) -> None:
        self._budgets_ms = dict(budgets_ms)
        self._since_s: dict[str, float] = {}

    def heard(
        self, latency_ms: Mapping[str, Percentiles], begun_s: float, now_s: float
    ) -> str | None:
        """Take in the latencies of the interval from `begun_s` to `now_s`.

        Returns
        -------
        str or None
            Which stages have been over budget for `SUSTAINED_S`, and by how much, in words; None
            where none has. A stage that did not run in the interval was not over budget.
        """
        over = {
            stage: found.p95
            for stage, found in latency_ms.items()
            if found.p95 > self._budgets_ms.get(stage, float("inf"))
        }
        self._since_s = {stage: self._since_s.get(stage, begun_s) for stage in over}
        lasting = [
            f"{stage} {over[stage]:.1f} ms ({self._budgets_ms[stage]:.1f})"
            for stage, since_s in self._since_s.items()
            if now_s - since_s >= SUSTAINED_S
        ]
        if not lasting:
            return None
        return (
            f"slower than the board's budget for a minute: p95 of {', '.join(lasting)}; see what "
            "else runs, cool the board, or raise detector.every"
        )
