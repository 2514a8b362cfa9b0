"""Tables."""

from __future__ import annotations

import numpy as np

from convert import metrics, report


def test_columns_line_up() -> None:
    text = report.table(["name", "n"], [["a", "1000"], ["longer", "1"]])
    assert len({len(line) for line in text.splitlines()}) == 1
    assert text.splitlines()[-1] == "| longer |    1 |"


def test_every_label_has_a_row_and_a_column() -> None:
    labels = np.arange(7)
    scores = metrics.score(np.eye(7, dtype=np.float32), labels)
    assert report.confusion_table(scores).splitlines()[2].split("|")[2].strip() == "1"
    assert len(report.labels_table(scores).splitlines()) == 9
    assert "100.0 %" in report.scores_table({"all": scores})
