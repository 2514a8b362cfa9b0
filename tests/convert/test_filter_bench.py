"""The bench of temporal filters: hand-made streams and fronts, whose figures can be checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from drawn import draw_tiles

from convert import filter_bench, filter_front, filter_measures, filter_report, filter_run, streams
from convert.data import Tiles
from convert.errors import DataError, RunError
from convert.filter_bench import Entrant
from convert.filter_measures import NO_ANSWER, Figures, Tally, timeline
from convert.filter_record import Filters
from convert.filter_run import Fitted, Seen
from convert.filters import Averaging, Majority
from convert.measure import DataFacts
from convert.streams import Stream
from edge import bundle
from edge.emotion import EmotionModel, Memory
from edge.networks import StreamNetworks

FPS = 10.0
LABELS = 3

Array = np.ndarray


def film(*spans: tuple[int, float], fade: float = 0.4, fps: float = FPS) -> Stream:
    """Labels, each shown alone for so many seconds, which fade into each other."""
    keys, shares, stretch = [], [], []
    for number, (label, hold) in enumerate(spans):
        one = np.eye(LABELS)[label]
        keys += [one] * round(hold * fps)
        stretch += [number] * round(hold * fps)
        if number + 1 < len(spans):
            steps, coming = round(fade * fps), np.eye(LABELS)[spans[number + 1][0]]
            shares = (np.arange(steps) + 0.5) / steps
            keys += [(1 - share) * one + share * coming for share in shares]
            stretch += [-1] * steps
    frames = len(keys)
    return Stream(
        times=np.arange(frames) / fps,
        pixels=np.zeros((frames, 1, 1), np.uint8),
        present=np.ones(frames, bool),
        targets=np.array(keys, np.float32),
        stretch=np.array(stretch),
        fps=fps,
    )


FILM = film((0, 2.0), (1, 3.0), (2, 2.0))
"""Frames 0 to 19, 24 to 53 and 58 to 77; the middles of the fades are at 2.15 s and 5.55 s."""


def answered(*spans: tuple[int, int]) -> Array:
    """Answers, each for so many frames."""
    return np.concatenate([np.full(frames, label) for label, frames in spans])


def seen(stream: Stream, logits: Array | None = None) -> Seen:
    """A stream whose frame model is sure of what is shown, or says what it is told to say."""
    looks = np.flatnonzero(stream.present)
    said = 5 * stream.targets[looks] if logits is None else logits
    return Seen(stream, looks, np.asarray(said, np.float32))


def without(stream: Stream, *frames: int) -> Stream:
    """The stream without some frames."""
    lost = np.isin(np.arange(len(stream.times)), frames)
    return seen(stream).without(lost).stream


# ------------------------------------------------------------------------------ what is measured


def test_a_change_is_the_middle_of_its_fade() -> None:
    changes = timeline(FILM).changes
    assert [change.start_s for change in changes] == pytest.approx([2.15, 5.55])
    assert [change.end_s for change in changes] == pytest.approx([5.55, 7.7])
    assert [change.label for change in changes] == [1, 2]


def test_a_middle_is_found_between_frames_that_were_lost() -> None:
    changes = timeline(without(FILM, 20, 21, 22, 23)).changes
    assert changes[0].start_s == pytest.approx((1.9 + 2.4) / 2)


def test_two_stills_of_one_label_are_no_change() -> None:
    line = timeline(film((0, 2), (0, 2), (1, 2)))
    assert [change.label for change in line.changes] == [1]


def test_a_change_just_before_the_end_is_left_out() -> None:
    assert len(timeline(film((0, 2), (1, 0.9))).changes) == 1
    assert len(timeline(film((0, 2), (1, 0.8))).changes) == 0
    assert timeline(film((0, 2))).changes == ()


def test_a_stream_may_end_in_a_fade() -> None:
    line = timeline(without(FILM, *range(56, 78)))
    assert [change.label for change in line.changes] == [1]
    assert line.changes[0].end_s == pytest.approx(5.5)


def tally(answers: Array, stream: Stream = FILM) -> Tally:
    return filter_measures.tally(timeline(stream), answers)


def test_who_follows_at_once_has_nothing_against_them() -> None:
    found = tally(FILM.targets.argmax(axis=1))
    assert (found.frames, found.right, found.flicks) == (70, 70, 0)
    assert found.noticed.all()
    # The first frames after 2.15 s and 5.55 s.
    assert found.delays_s == pytest.approx([0.05, 0.05])
    assert found.unchanged_s == pytest.approx(1.9 + 2.9 + 1.9)


def test_who_follows_late_is_slow_and_does_not_flicker() -> None:
    found = tally(answered((0, 30), (1, 35), (2, 13)))
    assert found.delays_s == pytest.approx([3.0 - 2.15, 6.5 - 5.55])
    assert found.flicks == 0
    assert found.right == 70 - 6 - 7


def test_flicker_is_every_other_change() -> None:
    # Two changes while 0 is shown; one too many after the late one in 1; none in a fade.
    found = tally(answered((0, 5), (1, 1), (0, 24), (2, 2), (1, 23), (0, 1), (2, 22)))
    assert found.flicks == 2 + 1
    # Answered rightly from the fade on, so that no change is due any more.
    soon = tally(answered((0, 22), (1, 10), (2, 1), (1, 23), (2, 22)))
    assert soon.flicks == 2


def test_before_the_first_answer_there_is_none_to_change() -> None:
    assert tally(answered((NO_ANSWER, 3), (0, 19), (1, 34), (2, 22))).flicks == 0


def test_a_change_is_noticed_once_the_answer_lasts() -> None:
    # At 2.4 s for 0.2 s only, then from 3.0 s on.
    found = tally(answered((0, 24), (1, 3), (0, 3), (1, 26), (2, 22)))
    assert found.delays_s[0] == pytest.approx(3.0 - 2.15)
    # Four frames span 0.3 s.
    lasting = tally(answered((0, 24), (1, 4), (0, 2), (1, 26), (2, 22)))
    assert lasting.delays_s[0] == pytest.approx(2.4 - 2.15)


def test_what_was_answered_before_the_change_does_not_count_as_sooner() -> None:
    found = tally(answered((1, 56), (2, 22)))
    assert found.delays_s[0] == pytest.approx(0.05)


def test_a_change_that_is_missed_takes_all_its_time() -> None:
    found = tally(answered((0, 56), (2, 22)))
    assert found.noticed.tolist() == [False, True]
    assert found.delays_s == pytest.approx([5.55 - 2.15, 0.05])
    # Noticed too late to last until the next.
    assert tally(answered((0, 54), (1, 2), (2, 22))).noticed.sum() == 1
    assert tally(answered((0, 52), (1, 4), (2, 22))).noticed.sum() == 2


def test_who_never_changes_is_slowest() -> None:
    found = tally(answered((0, 78)))
    assert (found.flicks, found.noticed.sum()) == (0, 0)
    assert found.delays_s == pytest.approx([5.55 - 2.15, 7.7 - 5.55])


def test_frames_without_a_face_are_not_scored() -> None:
    gone = FILM.present.copy()
    gone[[3, 4, 21]] = False
    line = timeline(replace(FILM, present=gone))
    wrong = FILM.targets.argmax(axis=1)
    wrong[3:5] = 2
    found = filter_measures.tally(line, wrong)
    assert (found.frames, found.right) == (68, 68)


def test_figures_are_sums_over_streams() -> None:
    yes, no = np.array([True]), np.array([False])
    rows = [
        [
            Tally(10, 8, 2, 30.0, np.array([1.0, 2.0, 5.0]), np.array([True, True, False])),
            Tally(30, 30, 1, 60.0, np.array([6.0]), no),
        ],
        [
            Tally(10, 10, 0, 30.0, np.array([0.5, 0.5, 5.0]), np.array([True, True, False])),
            Tally(30, 15, 0, 60.0, np.array([0.2]), yes),
        ],
    ]
    # The third change of the first stream is noticed by neither, and left out.
    found = filter_measures.gathered(rows)
    both = found.of(np.array([0, 1]))
    assert both.accuracy == pytest.approx([38 / 40, 25 / 40])
    assert both.flicker == pytest.approx([2.0, 0.0])
    assert both.mean_s == pytest.approx([3.0, 0.4])
    assert both.median_s == pytest.approx([2.0, 0.5])
    assert both.missed == pytest.approx([1 / 3, 0])
    twice = found.of(np.array([1, 1]))
    assert twice.accuracy[0] == 1
    assert twice.mean_s == pytest.approx([6.0, 0.2])
    again, same = found.resampled(50), found.resampled(50)
    assert again.mean_s.shape == (50, 2)
    assert (again.mean_s == same.mean_s).all()
    assert set(np.round(again.mean_s[:, 0], 6)) == {1.5, 3.0, 6.0}


# ------------------------------------------------------------------------------ front and verdict

SOON, MIDDLE, LATE, BEATEN = 0, 1, 2, 3
RIVALS = Figures(
    accuracy=np.array([0.8, 0.9, 0.7, 0.95]),
    flicker=np.array([16.0, 4.0, 1.0, 8.0]),
    mean_s=np.array([0.2, 0.4, 1.0, 0.5]),
    median_s=np.array([0.1, 0.3, 0.9, 0.4]),
    missed=np.zeros(4),
)


def test_the_front_is_whom_nobody_beats_and_the_line_between() -> None:
    front = filter_front.front(RIVALS.mean_s, RIVALS.flicker, RIVALS.accuracy)
    assert front.places.tolist() == [SOON, MIDDLE, LATE]
    assert front.at_delay(0.3) == pytest.approx((8.0, 0.85))
    assert front.at_delay(0.7) == pytest.approx((2.0, 0.8))
    assert front.at_flicker(8.0) == pytest.approx((0.3, 0.85))
    # Beyond the ends it stays as it is.
    assert front.at_delay(0.01) == pytest.approx((16.0, 0.8))
    assert front.at_delay(9.0) == pytest.approx((1.0, 0.7))
    assert front.at_flicker(99.0) == pytest.approx((0.2, 0.8))
    assert front.at_flicker(0.1) == pytest.approx((1.0, 0.7))


def test_of_equals_one_is_on_the_front() -> None:
    front = filter_front.front(np.array([0.3, 0.3, 0.2]), np.array([2.0, 2.0, 2.0]), np.ones(3))
    assert front.places.tolist() == [2]


def judged(delay_s: float, flicker: float, accuracy: float) -> filter_front.Verdict:
    def joined(rivals: Array, own: float) -> Array:
        return np.append(rivals, own)

    found = Figures(
        joined(RIVALS.accuracy, accuracy), joined(RIVALS.flicker, flicker),
        joined(RIVALS.mean_s, delay_s), joined(RIVALS.median_s, delay_s), np.zeros(5),
    )  # fmt: skip
    names = ("accuracy", "flicker", "mean_s", "median_s", "missed")
    again = Figures(*(np.tile(getattr(found, name), (3, 1)) for name in names))
    return filter_front.verdict(found, again, 4, "mean", least=0.25)


def test_a_verdict_holds_the_head_against_the_front_at_its_own_place() -> None:
    found = judged(0.3, 4.0, 0.9)
    assert found.at_equal_delay.competitor == pytest.approx(8.0)
    assert found.at_equal_delay.ratio == pytest.approx(0.5)
    assert found.at_equal_delay.accuracy == pytest.approx(0.05)
    assert found.at_equal_delay.ratio_interval == pytest.approx((0.5, 0.5))
    assert found.at_equal_flicker.competitor == pytest.approx(0.4)
    assert found.at_equal_flicker.ratio == pytest.approx(0.75)
    assert found.at_equal_flicker.accuracy == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("delay_s", "flicker", "accuracy", "passed"),
    [
        (0.3, 3.9, 0.9, True),  # half the flicker
        (0.3, 4.1, 0.9, False),  # neither
        (0.3, 3.9, 0.84, False),  # and wrong more often
        (0.27, 4.0, 0.9, True),  # 70 % of the delay
        (0.27, 4.0, 0.83, False),
        (0.1, 30.0, 0.9, True),  # nobody is half as soon
        (0.15, 15.0, 0.9, False),
        (2.0, 0.0, 0.9, True),  # nobody is a quarter as calm
        (0.5, 8.0, 0.95, False),
    ],
)
def test_who_passes(delay_s: float, flicker: float, accuracy: float, *, passed: bool) -> None:
    assert judged(delay_s, flicker, accuracy).passed is passed


# ------------------------------------------------------------------------------- who is measured


def test_an_answer_stands_while_the_face_is_missed() -> None:
    gone = FILM.present.copy()
    gone[[0, 1, 30, 31]] = False
    each = seen(replace(FILM, present=gone))
    given = np.arange(len(each.looks))
    held = filter_run.held(each, given)
    assert held[:4].tolist() == [NO_ANSWER, NO_ANSWER, 0, 1]
    assert held[29:33].tolist() == [27, 27, 27, 28]


def test_filters_go_over_streams_of_different_lengths() -> None:
    both = [seen(FILM), seen(film((2, 1.0)))]
    raw = filter_run.filtered(Averaging(0.0), both, 1.0, 2.0)
    assert raw[0].tolist() == FILM.targets.argmax(axis=1).tolist()
    assert raw[1].tolist() == [2] * 10
    alone = filter_run.filtered(Majority(0.5), both[:1], 1.0, 2.0)
    together = filter_run.filtered(Majority(0.5), both, 1.0, 2.0)
    assert (alone[0] == together[0]).all()


def test_after_a_gap_a_filter_forgets_as_the_device_does() -> None:
    each = seen(without(film((0, 2.0), (1, 2.0), fade=0), *range(15, 22)))
    slow = Averaging(100.0)
    for reset_after_s, first in ((0.85, 0), (0.75, 1)):
        answers = filter_run.filtered(slow, [each], 1.0, reset_after_s)[0]
        assert answers[15] == first, reset_after_s


def test_lost_frames_take_their_looks_with_them() -> None:
    gone = FILM.present.copy()
    gone[2] = False
    each = seen(replace(FILM, present=gone))
    less = each.without(np.isin(np.arange(78), [0, 2, 5]))
    assert len(less.stream.times) == 75
    assert less.times.tolist() == [time for time in each.times.tolist() if time not in (0.0, 0.5)]
    assert (less.logits == 5 * less.stream.targets[less.looks]).all()


def test_what_the_filters_know_is_fitted() -> None:
    random = np.random.default_rng(3)
    films = [film(*((int(k), 2.0) for k in random.permutation(3))) for _ in range(12)]
    noisy = [
        seen(each, 2 * each.targets + random.normal(0, 1, each.targets.shape)) for each in films
    ]
    found = filter_run.fit(noisy, 2.0)
    assert found.prior.sum() == pytest.approx(1)
    assert found.prior == pytest.approx([1 / 3] * 3, abs=0.1)
    assert -np.diag(found.rates) == pytest.approx([0.4] * 3, abs=0.25)
    # Two apart in noise of variance one: the likelihood's logarithm is twice what is said.
    assert found.temperature == pytest.approx(0.5, abs=0.1)
    assert 0 <= found.discount <= 1


@pytest.fixture(scope="module")
def baseline() -> tuple[StreamNetworks, bundle.StreamManifest]:
    loaded, manifest = bundle.load_stream("mien-consensus")
    return StreamNetworks(loaded, manifest), manifest


TILES = Tiles(draw_tiles(28), np.arange(28) % 7)


def test_the_head_answers_as_on_the_device(
    baseline: tuple[StreamNetworks, bundle.StreamManifest],
) -> None:
    networks, manifest = baseline
    stream = streams.compose(TILES, streams.SCORING, np.random.default_rng(1), 7, fps=15.0)
    model = EmotionModel(networks, manifest)
    memory: Memory | None = None
    expected, newest = [], NO_ANSWER
    for tile, present, time_s in zip(stream.pixels, stream.present, stream.times, strict=True):
        if present:
            look = model.look(tile, memory, float(time_s))
            memory = look.memory
            newest = int(np.argmax(look.estimate.probabilities))
        expected.append(newest)
    (each,) = filter_run.see(networks, [stream], 1, "seen")
    assert filter_run.headed(model, [each])[0].tolist() == expected
    assert not each.stream.pixels.size


def measured(head: Callable[[list[Seen]], list[Array]], *films: Stream) -> filter_bench.Condition:
    some = [seen(each) for each in films]
    fitted = Fitted(1.0, np.full(3, 1 / 3), 0.0, 0.2 * (np.full((3, 3), 1 / 3) - np.eye(3)))
    everybody = [
        *filter_bench.entrants(fitted, 2.0),
        Entrant("mine", "head", None, head),  # type: ignore[arg-type]
    ]
    return filter_bench.measure(everybody, some, fps=FPS, resamples=5)


def test_everybody_is_measured_on_the_same_streams() -> None:
    found = measured(lambda some: [each.stream.targets.argmax(axis=1) for each in some], FILM, FILM)
    assert (found.streams, found.changes, found.frames) == (2, 4, 156)
    assert found.unchanged_minutes == pytest.approx(2 * 6.7 / 60)
    assert len({each.name for each in found.entries}) == len(found.entries)
    assert found.head.accuracy == 1
    assert found.head.mean_s == pytest.approx(0.05)
    assert found.entries[0].family == "none"
    slowest = max(found.entries, key=lambda each: each.mean_s)
    assert slowest.missed == 1
    # Nothing can be better than what is right already.
    assert found.fronts["mean"] == (found.entries[0].name,)
    assert not found.verdicts[0].passed


def test_streams_in_which_nothing_changes_are_refused() -> None:
    with pytest.raises(DataError, match="any change in 1 streams at 10 fps; ask for more streams"):
        measured(lambda some: [np.zeros(20, int) for _ in some], film((0, 2.0)))


# -------------------------------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def found(baseline: tuple[StreamNetworks, bundle.StreamManifest]) -> Filters:
    facts = DataFacts(
        name="drawn", sha256="a" * 64, split="val", counts=dict.fromkeys(baseline[1].labels, 4)
    )
    return filter_bench.bench(
        *baseline, TILES, facts, files={"manifest.json": "b" * 64}, count=4, resamples=5
    )


def test_a_bundle_is_measured_at_every_frame_rate(found: Filters) -> None:
    assert [each.name for each in found.conditions] == [
        "10 fps", "5 fps", "15 fps", "30 fps", "10 fps, 30 % lost", "30 fps, 50 % lost"
    ]  # fmt: skip
    assert {len(each.entries) for each in found.conditions} == {119}
    first, *_, lossy, _ = found.conditions
    assert lossy.frames == pytest.approx(0.7 * first.frames, rel=0.15)
    assert found.conditions[0].head.name == "mien-consensus"
    assert found.scoring["shortest_hold"] == streams.SCORING.shortest_hold


def test_the_same_seed_gives_the_same_record(
    found: Filters,
    baseline: tuple[StreamNetworks, bundle.StreamManifest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filter_bench, "CONDITIONS", ((10.0, 0.0),))
    again = filter_bench.bench(
        *baseline, TILES, found.data, files=found.files, count=4, resamples=5
    )
    assert again.conditions[0] == found.conditions[0]


def test_the_record_is_json_that_comes_back(found: Filters) -> None:
    text = msgspec.json.encode(found)
    assert json.loads(text)["schema"] == "mien-filters/1"
    assert msgspec.json.decode(text, type=Filters) == found


def test_tables_name_the_head_and_the_bar(found: Filters) -> None:
    said = filter_report.tables(found)
    assert "drawn, val: 4 composed streams at each frame rate" in said
    assert "| mien-consensus " in said
    assert "| no smoothing " in said
    assert "at most 0.5 of their flicker at equal delay" in said
    for condition in found.conditions:
        assert f"| {condition.name}, mean delay " in said


def test_files_are_written_together(found: Filters, tmp_path: Path) -> None:
    filter_report.write(found, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "filters.json", "filters.md", "filters.png"
    ]  # fmt: skip
    page = (tmp_path / "out" / "filters.md").read_text()
    assert "(filters.png)" in page
    assert "composed of stills" in page
    assert "$ mien-convert filters mien-consensus --data DATA --count 4 --seed 1 --out DIR" in page
    kept = msgspec.json.decode((tmp_path / "out" / "filters.json").read_bytes(), type=Filters)
    assert kept.command == found.command
    assert kept.conditions[0].head.mean_s == pytest.approx(
        found.conditions[0].head.mean_s, rel=1e-4
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write it"):
        filter_report.write(found, tmp_path / "file")


def test_stills_of_one_label_are_refused(
    baseline: tuple[StreamNetworks, bundle.StreamManifest], found: Filters
) -> None:
    one = Tiles(draw_tiles(4), np.zeros(4, np.int64))
    with pytest.raises(DataError, match="have one label, and streams need two"):
        filter_bench.bench(*baseline, one, found.data, files={})
