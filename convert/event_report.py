"""What `convert.event_bench` measured, in words and tables and as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convert import report
from convert.event_record import EventsBench, Heard
from convert.report import percent
from convert.run import record_bytes, write_together

PAGE = "events.md"
RECORD = "events.json"
FIGURE = "events.png"


def write(found: EventsBench, out: Path) -> None:
    """Write the record, the figure and the page, all of them or none.

    Raises
    ------
    RunError
        The folder cannot be made or written.
    """
    from convert import event_plot, plots  # noqa: PLC0415  # matplotlib, which most calls do without

    write_together(
        out,
        {
            RECORD: record_bytes(found),
            FIGURE: plots.png(event_plot.draw, found),
            PAGE: page(found).encode(),
        },
    )


def page(found: EventsBench) -> str:
    """Return a Markdown page that shows the figure beside it."""
    files = "\n".join(f"- `{file}` {sha256}" for file, sha256 in found.files.items())
    return (
        f"# When to tell: {found.bundle}\n\n![Needless changes against delay]({FIGURE})\n\n"
        f"{tables(found)}\n\n## What was measured\n\n{files}\n"
    )


def tables(found: EventsBench) -> str:
    """Return the presets, each in every condition, and the front they were chosen from."""
    what = (
        f"{found.data.name}, {found.data.split}: {found.count} composed streams at each frame "
        "rate, not video, answered by the device's own code. Needless is a change that is told "
        "while one still is shown; delay counts from the middle of a fade; right is the share of "
        "the time in which the told label is. Chosen is the unbeaten rule with the fewest seconds "
        "lost a minute: those without the right label, and for each needless change "
        f"{_list(f'{each.change_s:g} s for `{name}`' for name, each in found.presets.items())}."
    )
    return "\n\n".join([what, presets(found), _conditions(found), _front(found)])


def presets(found: EventsBench) -> str:
    """Return the table that README and configuration quote: what a preset does, and costs."""
    rows = []
    for name, each in found.presets.items():
        one = each.chosen
        rows.append([f"`{name}`", *_row(one), f"{one.cost_s(each.change_s):.1f} s"])
    return report.table(["preset", *_HEAD, "lost a minute"], rows)


def _conditions(found: EventsBench) -> str:
    rows = []
    for name, preset in found.presets.items():
        for each in preset.conditions:
            dropped = f", {100 * each.dropped:g} % lost" if each.dropped else ""
            rows.append(
                [
                    f"`{name}`, {each.fps:g} fps{dropped}",
                    f"{each.heard.flicker:.1f}",
                    "{:.1f} to {:.1f}".format(*each.flicker_interval),
                    f"{each.heard.delay_s:.2f} s",
                    "{:.2f} to {:.2f}".format(*each.delay_interval),
                    percent(each.heard.right),
                    report.percents(each.right_interval),
                ]
            )
    head = ["in each condition", "needless a minute", "95 %", "delay", "95 %", "right", "95 %"]
    return report.table(head, rows)


def _front(found: EventsBench) -> str:
    rows = [[str(number), *_row(found.grid[at])] for number, at in enumerate(found.front, 1)]
    return report.table(["unbeaten", *_HEAD], rows)


_HEAD = ("hold", "margin", "needless a minute", "delay", "missed", "right", "unsure")


def _row(each: Heard) -> list[str]:
    return [
        f"{each.hold_s:g} s",
        f"{each.margin:g}",
        f"{each.flicker:.1f}",
        f"{each.delay_s:.2f} s",
        percent(each.missed),
        percent(each.right),
        percent(each.unsure),
    ]


def _list(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
