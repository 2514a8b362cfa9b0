"""Measurements as tables: for the terminal, and in Markdown for the model card."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from convert.data import LABELS
from convert.metrics import Scores
from convert.run import Evaluation, StreamReport


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up, so that it reads in a terminal too.

    Examples
    --------
    >>> print(table(["a", "b"], [["1", "22"]]))
    | a |  b |
    |---|---:|
    | 1 | 22 |
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "|".join(
        "-" * (width + 2) if not index else "-" * (width + 1) + ":"
        for index, width in enumerate(widths)
    )

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])


def scores_table(measured: dict[str, Scores]) -> str:
    """Return one row of overall figures for each thing measured."""
    head = ["", "n", "accuracy", "95 % interval", "balanced", "macro F1", "ECE"]
    rows = [
        [
            name,
            str(scores.n),
            percent(scores.accuracy),
            f"{100 * scores.accuracy_interval[0]:.1f} to {percent(scores.accuracy_interval[1])}",
            percent(scores.balanced_accuracy),
            f"{scores.macro_f1:.3f}",
            f"{scores.ece:.3f}",
        ]
        for name, scores in measured.items()
    ]
    return table(head, rows)


def labels_table(scores: Scores) -> str:
    """Return precision and recall of each label."""
    rows = [
        [
            label,
            str(sum(scores.confusion[index])),
            percent(scores.precision[label]),
            percent(scores.recall[label]),
        ]
        for index, label in enumerate(LABELS)
    ]
    return table(["label", "n", "precision", "recall"], rows)


def confusion_table(scores: Scores) -> str:
    """Return the confusion matrix: a row per true label, a column per answer."""
    rows = [
        [label, *map(str, counts)] for label, counts in zip(LABELS, scores.confusion, strict=True)
    ]
    return table(["true \\ answer", *LABELS], rows)


def streams_table(report: StreamReport) -> str:
    """Return the head beside the frame model, and its calibration."""
    beside = table(
        ["composed streams, steady stretches", "frame model alone", "with the head"],
        [
            ["accuracy", percent(report.frame_accuracy), percent(report.head_accuracy)],
            [
                "label flips a minute",
                f"{report.frame_flips_a_minute:.1f}",
                f"{report.head_flips_a_minute:.1f}",
            ],
        ],
    )
    covered = table(
        ["abstain below", "steps answered", "accuracy of those"],
        [[f"{low:.2f}", percent(share), percent(right)] for low, share, right in report.coverage],
    )
    calibration = (
        f"{report.streams} streams of {report.steps} steps; temperature "
        f"{report.temperature:.3f}, ECE {report.ece_before:.3f} without it and {report.ece:.3f} "
        "with it"
    )
    return f"{beside}\n\n{calibration}\n\n{covered}"


def evaluation_tables(evaluation: Evaluation) -> str:
    """Return everything that was measured."""
    measured = {"float": evaluation.floating, "int8": evaluation.quantised}
    through = evaluation.through_crop
    note = ""
    if through is not None:
        measured |= {"int8, where found": through.direct, "int8, through crop": through.cropped}
        note = f"\nfaces found in {through.found} of {through.tiles} tiles"
    parts = [
        scores_table(measured) + note,
        labels_table(evaluation.quantised),
        confusion_table(evaluation.quantised),
        streams_table(evaluation.streams),
    ]
    return "\n\n".join(parts)


def as_json(evaluation: Evaluation) -> str:
    """Return everything that was measured as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=2).decode()
