"""Tables."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from convert import metrics, report
from convert.measure import DataFacts, Measurement
from convert.run import StreamReport, ThroughCrop


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


def test_labels_may_be_others() -> None:
    scores = metrics.score(np.eye(2, dtype=np.float32), np.arange(2), names=("calm", "tense"))
    assert "| calm " in report.labels_table(scores)
    assert report.confusion_table(scores).splitlines()[0].endswith("| calm | tense |")


def test_each_figure_stands_beside_its_interval() -> None:
    rows = {name: rest for name, *rest in report.figures(metrics.score(np.eye(7), np.arange(7)))}
    assert rows["accuracy"] == ["100.0 %", "64.6 to 100.0 %"]  # Wilson, 7 of 7
    assert rows["macro F1"] == ["1.000", "1.000 to 1.000"]
    assert rows["expected calibration error"][1] == ""


@pytest.fixture
def measured() -> Measurement:
    scores = metrics.score(np.eye(7, dtype=np.float32), np.arange(7))
    return Measurement(
        model="it", kind="a bundle", files={}, facts={}, labels=scores.names,
        data=DataFacts(name="faces", sha256="b" * 64, split="val", counts={"happy": 7}),
        scores={"float": scores, "int8": scores}, notes=("It was odd.",),
    )  # fmt: skip


def test_everything_that_was_measured_is_in_the_tables(measured: Measurement) -> None:
    text = report.measurement_tables(measured)
    for said in (
        "it: a bundle", "faces, val: 7 pictures, sha256 bbb", "| float |", "| int8  |",
        "Brier score", "true \\ answer", "It was odd.",
    ):  # fmt: skip
        assert said in text
    through = ThroughCrop(tiles=9, found=7, direct=measured.main, cropped=measured.main)
    with_crop = msgspec.structs.replace(measured, through_crop=through)
    assert "faces found in 7 of 9 tiles" in report.measurement_tables(with_crop)


def test_the_published_protocol_is_told_in_a_sentence(measured: Measurement) -> None:
    answers = np.eye(7, dtype=np.float32)[[0, 1, 2, 3]]
    found = metrics.published(answers, np.array([0, 1, 7, 3]))
    assert (found.n, found.contempt, found.right, found.accuracy) == (4, 1, 3, 0.75)
    text = report.measurement_tables(msgspec.structs.replace(measured, published=found))
    assert "1 of 4 faces are contempt" in text
    assert "it is right for 75.0 % (30.1 to 95.4 % at 95 %)" in text


def test_cautions_are_those_that_apply(measured: Measurement) -> None:
    said = " ".join(report.cautions(measured))
    assert "what a person feels" in said
    assert "cut out by whoever made the data" in said
    assert "FER2013" not in said
    assert "no muscle makes" not in said
    known = msgspec.structs.replace(measured.data, name="FER2013")
    streams = StreamReport(
        streams=1, steps=1, frame_accuracy=1, head_accuracy=1, frame_flips_a_minute=0,
        head_flips_a_minute=0, temperature=1, ece_before=0, ece=0, coverage=(),
    )  # fmt: skip
    said = " ".join(report.cautions(msgspec.structs.replace(measured, data=known, streams=streams)))
    assert "FER2013's labels are noisy" in said
    assert "no muscle makes" in said
