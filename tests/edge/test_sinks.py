"""Events as lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.datatypes import Event, EventBox, Latency, TrackInfo
from edge.errors import MienError
from edge.sinks import JsonLines

EVENT = Event(
    id="b-1",
    seq=1,
    boot_id="b",
    type="start",
    camera="door",
    track=TrackInfo(id=1, age_ms=300),
    box=EventBox(x=0, y=0, width=1, height=1),
    emotion="happy",
    confidence=0.9,
    probs={"happy": 0.9},
    valence=0.7,
    ts="2026-01-01T00:00:00.000Z",
    clock_synced=True,
    latency_ms=Latency(capture=1, detect=1, crop=1, frame=1, head=1, total=5),
    bundle="x",
)


def test_each_event_is_a_line_that_can_be_read_at_once(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    sink = JsonLines(str(file))
    sink.send(EVENT)
    assert json.loads(file.read_text())["id"] == "b-1"
    sink.send(EVENT)
    sink.close()
    assert len(file.read_text().splitlines()) == 2


def test_a_file_that_exists_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("{}\n")
    sink = JsonLines(str(file))
    sink.send(EVENT)
    sink.close()
    assert len(file.read_text().splitlines()) == 2


def test_a_dash_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    sink = JsonLines("-")
    sink.send(EVENT)
    sink.close()
    assert json.loads(capfd.readouterr().out)["emotion"] == "happy"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MienError, match=r"absent/e\.jsonl: No such file or directory; name a file"):
        JsonLines(str(tmp_path / "absent" / "e.jsonl"))


def test_a_full_disk_is_named() -> None:
    sink = JsonLines("/dev/full")
    with pytest.raises(MienError, match="/dev/full: No space left on device"):
        sink.send(EVENT)
    sink.close()
