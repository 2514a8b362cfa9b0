"""What `convert.robustness` measured, in words and tables and as files."""

from __future__ import annotations

from pathlib import Path

from convert import report
from convert.report import percent, percents
from convert.robustness import Difference, ModelFacts, Robustness, Row
from convert.run import record_bytes, write_together

PAGE = "robustness.md"
RECORD = "robustness.json"
FIGURE = "robustness.png"


def write(found: Robustness, out: Path) -> None:
    """Write the record, the figure and the page, all of them or none.

    Raises
    ------
    RunError
        The folder cannot be made or written.
    """
    from convert import plots, robustness_plot  # noqa: PLC0415  # matplotlib, which most calls do without

    write_together(
        out,
        {
            RECORD: record_bytes(found),
            FIGURE: plots.png(robustness_plot.draw, found),
            PAGE: page(found).encode(),
        },
    )


def page(found: Robustness) -> str:
    """Return a Markdown page that shows the figure beside it."""
    first, *others = (each.name for each in found.models)
    against = f" against {', '.join(others)}" if others else ""
    figure = f"![Accuracy of each model as faces are spoilt more and more]({FIGURE})"
    facts = "\n".join(map(_model, found.models))
    said = "\n".join(f"- {each}" for each in _CAUTIONS)
    return (
        f"# Spoilt faces: {first}{against}\n\n{figure}\n\n{tables(found)}\n\n"
        f"## What was measured\n\n{facts}\n\n## What the figures do not say\n\n{said}\n"
    )


def _model(each: ModelFacts) -> str:
    """Return an item of a list that says what a model is."""
    facts = "; ".join([each.kind, each.form, *(f"{key}: {each.facts[key]}" for key in each.facts)])
    files = [f"  - `{file}` {sha256}" for file, sha256 in each.files.items()]
    return "\n".join([f"- `{each.name}`: {facts}", *files])


def tables(found: Robustness) -> str:
    """Return the table, and in words who does better where."""
    data = found.data
    what = f"{data.name}, {data.split}: {data.n} faces, spoilt at {found.size} x {found.size}"
    parts = [f"{what}; share answered rightly (95 % interval)", _accuracies(found)]
    if len(found.models) > 1:
        parts += [_differences(found), _verdicts(found)]
    parts.append(_weakest(found))
    told = [f"{each.name}: {note}" for each in found.models for note in each.notes]
    return "\n\n".join([*parts, *told, *found.notes])


def _accuracies(found: Robustness) -> str:
    names = [each.name for each in found.models]
    rows = []
    for row in (*found.rows, found.mean):
        shares = [row.shares[name] for name in names]
        cells = [f"{percent(each.accuracy)} ({percents(each.interval)[:-2]})" for each in shares]
        rows.append([f"{row.name}: {row.says}", *cells])
    return report.table(["", *names], rows)


def _differences(found: Robustness) -> str:
    first, *others = (each.name for each in found.models)
    rows = [
        [row.name, *(_told(row.against[other], first, other) for other in others)]
        for row in (*found.rows, found.mean)
    ]
    table = report.table([f"{first} minus", *others], rows)
    return f"In points, on the same faces (95 % interval, paired), and who wins:\n\n{table}"


def _told(difference: Difference, first: str, other: str) -> str:
    low, high = (f"{100 * end:+.1f}" for end in difference.interval)
    winner = {"better": first, "worse": other, "undecided": "undecided"}[difference.verdict]
    return f"{100 * difference.difference:+.1f} ({low} to {high}) {winner}"


def _verdicts(found: Robustness) -> str:
    """Say in sentences where the first model is better and where it is worse."""
    first, *others = (each.name for each in found.models)
    return "\n\n".join(_verdict(found, first, other) for other in others)


def _verdict(found: Robustness, first: str, other: str) -> str:
    where: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for row in found.rows:
        where[row.against[other].verdict].append(row.name)
    total = len(found.rows)
    lines = [
        f"- {what} in {len(rows)} of {total}: {', '.join(_grouped(rows))}"
        for what, rows in where.items()
        if rows
    ]
    mean = found.mean.against[other]
    said = {"better": "better", "worse": "worse", "undecided": "neither better nor worse"}
    points = f"{100 * mean.difference:+.1f} points"
    overall = f"{first} against {other}: over all spoilt faces {said[mean.verdict]} ({points})"
    return "\n".join([overall, "", *lines])


def _grouped(rows: list[str]) -> list[str]:
    """Return names of rows with the strengths of a corruption together.

    Examples
    --------
    >>> _grouped(["clean", "blur 1", "blur 2", "dark 3"])
    ['clean', 'blur 1 2', 'dark 3']
    """
    strengths: dict[str, list[str]] = {}
    for row in rows:
        name, _, strength = row.partition(" ")
        strengths.setdefault(name, []).append(strength)
    return [" ".join([name, *each]).strip() for name, each in strengths.items()]


def _weakest(found: Robustness) -> str:
    """Say of each model what costs it most at the middle strength."""
    lines = []
    clean, *rest = found.rows
    for each in found.models:
        before = clean.shares[each.name].accuracy

        def lost(row: Row, name: str = each.name, before: float = before) -> float:
            return before - row.shares[name].accuracy

        worst = sorted((row for row in rest if row.strength == _MIDDLE), key=lost, reverse=True)
        named = ", ".join(f"{row.corruption} {100 * lost(row):.1f}" for row in worst[:3])
        lines.append(f"- {each.name}: {named}")
    return "\n".join([f"What costs most at strength {_MIDDLE}, in points:", "", *lines])


_MIDDLE = 2

_IMITATED = (
    "The corruptions imitate what happens before a camera; they are not pictures of it. "
    "`convert/corruptions.py` has the arithmetic of each."
)
_CUT_OUT = (
    "Faces were spoilt after they had been cut out. On a device the detector and the crop meet a "
    "spoilt picture too, and what that costs is not in these figures."
)
_ONE_BY_ONE = (
    "Each interval holds by itself: of twenty differences that are none, about one looks like one."
)
_CHANCE = (
    "The intervals tell how far the figures would move had other faces been drawn from the same "
    "source; wrong labels and other people move them further."
)
_CAUTIONS = (_IMITATED, _CUT_OUT, _ONE_BY_ONE, _CHANCE)
