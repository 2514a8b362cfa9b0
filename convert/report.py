"""Measurements in words and tables: for the terminal, and in Markdown for the model card."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from convert.measure import Measurement
from convert.metrics import Interval, Published, Scores
from convert.run import Doubt, StreamReport


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def percents(interval: Interval) -> str:
    """Return the two ends of an interval as percentages with one decimal."""
    return f"{100 * interval[0]:.1f} to {percent(interval[1])}"


def decimals(interval: Interval) -> str:
    """Return the two ends of an interval with three decimals."""
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


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
            percents(scores.accuracy_interval),
            percent(scores.balanced_accuracy),
            f"{scores.macro_f1:.3f}",
            f"{scores.ece:.3f}",
        ]
        for name, scores in measured.items()
    ]
    return table(head, rows)


def figures(scores: Scores) -> list[tuple[str, str, str]]:
    """Return the overall figures: what each is called, its value, and its 95 % interval."""
    return [
        ("accuracy", percent(scores.accuracy), percents(scores.accuracy_interval)),
        ("accuracy, bootstrap", percent(scores.accuracy), percents(scores.accuracy_bootstrap)),
        (
            "balanced accuracy",
            percent(scores.balanced_accuracy),
            percents(scores.balanced_accuracy_interval),
        ),
        ("macro F1", f"{scores.macro_f1:.3f}", decimals(scores.macro_f1_interval)),
        (
            "mean squared error",
            f"{scores.mse:.4f}",
            "{:.4f} to {:.4f}".format(*scores.mse_interval),
        ),
        ("Brier score", f"{scores.brier:.3f}", ""),
        ("expected calibration error", f"{scores.ece:.3f}", ""),
    ]


def labels_table(scores: Scores) -> str:
    """Return precision and recall of each label."""
    rows = [
        [
            label,
            str(sum(scores.confusion[index])),
            percent(scores.precision[label]),
            percent(scores.recall[label]),
        ]
        for index, label in enumerate(scores.names)
    ]
    return table(["label", "n", "precision", "recall"], rows)


def confusion_table(scores: Scores) -> str:
    """Return the confusion matrix: a row per true label, a column per answer."""
    rows = [
        [label, *map(str, counts)]
        for label, counts in zip(scores.names, scores.confusion, strict=True)
    ]
    return table(["true \\ answer", *scores.names], rows)


def streams_table(report: StreamReport) -> str:
    """Return the head beside the frame model, and its calibration."""
    calibration = (
        f"{report.streams} streams of {report.steps} steps; temperature "
        f"{report.temperature:.3f}, ECE {report.ece_before:.3f} without it and {report.ece:.3f} "
        "with it"
    )
    if report.doubt is not None:
        doubt = [doubt_table(report.doubt), curve_table(report.doubt.curve[::CURVE_STEP])]
    else:
        doubt = [curve_table(report.coverage)]
    return "\n\n".join([beside_table(report), calibration, *doubt])


CURVE_STEP = 5
"""Of the thresholds of a measured curve, which lie 0.01 apart, tables have every so manieth."""


def beside_table(report: StreamReport) -> str:
    """Return the head beside the frame model: how right, and how restless."""
    return table(
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


def doubt_table(doubt: Doubt) -> str:
    """Return temperatures and calibration errors of the head and of the frame model alone."""
    rows = [
        [
            name,
            f"{each.temperature:.3f}",
            f"{min(each.fold_temperatures):.3f} to {max(each.fold_temperatures):.3f}",
            f"{each.ece_before:.3f}",
            f"{each.ece_fitted:.3f}",
            f"{each.ece:.3f}",
            "{:.3f} to {:.3f}".format(*each.ece_interval),
        ]
        for name, each in (("with the head", doubt.head), ("frame model alone", doubt.frame))
    ]
    head = ["calibration error", "temperature", "of the folds", "without", "fitted"]
    return table([*head, "cross-fitted", "95 %"], rows)


def curve_table(curve: Sequence[tuple[float, float, float]]) -> str:
    """Return (threshold, share answered, accuracy of those) as a table."""
    return table(
        ["abstain below", "steps answered", "accuracy of those"],
        [[f"{low:.2f}", percent(share), percent(right)] for low, share, right in curve],
    )


def by_majority(found: Published) -> str:
    """Return what was measured by the protocol of published results, in a sentence."""
    return (
        f"By the majority protocol of FER+ (eight labels; {found.contempt} of {found.n} faces are "
        "contempt, which this model has no answer for and which count as errors) it is right for "
        f"{percent(found.accuracy)} ({percents(found.interval)} at 95 %). On another split of the "
        "same pictures, PrivateTest, Barsoum et al. (2016) publish 85.0 % for their VGG13."
    )


def measurement_tables(measured: Measurement) -> str:
    """Return everything that was measured."""
    rows, through, note = dict(measured.scores), measured.through_crop, ""
    if through is not None:
        rows |= {"int8, where found": through.direct, "int8, through crop": through.cropped}
        note = f"\nfaces found in {through.found} of {through.tiles} tiles"
    data = measured.data
    parts = [
        (
            f"{measured.model}: {measured.kind}\n{data.name}, {data.split}: {data.n} pictures, "
            f"sha256 {data.sha256}"
        ),
        scores_table(rows) + note,
        table([list(measured.scores)[-1], "", "95 % interval"], figures(measured.main)),
        labels_table(measured.main),
        confusion_table(measured.main),
    ]
    if measured.published is not None:
        parts.append(by_majority(measured.published))
    if measured.streams is not None:
        parts.append(streams_table(measured.streams))
    return "\n\n".join([*parts, *measured.notes])


def cautions(measured: Measurement) -> list[str]:
    """Return, in plain words, what the figures do not say."""
    said = [_NO_FEELING, _CHANCE, _WHO]
    if measured.data.name == "FER2013":
        said.append(_NOISY)
    if measured.through_crop is None:
        said.append(_CUT_OUT)
    if measured.streams is not None:
        said.append(_COMPOSED)
    return said


_NO_FEELING = (
    "A label says what a face looks like to other people in one picture. It does not say what a "
    "person feels, thinks or is about to do, and nothing should be decided about anyone from it."
)
_CHANCE = (
    "The intervals tell how far the figures would move had other pictures been drawn from the "
    "same source. Wrong labels, another camera, other light and other people move them further, "
    "and no interval tells by how much."
)
_WHO = (
    "How well it does for one group of people and another, by age, sex or skin, is not measured: "
    "the data does not say who is in the pictures."
)
_NOISY = (
    "FER2013's labels are noisy: people agree with them about two times in three, and for fear "
    "and disgust far less. No model can be seen to do better than the labels."
)
_CUT_OUT = (
    "The faces were cut out by whoever made the data. On a device its own detector and crop come "
    "first, and what they cost is not in these figures."
)
_COMPOSED = (
    "The streams were composed of still pictures, not filmed: who is in them changes with the "
    "expression, by a fade that no muscle makes. How a live face does is not measured."
)


def as_json(evaluation: msgspec.Struct) -> str:
    """Return everything that was measured as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=2).decode()
