"""Whether this device is well: named checks, each with what was measured, its budget and a verdict.

A check belongs to a group, a function in `GROUPS` that looks at one side of the device. `full` runs
all of them on demand (`mien selftest`), `at_boot` those that are quick and touch nothing that
the daemon is about to open, before it calls itself ready, `beside` those that leave cameras and
cores to a daemon that runs. What cannot be got to is a failed check, not an error: the report is
whole whatever is broken.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from edge import clock
from edge.boards import board_of
from edge.errors import MienError, UsageError
from edge.health import Sensors
from edge.payloads import SelfTest, SelfTestCheck
from edge.pipeline import Models, load_models
from edge.selftest import answers, board, broker, camera, edgetpu, latency
from edge.selftest.subject import Examine, Subject, said
from edge.settings import Settings

_log = logging.getLogger(__name__)

BOOT_BUDGET_S = 5.0
"""How long the start of the daemon may take for it; a group is not begun any later."""


@dataclass(frozen=True, slots=True)
class Group:
    """One side of a device.

    `boot` says whether the daemon looks at it before it is ready, `not_beside` why not while it
    runs.
    """

    name: str
    examine: Examine
    boot: bool = False
    not_beside: str = ""


GROUPS = (
    Group("bundles", answers.bundles, boot=True),
    Group("golden", answers.golden, boot=True),
    Group("clock", board.wall_clock, boot=True),
    # What they say changes by the minute; a running daemon's health report has both.
    Group("temperature", board.warmth),
    Group("throttling", board.throttling),
    Group("disk", board.disk, boot=True),
    Group("edgetpu", edgetpu.check, boot=True),
    Group("idle", latency.idle, boot=True),
    Group("busy", latency.busy, not_beside="the daemon needs the cores; mien selftest takes them"),
    Group("memory", latency.memory),
    Group("camera", camera.check, not_beside="the daemon has the cameras; see their status"),
    Group("broker", broker.round_trip),
)


def full(settings: Settings, *, skip: Collection[str] = ()) -> SelfTest:
    """Run every group but those in `skip`.

    Raises
    ------
    UsageError
        There is no group of a name in `skip`.
    """
    names = [group.name for group in GROUPS]
    for name in skip:
        if name not in names:
            raise UsageError(f"--skip {name}: no such group; the groups are {', '.join(names)}")
    return _on_demand(settings, [group for group in GROUPS if group.name not in skip])


def beside(settings: Settings) -> SelfTest:
    """Run the groups that a running daemon, whose settings they are, is not disturbed by."""
    return _on_demand(settings, GROUPS, beside=True)


def _on_demand(settings: Settings, groups: Sequence[Group], *, beside: bool = False) -> SelfTest:
    models, broken = None, []
    begun_s = monotonic()
    try:
        models = load_models(settings)
    except MienError as exc:
        broken.append(said("bundles", "failed", str(exc)))
    sensors = Sensors()
    subject = Subject(settings, board_of(sensors.board()), models, "full", sensors, beside=beside)
    return summed_up(subject, [*broken, *examined(subject, groups)], begun_s=begun_s)


def at_boot(settings: Settings, models: Models, boot_id: str) -> SelfTest:
    """Run the groups that a daemon runs before it is ready; none is begun after `BOOT_BUDGET_S`."""
    sensors = Sensors()
    subject = Subject(settings, board_of(sensors.board()), models, "boot", sensors)
    begun_s = monotonic()
    groups = [group for group in GROUPS if group.boot]
    checks = list(examined(subject, groups, until_s=begun_s + BOOT_BUDGET_S))
    return summed_up(subject, checks, begun_s=begun_s, boot_id=boot_id)


def examined(
    subject: Subject, groups: Sequence[Group], *, until_s: float = float("inf")
) -> Iterator[SelfTestCheck]:
    """Yield the checks of groups in turn; those that are not reached by `until_s` are skipped."""
    for group in groups:
        if monotonic() > until_s:
            yield said(group.name, "skipped", "no time was left for it")
            continue
        if subject.beside and group.not_beside:
            yield said(group.name, "skipped", group.not_beside)
            continue
        _log.debug("self-test: %s", group.name)
        try:
            yield from group.examine(subject)
        except (MienError, OSError) as exc:
            yield said(group.name, "failed", str(exc))


def summed_up(
    subject: Subject,
    checks: Sequence[SelfTestCheck],
    *,
    begun_s: float,
    boot_id: str | None = None,
) -> SelfTest:
    """Return the report of checks that began at `begun_s` (monotonic seconds) and end now."""
    now_s = monotonic()
    failed = any(check.verdict == "failed" for check in checks)
    return SelfTest(
        boot_id=boot_id,
        ts=clock.utc(now_s),
        clock_synced=clock.synchronised(),
        scope=subject.scope,
        board=subject.sensors.board(),
        profile=subject.board.name,
        took_s=round(now_s - begun_s, 3),
        verdict="failed" if failed else "passed",
        checks=tuple(checks),
    )
