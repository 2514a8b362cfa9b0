"""A self-test's report as text."""

from __future__ import annotations

import msgspec

from edge.payloads import SelfTest, SelfTestCheck


def to_json(report: SelfTest) -> str:
    """Write a report as indented JSON, of schema `mien-selftest/1`."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def table(report: SelfTest) -> str:
    """Lay a report out for a person: a line a check, then the verdict."""
    width = max((len(check.name) for check in report.checks), default=0)
    lines = [f"board {report.board}, budgets of {report.profile!r}"]
    lines.append(f"{'check':<{width}}  {'measured':>10}  {'budget':>10}  {'unit':<8}  verdict")
    lines += [_line(check, width) for check in report.checks]
    counts = [
        f"{count} {verdict}"
        for verdict in ("passed", "warned", "failed", "skipped")
        if (count := sum(check.verdict == verdict for check in report.checks))
    ]
    lines.append(f"{report.verdict} in {report.took_s:.1f} s: {', '.join(counts)}")
    return "\n".join(lines)


def _line(check: SelfTestCheck, width: int) -> str:
    measured, budget = _number(check.measured), _number(check.budget)
    text = check.text
    if check.percentiles is not None:
        found = check.percentiles
        spread = f"p50 {found.p50:.2f}, p95 {found.p95:.2f}, p99 {found.p99:.2f}"
        text = f"{spread}; {text}" if text else spread
    line = (
        f"{check.name:<{width}}  {measured:>10}  {budget:>10}  {check.unit:<8}  {check.verdict:<7}"
    )
    return f"{line}  {text}".rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"  # noqa: PLR2004  # 4 digits
