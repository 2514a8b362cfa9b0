"""What the bench of events leaves; and that the device, README and docs say what it found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from convert import event_report
from convert.errors import RunError
from convert.event_record import Choice, EventsBench, Heard, Listened
from convert.measure import DataFacts
from edge.settings import PRESETS, Events

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "events"


def heard(hold_s: float, flicker: float, delay_s: float) -> Heard:
    return Heard(
        settle_s=0.2, hold_s=hold_s, margin=0.1, flicker=flicker, delay_s=delay_s, missed=0.02,
        right=0.8, unsure=0.05,
    )  # fmt: skip


@pytest.fixture
def found() -> EventsBench:
    soon, late = heard(0.0, 9.0, 0.2), heard(0.5, 1.5, 0.7)
    conditions = tuple(
        Listened(
            fps=fps, dropped=dropped, heard=soon, flicker_interval=(8.0, 10.25),
            delay_interval=(0.15, 0.25), right_interval=(0.75, 0.85),
        )
        for fps, dropped in ((10.0, 0.0), (30.0, 0.3))
    )  # fmt: skip
    return EventsBench(
        bundle="it",
        files={"frame.tflite": "f" * 64},
        labels=("happy", "sad"),
        data=DataFacts(name="faces", sha256="0" * 64, split="val", counts={}),
        count=9,
        seed=1,
        scoring={"seconds": 8.0},
        grid=(soon, heard(0.3, 9.5, 0.8), late),
        front=(0, 2),
        presets={
            "calm": Choice(change_s=10.0, chosen=late, conditions=conditions),
            "quick": Choice(change_s=1.0, chosen=soon, conditions=conditions),
        },
    )


def test_a_page_says_what_each_preset_does_and_costs(found: EventsBench) -> None:
    page = event_report.page(found)
    for said in (
        "faces, val: 9 composed streams at each frame rate, not video",
        "10 s for `calm` and 1 s for `quick`", "`quick`, 30 fps, 30 % lost", "8.0 to 10.2",
        f"- `frame.tflite` {'f' * 64}", "](events.png)",
    ):  # fmt: skip
        assert said in page
    calm, quick = event_report.presets(found).splitlines()[2:]
    assert [cell.strip() for cell in calm.split("|")[1:-1]] == [
        "`calm`", "0.5 s", "0.1", "1.5", "0.70 s", "2.0 %", "80.0 %", "5.0 %", "27.0 s"
    ]  # fmt: skip
    assert "| `quick` |" in quick


def test_files_are_written_together_and_read_again(found: EventsBench, tmp_path: Path) -> None:
    event_report.write(found, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "events.json", "events.md", "events.png"
    ]  # fmt: skip
    record = (tmp_path / "out" / "events.json").read_bytes()
    assert msgspec.json.decode(record, type=EventsBench) == found
    assert (tmp_path / "out" / "events.png").read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again"
    event_report.write(found, again)
    assert (again / "events.png").read_bytes() == (tmp_path / "out" / "events.png").read_bytes()


def test_a_folder_that_cannot_be_made_is_told(found: EventsBench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        event_report.write(found, tmp_path / "file" / "out")


@pytest.fixture
def committed() -> EventsBench:
    return msgspec.json.decode((DOCS / "events.json").read_bytes(), type=EventsBench)


def test_the_devices_presets_are_those_that_were_chosen(committed: EventsBench) -> None:
    chosen = {
        name: (each.chosen.settle_s, each.chosen.hold_s, each.chosen.margin)
        for name, each in committed.presets.items()
    }
    assert chosen == {
        name: (rules.settle_s, rules.hold_s, rules.margin) for name, rules in PRESETS.items()
    }


def test_what_is_written_of_them_is_what_was_measured(committed: EventsBench) -> None:
    assert (DOCS / "events.md").read_text() == event_report.page(committed)
    assert event_report.presets(committed) in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ["settle_s", "hold_s", "margin"])
def test_the_example_configuration_shows_what_holds_by_default(name: str) -> None:
    example = (ROOT / "firmware_configs" / "mien.example.toml").read_text()
    assert f"\n# {name} = {getattr(Events().rules, name)} " in example
