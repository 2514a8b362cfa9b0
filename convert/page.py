"""A measurement as one web page that needs nothing besides itself: no network, no script.

It is meant to be read on a telephone and on paper too, on a light ground and on a dark one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TypeAlias

from convert import plots, report
from convert.measure import Measurement
from convert.metrics import Scores, wilson
from convert.report import percent, percents
from convert.run import StreamReport, write_record, write_whole

Cell: TypeAlias = "str | tuple[str, str]"
"""What stands in a table: a text, or a value and its interval."""

PAGE = "report.html"
RECORD = "evaluation.json"


def write(measured: Measurement, out: Path) -> None:
    """Write the record, the figures as PNG, and the page, which says that all is there, last.

    Raises
    ------
    RunError
        The folder cannot be made or written.
    """
    write_record(out / RECORD, measured)
    for name, draw in plots.FIGURES.items():
        write_whole(out / f"{name}.png", plots.png(draw, measured.main))
    write_whole(out / PAGE, render(measured).encode())


def render(measured: Measurement) -> str:
    """Return the page; the same measurement gives the same text."""
    sections = [
        _headline(measured),
        _section("Overall", _overall(measured)),
        _section("Label by label", _by_label(measured.main)),
        _section("What is taken for what", _confusion(measured.main)),
        _section("How sure it is", _reliability(measured.main)),
    ]
    if measured.streams is not None:
        sections.append(_section("With the temporal head", _streams(measured.streams)))
    said = "".join(f"<li>{escape(each)}</li>" for each in report.cautions(measured))
    sections += [
        _section("What the figures do not say", f"<ul>{said}</ul>"),
        _section("What was measured", _subject(measured)),
    ]
    return _PAGE.format(
        title=escape(f"{measured.model}, measured"), style=_STYLE, body="\n".join(sections)
    )


def _headline(measured: Measurement) -> str:
    scores, data = measured.main, measured.data
    commonest = max(data.counts, key=lambda name: data.counts[name])
    always = percent(data.counts[commonest] / data.n)
    notes = "".join(f"<p class=note>{_text(note)}</p>" for note in measured.notes)
    interval = _text(percents(scores.accuracy_interval))
    return (
        f"<header><p class=over>Mien · evaluation</p><h1>{escape(measured.model)}</h1>"
        f"<p class=lead>Of {data.n:,} pictures of {escape(data.name)} ({escape(data.split)}) it "
        f"labels <b>{_text(percent(scores.accuracy))}</b> rightly (95&nbsp;% interval {interval}). "
        f"To answer {escape(commonest)} always would be right for {_text(always)}.</p>{notes}"
        "</header>"
    )


def _overall(measured: Measurement) -> str:
    parts = []
    for name, scores in measured.scores.items():
        parts.append(_table(["", name, "95 % interval"], report.figures(scores)))
    through = measured.through_crop
    if through is not None:
        rows = [
            [name, percent(each.accuracy), percents(each.accuracy_interval)]
            for name, each in (("as they are", through.direct), ("cut out", through.cropped))
        ]
        parts.append(
            f"<p>The device's own detector found {through.found:,} of {through.tiles:,} faces. "
            "Those, as they are and cut out anew as a device would:</p>"
            + _table(["", "accuracy", "95 % interval"], rows)
        )
    if measured.published is not None:
        parts.append(f"<p>{_text(report.by_majority(measured.published))}</p>")
    parts.append(
        "<p class=note>The first interval is Wilson's; the others are bootstrapped within each "
        "label. Squared error is taken between probabilities and what is true, 1 or 0: a mean over "
        "pictures and labels, and as Brier's score summed over labels. Calibration error has no "
        "interval, for resampling can only raise it.</p>"
    )
    return "".join(parts)


def _by_label(scores: Scores) -> str:
    rows: list[list[Cell]] = []
    for index, (name, counts) in enumerate(zip(scores.names, scores.confusion, strict=True)):
        right, answered = counts[index], sum(row[index] for row in scores.confusion)
        shares = _share(right, answered), _share(right, sum(counts))
        rows.append([name, f"{sum(counts):,}", *shares])
    head = ["", "pictures", "precision, 95 %", "recall, 95 %"]
    return (
        _figure(
            "by-label",
            scores,
            "Recall, with its 95 % interval, and precision of each label; the most reliably found "
            "on top.",
        )
        + _table(head, rows)
        + "<p class=note>Recall: of the pictures with this label, the share it found. Precision: "
        "of its answers with this label, the share that is right. Intervals are Wilson's.</p>"
    )


def _share(right: int, of: int) -> Cell:
    return (percent(right / of), percents(wilson(right, of))) if of else "never"


def _confusion(scores: Scores) -> str:
    rows = [
        [name, *(f"{count:,}" for count in counts)]
        for name, counts in zip(scores.names, scores.confusion, strict=True)
    ]
    return _figure(
        "confusion", scores, "Of 100 pictures with the label on the left, how many get each answer."
    ) + _table(["counts", *scores.names], rows)


def _reliability(scores: Scores) -> str:
    rows = [
        [
            f"{100 * each.low:.0f} to {100 * each.high:.0f} %",
            f"{each.count:,}",
            percent(each.confidence),
            _share(round(each.accuracy * each.count), each.count),
        ]
        for each in scores.reliability
    ]
    caption = "How often it is right, by how sure it says it is; below, how many answers there are."
    head = ["sure", "answers", "mean", "right, 95 %"]
    return _figure("reliability", scores, caption) + _table(head, rows)


def _streams(streams: StreamReport) -> str:
    beside = [
        ["accuracy", percent(streams.frame_accuracy), percent(streams.head_accuracy)],
        [
            "label flips a minute",
            f"{streams.frame_flips_a_minute:.1f}",
            f"{streams.head_flips_a_minute:.1f}",
        ],
    ]
    covered = [
        [f"{low:.2f}", percent(answered), percent(right)]
        for low, answered, right in streams.coverage
    ]
    crossfitted = ""
    if streams.doubt is not None:
        crossfitted = f", {streams.doubt.head.ece:.3f} cross-fitted over folds of the stills"
    return (
        f"<p>{streams.streams} streams of {streams.steps} steps each, composed of the same "
        "stills, not filmed; only steps on which one still is shown alone are counted.</p>"
        + _table(["", "frame model alone", "with the head"], beside)
        + _table(["abstain below", "steps answered", "right"], covered)
        + f"<p class=note>Temperature {streams.temperature:.3f}; expected calibration error "
        f"{streams.ece_before:.3f} without it, {streams.ece:.3f} with it{crossfitted}.</p>"
    )


def _subject(measured: Measurement) -> str:
    data = measured.data
    facts = [
        ("model", escape(measured.model)),
        ("which is", escape(measured.kind)),
        *((escape(name), escape(fact)) for name, fact in measured.facts.items()),
        *((f"sha256 of {escape(name)}", _hash(each)) for name, each in measured.files.items()),
        ("data", f"{escape(data.name)}, {escape(data.split)}: {data.n:,} pictures"),
        ("its sha256", _hash(data.sha256)),
        (
            "its labels",
            ", ".join(f"<span>{escape(name)} {n:,}</span>" for name, n in data.counts.items()),
        ),
    ]
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{fact}</dd>" for name, fact in facts) + "</dl>"


def _hash(sha256: str) -> str:
    return f"<span class=hash>{escape(sha256)}</span>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _text(text: str) -> str:
    # A number keeps its unit where a line is broken.
    return escape(text).replace(" %", "&nbsp;%")


def _figure(name: str, scores: Scores, caption: str) -> str:
    """Return a figure for either ground; the style sheet shows one of the two."""
    draw = plots.FIGURES[name]
    images = "".join(
        f'<img class={ground} alt="{escape(caption)}" src="data:image/svg+xml;base64,'
        f'{base64.b64encode(plots.svg(draw, scores, theme)).decode()}">'
        for ground, theme in (("light", plots.LIGHT), ("dark", plots.DARK))
    )
    return f"<figure>{images}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    def line(cells: Sequence[Cell]) -> str:
        first, *rest = map(_cell, cells)
        return f"<tr><th scope=row>{first}</th>{''.join(f'<td>{each}</td>' for each in rest)}</tr>"

    titles = "".join(f"<th scope=col>{_text(title)}</th>" for title in head)
    body = f"<tbody>{''.join(map(line, rows))}</tbody>"
    return f"<div class=wide><table><thead><tr>{titles}</tr></thead>{body}</table></div>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return _text(cell)
    value, interval = cell
    return f"{_text(value)} <small>{_text(interval)}</small>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<footer>Made by <code>mien-convert evaluate</code>. The same model and data make the same page.
</footer>
</body>
</html>
"""

_STYLE = """
:root { --ground: #fff; --ink: #1d1d1f; --soft: #65656b; --line: #dedee2; --accent: #0072b2; }
.dark { display: none; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ground: #16171a; --ink: #e6e6e3; --soft: #a0a1a7; --line: #34363b; --accent: #56b4e9; }
  .light { display: none; }
  .dark { display: block; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; padding: 3.5rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif;
}
main, footer { max-width: 41rem; margin: 0 auto; }
.over, table, figcaption, dl, footer, .note {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
.over {
  margin: 0 0 .5rem; color: var(--accent); font-size: .8125rem; font-weight: 600;
  letter-spacing: .04em;
}
h1 {
  margin: 0 0 1rem; font-size: 2.125rem; line-height: 1.15; font-weight: 600;
  overflow-wrap: anywhere;
}
h2 { margin: 3.25rem 0 1rem; font-size: 1.3125rem; line-height: 1.3; font-weight: 600; }
p { margin: 0 0 1rem; }
.lead { font-size: 1.25rem; line-height: 1.5; text-wrap: pretty; }
.note, figcaption { color: var(--soft); font-size: .8125rem; line-height: 1.5; }
figure { margin: 0 0 1.5rem; }
figure img { width: 100%; max-width: 34rem; height: auto; margin: 0 auto; }
figure .light { display: block; }
@media screen and (prefers-color-scheme: dark) { figure .light { display: none; } }
figcaption { max-width: 34rem; margin: .5rem auto 0; }
.wide { overflow-x: auto; margin: 0 0 1.25rem; }
table {
  width: 100%; border-collapse: collapse; font-size: .875rem; line-height: 1.4;
  font-variant-numeric: tabular-nums lining-nums;
}
th, td { padding: .375rem 0 .375rem 1rem; text-align: right; white-space: nowrap; }
th { font-weight: 400; }
th:first-child { padding-left: 0; text-align: left; }
small { margin-left: .375rem; color: var(--soft); font-size: inherit; white-space: nowrap; }
thead th { color: var(--soft); font-size: .8125rem; vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--line); }
tbody tr:last-child { border-bottom: 1px solid var(--line); }
ul { margin: 0; padding-left: 1.1rem; }
li { margin: 0 0 .6rem; padding-left: .2rem; }
dl {
  display: grid; grid-template-columns: minmax(6.5rem, max-content) 1fr; gap: .375rem 1.25rem;
  margin: 0; font-size: .875rem; line-height: 1.5;
}
dt { color: var(--soft); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
dd span:not(.hash) { white-space: nowrap; }
.hash { font-size: .75rem; font-family: ui-monospace, Menlo, Consolas, monospace; }
footer { margin-top: 3.5rem; color: var(--soft); font-size: .8125rem; }
@media (max-width: 34rem) {
  table { font-size: .8125rem; }
  th, td { padding-left: .625rem; white-space: normal; }
  small { display: block; margin: 0; font-size: .75rem; }
  body { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.75rem; }
  .lead { font-size: 1.125rem; }
  h2 { margin-top: 2.5rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .625rem; }
}
@media print {
  @page { margin: 18mm; }
  body { padding: 0; font-size: 10.5pt; }
  main, footer { max-width: none; }
  h2 { margin-top: 2rem; break-after: avoid; }
  figure, tr, li, dl { break-inside: avoid; }
  figure img { max-width: 12cm; }
  .wide { overflow: visible; }
}
"""
