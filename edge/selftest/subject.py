"""What is tested, and how a finding becomes a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge.boards import Board
from edge.health import Sensors
from edge.payloads import Percentiles, Scope, SelfTestCheck, Verdict
from edge.pipeline import Models
from edge.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A device, as its self-test sees it.

    `models` is None where they could not be loaded; then nothing that needs them is tested.
    `beside` says whether a daemon runs meanwhile, and has what only one can have.
    """

    settings: Settings
    board: Board
    models: Models | None
    scope: Scope = "full"
    sensors: Sensors = field(default_factory=Sensors)
    beside: bool = False

    @property
    def quick(self) -> bool:
        """Whether the daemon waits for it."""
        return self.scope == "boot"


Examine = Callable[[Subject], Iterable[SelfTestCheck]]
"""Looks at one side of a device. It may raise `MienError` for what it could not get to."""


def at_most(
    name: str,
    measured: float,
    budget: float,
    unit: str,
    *,
    cure: str,
    percentiles: Percentiles | None = None,
) -> SelfTestCheck:
    """Return a check that fails, with its cure as text, where `measured` is over its budget."""
    return SelfTestCheck(
        name=name,
        verdict="passed" if measured <= budget else "failed",
        measured=round(measured, 3),
        budget=round(budget, 3),
        unit=unit,
        percentiles=percentiles,
        text="" if measured <= budget else cure,
    )


def at_least(name: str, measured: float, budget: float, unit: str, *, cure: str) -> SelfTestCheck:
    """Return a check that fails, with its cure as text, where `measured` is below its budget."""
    return SelfTestCheck(
        name=name,
        verdict="passed" if measured >= budget else "failed",
        measured=round(measured, 3),
        budget=round(budget, 3),
        unit=unit,
        text="" if measured >= budget else cure,
    )


def said(name: str, verdict: Verdict, text: str) -> SelfTestCheck:
    """Return a check that has no number."""
    return SelfTestCheck(name=name, verdict=verdict, text=text)
