"""How poor a look may be: ways to spoil tiles, limits, and the command that measures them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn import draw_tiles
from hypothesis import given
from hypothesis import strategies as st

from convert import quality_bench, quality_report
from convert.__main__ import main
from convert.data import Tiles
from convert.measure import DataFacts
from convert.quality_bench import WAYS, QualityBench
from edge import bundle
from edge.networks import StreamNetworks
from edge.settings import Limits

FACTS = DataFacts(name="drawn", sha256="0" * 64, split="val", counts={})


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    return Tiles(draw_tiles(14), np.arange(14) % 7)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_way_spoils_what_it_says_more_and_more(
    way: quality_bench.Way, portrait: np.ndarray
) -> None:
    one = Tiles(portrait[None], np.zeros(1, np.int64))
    looks = list(quality_bench.looks_of(way, one))
    assert len(looks) == 1 + len(way.amounts)
    assert (looks[0].says, len({each.says for each in looks})) == ("as they are", len(looks))
    assert (looks[0].tiles == one.pixels).all()
    values = [getattr(each.measured[0], way.measure) for each in looks]
    if way.name != "backlight":  # of which only half a face grows dark
        worse = np.diff(values) * (-1 if way.sense == "least" else 1)
        assert worse.min() > -0.001  # what rounding does to a blur
        assert worse.sum() > 0


def test_light_that_is_added_is_lost_above_white() -> None:
    tile = np.array([[0, 50, 200]], np.uint8)
    assert quality_bench.brightened(tile, 2.2).tolist() == [[0, 100, 255]]
    assert quality_bench.washed_out(np.array([[0, 100]], np.uint8), 0.5).tolist() == [[25, 75]]


def test_faces_that_look_aside_are_told_apart(portrait: np.ndarray) -> None:
    _, manifest = bundle.load_stream("mien-fer2013")
    blank = np.full_like(portrait, 90)
    both = Tiles(np.stack([blank, portrait]), np.array([0, 3]))
    (found,) = quality_bench.turned(both, manifest)
    assert found.labels.tolist() == [3]
    assert found.says == "0 to 10 degrees aside"
    assert found.tiles.shape == (1, 48, 48)


pairs = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30)


@given(pairs)
def test_a_limit_has_the_most_right_less_wrong(looks: list[tuple[int, bool]]) -> None:
    values, right = np.array([each[0] for each in looks], float), np.array([e[1] for e in looks])

    def worth(limit: float) -> int:
        return sum((1 if right else -1) for value, right in looks if value >= limit)

    found = quality_bench.limit(values, right, "least")
    best = max(worth(value) for value in values)
    assert worth(float(values.min()) if found is None else found) == best
    # The same from the other end.
    mirrored = quality_bench.limit(-values, right, "most")
    assert mirrored == (None if found is None else -found)


def test_where_nothing_is_answered_there_is_no_limit() -> None:
    assert quality_bench.limit(np.zeros(0), np.zeros(0, bool), "least") is None


@pytest.fixture(scope="module")
def found(tiles: Tiles) -> QualityBench:
    loaded, manifest = bundle.load_stream("mien-fer2013")
    networks = StreamNetworks(loaded, manifest)
    return quality_bench.bench(networks, manifest, tiles, FACTS, files={}, at_most=10)


def test_every_measure_of_the_gate_is_measured(found: QualityBench) -> None:
    assert found.tiles == 10
    assert found.allowed == Limits()
    names = {f"{each.sense}_{each.measure}" for each in found.spoilt}
    assert names == set(Limits.__struct_fields__)
    first = found.spoilt[0].steps[0]
    assert first.looks == 10
    assert 0 <= first.right <= 1


def test_the_tables_name_settings_and_limits(found: QualityBench) -> None:
    text = quality_report.tables(found)
    assert "10 faces, answered by the frame model of mien-fer2013 alone" in text
    for name in Limits.__struct_fields__:
        assert name in text


def test_the_command_prints_tables_or_json(
    data_folder: object, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quality", "mien-fer2013", "--data", str(data_folder), "--tiles", "5"]
    assert main(words) == 0
    assert "| least_sharpness |" in " ".join(capsys.readouterr().out.split())
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "mien-quality/1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "none: is no bundle, and none of that name comes with Mien (blazeface-full, "),
        ("blazeface-short", "it finds faces and names no expression"),
    ],
)
def test_what_is_no_bundle_of_expressions_is_one_line(
    name: str, said: str, data_folder: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quality", name, "--data", str(data_folder)]) in (1, 2)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("mien-convert: ")
    assert said in line


def test_less_than_one_tile_exits_2() -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["quality", "mien-fer2013", "--data", "none", "--tiles", "0"])
    assert exit_.value.code == 2
