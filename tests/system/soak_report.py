"""What a soak saw, minute by minute, and what it says of the device."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lobby import Sample
from tools.chart import Line, Panel, chart
from tools.trend import LEAST, Limit, trend

CYCLE_S = 60.0
HALF_REPORT_S = 15.0
"""A health report is of the half minute before it: this is its middle."""

MOST_MB = 120.0
LIBRARIES_MB = 60.0
"""Pages of libraries that the device needs, with those that a kernel maps beside each, 64 kB at a
time. Linux 6.18 maps all that lies in one folio of the page cache instead, and so counts what
nobody asked for: of the same files on one machine 57 MB or 107, by which pip had written them."""

DRAINED_S = 40.0
"""How soon after a broker came back the spool must have been empty: the publisher's waits have
doubled to 32 s at most in an outage as long as these."""

OWN = (
    # In an hour, 25 bytes a frame; pools and caches settle within less.
    Limit("rss_mb", "MB", 2.0),
    Limit("descriptors", "", 0.5),
    Limit("threads", "", 0.5),
)
SHARED = (
    # A twentieth of what the camera gives.
    Limit("fps", "frames a second", -1.5),
    # The machine's other users come and go; what stays within this may be theirs.
    Limit("cpu_percent", "% of a core", 2.0),
    Limit("p50_ms", "ms", 1.0),
    Limit("p95_ms", "ms", 2.0),
)
"""By how much each may have changed between the first minute after the warm-up and the last: what
is the device's own, and what it shares with whoever else uses the machine."""

LONG = 10
"""Minutes from which on what is shared is judged: in fewer, a neighbour who begins to work is a
rise from one minute to the next."""


@dataclass(slots=True)
class Watched:
    """All that was seen in so many `minutes`; the device ran `before_s` before they began."""

    minutes: int
    before_s: float = 0.0
    exit_code: int = -1
    log: str = ""
    samples: list[Sample] = field(default_factory=list)
    happened: list[tuple[float, str]] = field(default_factory=list)
    health: list[dict[str, Any]] = field(default_factory=list)
    emitted: list[dict[str, Any]] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute: of memory the median, of threads and descriptors what was never fallen below."""

    minute: int
    rss_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int
    fps: float
    cpu_percent: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    most_spool: int
    spool: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was judged, in words."""

    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The minutes, what is found in them, and what they were made of."""

    minutes: Sequence[Minute]
    findings: Sequence[Finding]
    watched: Watched

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)


def judged(watched: Watched) -> Report:
    """Return what was seen, and whether it may be so."""
    seen = [_minute(watched, minute) for minute in range(watched.minutes)]
    table = [minute for minute in seen if minute is not None]
    if len(table) < watched.minutes:
        unseen = Finding(passed=False, text=f"only {len(table)} of {len(seen)} minutes were seen")
        return Report(table, [unseen, _ended(watched)], watched)
    findings = [
        *_slopes(table),
        _peak(watched),
        _drained(watched),
        *_arrived(watched),
        _ended(watched),
    ]
    return Report(table, findings, watched)


def _minute(watched: Watched, minute: int) -> Minute | None:
    """Return one minute; None where the process or its reports were not there to be seen."""
    begin_s = minute * CYCLE_S
    samples = [each for each in watched.samples if begin_s <= each.at_s < begin_s + CYCLE_S]
    reports = [
        each
        for each in {each["uptime_s"]: each for each in watched.health}.values()
        if begin_s <= each["uptime_s"] - watched.before_s - HALF_REPORT_S < begin_s + CYCLE_S
    ]
    if len(samples) < CYCLE_S / 2 or not reports:
        return None
    total = [each["latency_ms"]["total"] for each in reports]

    def middle(of: Callable[[Sample], float]) -> float:
        return round(statistics.median(map(of, samples)), 2)

    elapsed_s = samples[-1].at_s - samples[0].at_s
    return Minute(
        minute=minute,
        rss_mb=middle(lambda each: each.rss_mb),
        anonymous_mb=middle(lambda each: each.anonymous_mb),
        descriptors=min(each.descriptors for each in samples),
        threads=min(each.threads for each in samples),
        fps=round(statistics.mean(each["fps"]["door"] for each in reports), 2),
        cpu_percent=round((samples[-1].cpu_s - samples[0].cpu_s) / elapsed_s * 100, 2),
        p50_ms=round(statistics.mean(each["p50"] for each in total), 3),
        p95_ms=round(statistics.mean(each["p95"] for each in total), 3),
        p99_ms=round(statistics.mean(each["p99"] for each in total), 3),
        most_spool=max(each.spool for each in samples),
        spool=samples[-1].spool,
    )


def _slopes(table: Sequence[Minute]) -> list[Finding]:
    """Judge the limits, after a tenth of the minutes, and at least one, to warm up."""
    rest = table[max(len(table) // 10, 1) :]
    if len(rest) < LEAST:
        return [Finding(passed=False, text=f"{len(table)} minutes show no slope")]
    minutes = [float(each.minute) for each in rest]
    findings = []
    for limit in (*OWN, *SHARED):
        judged_too = limit in OWN or len(table) >= LONG
        values = [float(getattr(each, limit.name)) for each in rest]
        change = trend(minutes, values).over(minutes[-1] - minutes[0])
        text = (
            f"{limit.name}: {statistics.median(values):.2f} {limit.unit}, changed by "
            f"{change.slope:+.2f} ({change.low:+.2f} to {change.high:+.2f}) in "
            f"{len(rest)} minutes; limit {limit.most:+g}"
            f"{'' if judged_too else f', judged from {LONG} minutes on'}"
        )
        findings.append(Finding(not (judged_too and limit.broken_by(change)), text))
    return findings


def _peak(watched: Watched) -> Finding:
    """Judge resident memory at its highest, without what the kernel mapped unasked."""
    peak_mb = watched.samples[-1].peak_mb
    mapped_mb = max(each.rss_mb - each.anonymous_mb for each in watched.samples)
    unasked_mb = max(mapped_mb - LIBRARIES_MB, 0.0)
    text = f"peak memory {peak_mb:.1f} MB; limit {MOST_MB:g}"
    if unasked_mb:
        text += f" and the {unasked_mb:.1f} of libraries that were mapped unasked"
    return Finding(peak_mb - unasked_mb <= MOST_MB, text)


def _drained(watched: Watched) -> Finding:
    """Judge whether the spool was empty soon after the broker came back, each time."""
    back = [
        at_s for at_s, what in watched.happened if what in ("broker_returns", "broker_continues")
    ]
    empty = [each.at_s for each in watched.samples if not each.spool]
    took = [
        min((empty_s - at_s for empty_s in empty if empty_s > at_s), default=math.inf)
        for at_s in back
    ]
    most = max(each.spool for each in watched.samples)
    text = (
        f"spool: up to {most} events, empty again within {max(took):.1f} s of {len(back)} outages' "
        f"ends; limit {DRAINED_S:g}"
    )
    return Finding(max(took) <= DRAINED_S, text)


def _arrived(watched: Watched) -> list[Finding]:
    """Judge whether what was emitted arrived, once after deduplication, in the order of `seq`."""
    emitted = [each["id"] for each in watched.emitted]
    heard = list({each["id"]: each for each in watched.heard}.values())
    twice = len(watched.heard) - len(heard)
    in_order = [each["seq"] for each in heard] == list(range(1, len(emitted) + 1))
    dropped = watched.health[-1]["drops"]["events"]
    return [
        Finding(
            [each["id"] for each in heard] == emitted,
            f"{len(emitted)} events emitted, {len(heard)} arrived, {twice} of them twice",
        ),
        Finding(in_order, f"seq from 1 on, in order and without gaps: {in_order}"),
        Finding(dropped == 0, f"{dropped} events dropped"),
    ]


def _ended(watched: Watched) -> Finding:
    if watched.exit_code == 0:
        return Finding(passed=True, text="exit code 0 after SIGTERM")
    last = "; ".join(watched.log.splitlines()[-3:])
    return Finding(passed=False, text=f"exit code {watched.exit_code}; its last words: {last}")


def written(report: Report, folder: Path) -> None:
    """Write `findings.json` and, of what was seen, `soak.csv`, `samples.csv` and `soak.svg`."""
    findings = [asdict(finding) for finding in report.findings]
    (folder / "findings.json").write_text(json.dumps(findings, indent=1) + "\n")
    if report.minutes:
        _write_table(folder / "soak.csv", report.minutes)
        _write_table(folder / "samples.csv", report.watched.samples)
        (folder / "soak.svg").write_text(chart(_panels(report), "minutes"))


def _write_table(path: Path, rows: Sequence[Minute] | Sequence[Sample]) -> None:
    with path.open("w", newline="") as file:
        names = [each.name for each in fields(rows[0])]
        table = csv.DictWriter(file, names, lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


def _panels(report: Report) -> list[Panel]:
    samples, table = report.watched.samples, report.minutes
    seconds = [each.at_s / 60.0 for each in samples]
    minutes = [each.minute + 0.5 for each in table]

    def line(name: str, of: Callable[[Minute], float]) -> Line:
        return Line(name, minutes, [of(each) for each in table])

    return [
        Panel(
            "memory, MB",
            [
                Line("resident", seconds, [each.rss_mb for each in samples]),
                Line("of it anonymous", seconds, [each.anonymous_mb for each in samples]),
            ],
            limit=MOST_MB,
        ),
        Panel("frames a second", [line("looked at", lambda each: each.fps)]),
        Panel(
            "latency, ms",
            [
                line("p50", lambda each: each.p50_ms),
                line("p95", lambda each: each.p95_ms),
                line("p99", lambda each: each.p99_ms),
            ],
        ),
        Panel("events in the spool", [Line("", seconds, [float(each.spool) for each in samples])]),
        Panel("CPU, % of a core", [line("all threads", lambda each: each.cpu_percent)]),
        Panel(
            "open files and threads",
            [
                line("files", lambda each: each.descriptors),
                line("threads", lambda each: each.threads),
            ],
        ),
    ]
