"""What `convert.filter_bench` measured, in words and tables and as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from convert import report
from convert.filter_front import DELAY_BAR, FLICKER_BAR, Side, Verdict
from convert.filter_record import MOST_MISSED, Condition, Entry, Filters
from convert.report import percent
from convert.run import record_bytes, write_together

PAGE = "filters.md"
RECORD = "filters.json"
FIGURE = "filters.png"

_SETTINGS = 5
"""Of each kind of filter, in the table."""
_DIGITS = 5


def write(found: Filters, out: Path) -> None:
    """Write the record, the figure and the page, all of them or none.

    Raises
    ------
    RunError
        The folder cannot be made or written.
    """
    from convert import filter_plot, plots  # noqa: PLC0415  # matplotlib, which most calls do without

    write_together(
        out,
        {
            RECORD: record_bytes(_short(found)),
            FIGURE: plots.png(filter_plot.draw, found),
            PAGE: page(found).encode(),
        },
    )


def _short(found: Filters) -> Filters:
    """Return the same in five digits, which is more than chance leaves sure."""

    def shortened(value: Any) -> Any:  # noqa: ANN401  # whatever JSON may hold
        if isinstance(value, float):
            return float(f"{value:.{_DIGITS}g}")
        if isinstance(value, dict):
            return {name: shortened(each) for name, each in value.items()}
        return [shortened(each) for each in value] if isinstance(value, list | tuple) else value

    return msgspec.convert(shortened(msgspec.to_builtins(found)), Filters)


def page(found: Filters) -> str:
    """Return a Markdown page that shows the figure beside it."""
    figure = f"![Flicker against delay, of the head and of every filter]({FIGURE})"
    command = f"```console\n$ {found.command} --out DIR\n```"
    files = "\n".join(f"- `{file}` {sha256}" for file, sha256 in found.files.items())
    said = "\n".join(f"- {each}" for each in _cautions(found))
    return (
        f"# Temporal filters and the head of {found.bundle}\n\n{command}\n\n{figure}\n\n"
        f"{tables(found)}\n\n"
        f"## What was measured\n\n{files}\n\n## How to read it\n\n{said}\n"
    )


def tables(found: Filters) -> str:
    """Return the table of filters, and the head's verdict at every frame rate."""
    first = found.conditions[0]
    what = (
        f"{found.data.name}, {found.data.split}: {first.streams} composed streams at each frame "
        f"rate; at {first.name} {first.changes} changes, {first.unnoticed} more that nobody "
        f"notices, and {first.unchanged_minutes:.1f} minutes without one"
    )
    return "\n\n".join([what, _filters(found), _words(found), _verdicts(found)])


def _filters(found: Filters) -> str:
    """Return a row for some settings of each filter, and for the head."""
    first, *others = found.conditions
    rows = []
    for index in _worth(first):
        entry = first.entries[index]
        ahead = [kind for kind, names in first.fronts.items() if entry.name in names]
        cells = [_brief(condition.entries[index]) for condition in others]
        rows.append([*_row(entry), " and ".join(ahead), *cells])
    head = [
        first.name, "accuracy", "changes a min", "mean delay", "median", "missed", "unbeaten by",
        *(each.name for each in others),
    ]  # fmt: skip
    return report.table(head, rows)


def _worth(condition: Condition) -> list[int]:
    """Return entries by their place: a few of each family, evenly spread over what is of use."""
    families = dict[str, list[int]]()
    for index, entry in enumerate(condition.entries):
        some = families.setdefault(entry.family, [])
        if entry.missed <= MOST_MISSED or not some:
            some.append(index)
    chosen = []
    for some in families.values():
        last, many = len(some) - 1, min(_SETTINGS, len(some))
        chosen += [some[round(last * place / max(1, many - 1))] for place in range(many)]
    return chosen


def _row(entry: Entry) -> list[str]:
    return [
        entry.name,
        percent(entry.accuracy),
        f"{entry.flicker:.2f}",
        f"{entry.mean_s:.2f} s",
        f"{entry.median_s:.2f} s",
        percent(entry.missed),
    ]


def _brief(entry: Entry) -> str:
    return f"{entry.flicker:.2f} / {entry.mean_s:.2f} s"


def _words(found: Filters) -> str:
    first = found.conditions[0]
    return (
        f"Of {len(first.entries) - 1} filters and settings, at most {_SETTINGS} of each kind that "
        f"miss at most {MOST_MISSED:.0%} of changes; the JSON has all. ".replace("%", " %")
        + "Unbeaten: no filter is calmer and as soon, by the mean delay or the median. The columns "
        "of other frame rates have changes a minute and mean delay."
    )


def _verdicts(found: Filters) -> str:
    rows = []
    for condition in found.conditions:
        for verdict in condition.verdicts:
            calm, soon = verdict.at_equal_delay, verdict.at_equal_flicker
            rows.append([
                f"{condition.name}, {verdict.delay} delay",
                *_side(calm),
                *_side(soon),
                "passed" if verdict.passed else "failed",
            ])  # fmt: skip
    head = [
        found.bundle, "flicker at equal delay", "accuracy", "delay at equal flicker", "accuracy",
        "",
    ]  # fmt: skip
    return (
        f"{found.bundle} over the best filters (95 % interval). To pass it takes at most "
        f"{FLICKER_BAR:g} of their flicker at equal delay, or at most {DELAY_BAR:g} of their delay "
        "at equal flicker, and there no fewer right answers (points):\n\n"
        f"{report.table(head, rows)}\n\n{_overall(found)}"
    )


def _side(side: Side) -> tuple[str, str]:
    low, high = side.ratio_interval
    return f"{side.ratio:.2f} ({low:.2f} to {high:.2f})", f"{100 * side.accuracy:+.1f}"


def _overall(found: Filters) -> str:
    """Say in a sentence how many verdicts the head passed."""
    every = [(condition, each) for condition in found.conditions for each in condition.verdicts]
    failed = [_named(condition, each) for condition, each in every if not each.passed]
    if not failed:
        return f"{found.bundle} passes at every frame rate."
    passed = len(every) - len(failed)
    return f"{found.bundle} passes {passed} of {len(every)}; it fails at {'; '.join(failed)}."


def _named(condition: Condition, verdict: Verdict) -> str:
    return f"{condition.name} ({verdict.delay})"


def _cautions(found: Filters) -> tuple[str, ...]:
    noticed = (
        "Delay is from the middle of a fade to the first frame from which the new label is "
        f"answered for {found.notice_s:g} s without a break. A change that is not noticed before "
        "the next one counts with all the time it had, so that a filter which never changes its "
        "answer is the slowest of all; one that nobody ever notices is left out."
    )
    return (_COMPOSED, _COUNTED, noticed, _KIND, _CHANCE)


_COMPOSED = (
    "The streams are composed of stills, for there is no labelled video: no muscle moves in them. "
    "What filters and head do in them they need not do before a camera."
)
_COUNTED = (
    "Accuracy is of frames that show one still alone. Changes of the answer are counted while one "
    "still is shown; the one that is only late is counted as delay instead."
)
_KIND = (
    "The filters know how the streams change and how sure the frame model should be, from other "
    "streams of the same stills; the best settings are chosen in hindsight. Between two settings a "
    "filter is taken to be as good as both allow. All of that favours the filters."
)
_CHANCE = (
    "The intervals tell how far the figures would move had other streams been composed of these "
    "stills; other faces move them further."
)
