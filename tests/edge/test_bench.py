"""What a frame costs: that it is measured, not how much it is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import bench
from edge.datatypes import Box, Detection, Frame, Keypoints, Point
from edge.errors import MienError
from edge.settings import Settings


@pytest.fixture(scope="module")
def report() -> bench.Report:
    return bench.measure(Settings(), bench.SAMPLE, faces=4, frames=60)


def test_every_stage_is_measured(report: bench.Report) -> None:
    assert list(report.stages) == ["decode", "detect", "crop", "quality", "frame", "head"]
    for stage in report.stages.values():
        assert 0 < stage.p50_ms <= stage.p95_ms <= stage.p99_ms


def test_a_frame_is_time_inside_invoke_and_time_outside(report: bench.Report) -> None:
    assert report.inside_invoke_ms > 0
    assert report.outside_invoke_ms > 0
    assert report.fps > 0
    assert 20 < report.rss_mb < 1000
    assert report.import_s > 0
    assert report.first_event_s > 0


def test_the_report_reads_as_json_and_as_a_table(report: bench.Report) -> None:
    plain = json.loads(bench.to_json(report))
    assert plain["schema"] == "mien-bench/1"
    assert set(plain["stages"]["crop"]) == {"p50_ms", "p95_ms", "p99_ms"}
    shown = bench.table(report)
    assert "60 frames, 4 faces" in shown
    assert "inside invoke" in shown


def test_a_crowd_is_the_same_face_in_other_places() -> None:
    face = Detection(Box(0.1, 0.1, 0.2, 0.2), Keypoints(*[Point(0.2, 0.2)] * 6), 0.9)

    class One:
        invoked_s = 0.0

        def __call__(self, _: Frame) -> list[Detection]:
            return [face]

    picture = np.zeros((8, 8), np.uint8)
    crowd = bench.Crowd(One(), 16)(Frame(picture, picture, 0.0, 0.0))
    assert len({each.box for each in crowd}) == 16
    assert all(each.score == face.score for each in crowd)


def test_a_clip_without_a_face_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((60, 80, 3), 90, np.uint8))
    with pytest.raises(MienError, match="no face was found in it"):
        bench.measure(Settings(), tmp_path, faces=1, frames=5)
