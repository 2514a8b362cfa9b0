"""The page needs nothing besides itself, and says all that was measured."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

from convert import metrics, page, plots
from convert.errors import RunError
from convert.measure import DataFacts, Measurement
from convert.run import StreamReport, ThroughCrop

NAMES = ("angry", "<b>sad</b>")
VOID = {"meta", "img", "br", "link", "input"}


@pytest.fixture(scope="module")
def measured() -> Measurement:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 100)
    logits = random.normal(0, 1, (100, 2)).astype(np.float32)
    logits[np.arange(100), labels] += 1
    scores = metrics.score(logits, labels, names=NAMES)
    streams = StreamReport(
        streams=3, steps=80, frame_accuracy=0.123, head_accuracy=0.456, frame_flips_a_minute=60.5,
        head_flips_a_minute=30.25, temperature=1.5, ece_before=0.1, ece=0.05,
        coverage=((0.4, 0.9, 0.7),),
    )  # fmt: skip
    counts = dict(zip(NAMES, np.bincount(labels).tolist(), strict=True))
    return Measurement(
        model="it <script>", kind="a bundle", files={"frame.tflite": "a" * 64},
        facts={"tile": "48 x 48"}, labels=NAMES,
        data=DataFacts(name="faces", sha256="b" * 64, split="val", counts=counts),
        scores={"int8": scores}, streams=streams, notes=("It was odd.",),
        through_crop=ThroughCrop(tiles=100, found=98, direct=scores, cropped=scores),
    )  # fmt: skip


class Reader(HTMLParser):
    """Collects text and attributes, and holds that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\xa0", " ")


@pytest.fixture(scope="module")
def read(measured: Measurement) -> Reader:
    return Reader(page.render(measured))


def test_every_element_is_closed(read: Reader) -> None:
    assert not read.open


def test_nothing_is_fetched_and_nothing_runs(measured: Measurement, read: Reader) -> None:
    for tag, attributes in read.elements:
        assert tag not in {"script", "link", "iframe", "object", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?://", page.render(measured))


def test_every_figure_is_in_it_for_either_ground(read: Reader) -> None:
    images = [attributes for tag, attributes in read.elements if tag == "img"]
    assert [each["class"] for each in images] == ["light", "dark"] * len(plots.FIGURES)
    for each in images:
        assert each["alt"]
        start, content = (each["src"] or "").split(",")
        assert start == "data:image/svg+xml;base64"
        # Names of XML, and nothing to fetch, in the figures either.
        figure = base64.b64decode(content).decode()
        assert "</svg>" in figure
        assert not re.search(r'(href|src)="(?!#)', figure)


def test_what_was_measured_is_said(measured: Measurement, read: Reader) -> None:
    scores = measured.main
    for said in (
        "it <script>", "a bundle", "a" * 64, "b" * 64, "faces", "<b>sad</b>", "It was odd.",
        "48 x 48", f"{100 * scores.accuracy:.1f} %", f"{scores.mse:.4f}", f"{scores.ece:.3f}",
        f"{scores.macro_f1_interval[0]:.3f} to {scores.macro_f1_interval[1]:.3f}",
        "98 of 100 faces", "12.3 %", "45.6 %", "What the figures do not say", "no muscle makes",
    ):  # fmt: skip
        assert said in read.text
    for name, count in measured.data.counts.items():
        assert f"{name} {count}" in read.text


def test_the_same_measurement_gives_the_same_page(measured: Measurement) -> None:
    assert page.render(measured) == page.render(measured)


def test_a_label_that_is_never_answered_has_no_interval(measured: Measurement) -> None:
    scores = metrics.score(np.eye(2, dtype=np.float32)[[0, 0]], np.array([0, 0]), names=NAMES)
    alone = msgspec.structs.replace(measured, scores={"int8": scores})
    assert "never" in Reader(page.render(alone)).text


def test_record_figures_and_page_are_written(measured: Measurement, tmp_path: Path) -> None:
    page.write(measured, tmp_path / "new" / "folder")
    names = {file.name for file in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"evaluation.json", "report.html", *(f"{name}.png" for name in plots.FIGURES)}
    record = json.loads((tmp_path / "new" / "folder" / "evaluation.json").read_text())
    assert record["schema"] == "mien-evaluation/1"
    assert msgspec.convert(record, Measurement) == measured


def test_other_files_in_the_folder_stay(measured: Measurement, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    page.write(measured, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_a_folder_that_cannot_be_written_is_named(measured: Measurement, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match=r"file/.*cannot write it"):
        page.write(measured, tmp_path / "file" / "below")
