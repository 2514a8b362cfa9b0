"""What a camera and a room add to a stream."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convert import webcam
from convert.augment import jpeg_steps
from convert.webcam import Webcam

TIMES = np.arange(600) / 10
GREY = np.full((600, 24, 24), 120, np.float32)


def faces(frames: int = 20) -> np.ndarray:
    grain = np.random.default_rng(0).uniform(60, 200, (48, 48))
    soft = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1) + np.roll(grain, 2, 0)) / 4
    return np.repeat(soft[None].astype(np.float32), frames, axis=0)


def test_light_drifts_smoothly() -> None:
    found = webcam.light(600, Webcam(), 10.0, np.random.default_rng(0))
    for path, reach in ((found.gain - 1, 0.10), (found.lift, 10.2), (found.right, 0.15)):
        assert path.std() == pytest.approx(reach, rel=0.4)
        assert np.abs(np.diff(path)).mean() < 0.4 * reach


def test_one_side_is_brighter_than_the_other_and_the_middle_is_not() -> None:
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    seen = webcam.lit(GREY[:1], webcam.Light(one, zero, 0.5 * one, zero))[0]
    assert seen[0, -1] / seen[0, 0] == pytest.approx(1.25 / 0.75, rel=1e-3)
    assert seen.mean() == pytest.approx(120, rel=1e-3)
    assert seen[0] == pytest.approx(seen[-1])


def test_hands_pass_as_often_and_as_long_as_asked() -> None:
    how = dataclasses.replace(Webcam(), covers=20.0, shortest_cover=0.2, longest_cover=0.5)
    seen, share = webcam.covered(GREY, TIMES, how, np.random.default_rng(0))
    hidden = np.abs(seen - GREY).max(axis=(1, 2)) > 5
    assert 0.03 < hidden.mean() < 0.2
    assert (hidden == (share > 0)).mean() > 0.98
    assert 0.1 < share.max() < 0.8


def test_what_passes_moves_and_leaves_again() -> None:
    how = dataclasses.replace(Webcam(), covers=6.0, shortest_cover=0.5, longest_cover=0.5)
    fast = np.arange(6000) / 100
    values = np.full((6000, 24, 24), 120, np.float32)
    seen, share = webcam.covered(values, fast, how, np.random.default_rng(1))
    begun = int(np.argmax(share > 0))
    ended = begun + int(np.argmax(share[begun:] == 0))
    assert 0.2 < (ended - begun) / 100 <= 0.52
    most = begun + int(np.argmax(share[begun:ended]))
    assert share[begun] < share[most] > share[ended - 1]
    assert (seen[begun + 2] != seen[most]).any()


def test_a_stream_without_hands_is_left_alone() -> None:
    how = dataclasses.replace(Webcam(), covers=0.0)
    seen, share = webcam.covered(GREY, TIMES, how, np.random.default_rng(0))
    assert (seen == GREY).all()
    assert (share == 0).all()


def test_grain_grows_with_the_light_and_differs_from_frame_to_frame() -> None:
    both = np.concatenate([GREY[:50] * 0, GREY[:50] * 2])
    seen = webcam.grained(both, Webcam(), np.random.default_rng(0)) - both
    dark, bright = seen[:50].std(), seen[50:].std()
    assert 0 < dark < bright < 10
    assert abs(np.corrcoef(seen[0].ravel(), seen[1].ravel())[0, 1]) < 0.2


def test_uncompressed_pixels_are_whole_numbers_in_range() -> None:
    how = dataclasses.replace(Webcam(), coded=0.0)
    seen = webcam.coded(5 * faces() - 520, how, 10.0, np.random.default_rng(0))
    assert (seen == np.rint(seen)).all()
    assert (seen.min(), seen.max()) == (0, 255)


@pytest.mark.parametrize("seed", range(8))
def test_compression_spoils_a_little_and_more_at_low_quality(seed: int) -> None:
    spoilt = []
    for quality in (10.0, 90.0):
        how = Webcam(coded=1.0, lowest_quality=quality, highest_quality=quality)
        seen = webcam.coded(faces(), how, 10.0, np.random.default_rng(seed))
        assert seen.shape == faces().shape
        assert (seen == np.rint(seen)).all()
        spoilt.append(float(np.abs(seen - faces()).mean()))
    assert 0 < spoilt[1] < spoilt[0] < 25


def test_video_keeps_what_hardly_changes_and_pictures_coded_alone_do_not() -> None:
    grain = np.random.default_rng(5).normal(0, 3, (20, 48, 48))
    trembling = faces() + grain.astype(np.float32)
    steps = jpeg_steps(30.0)
    alone, video = (
        np.abs(np.diff(webcam.as_video(trembling, steps, between), axis=0)).mean(axis=(1, 2))
        for between in (1, 10)
    )
    key = np.arange(19) == 9
    assert video[~key].mean() < 0.5 * alone.mean()
    assert video[key] == pytest.approx(alone[key], rel=0.7)


def test_a_video_follows_what_changes() -> None:
    fading = faces() - np.linspace(0, 60, 20, dtype=np.float32)[:, None, None]
    seen = webcam.as_video(fading, jpeg_steps(60.0), 20)
    wrong = np.abs(seen - fading).mean(axis=(1, 2))
    assert wrong.max() < 1.3 * wrong[0]


def test_a_hand_between_two_frames_is_not_seen() -> None:
    how = dataclasses.replace(Webcam(), covers=600.0, shortest_cover=0.01, longest_cover=0.01)
    seen, share = webcam.covered(GREY[:5], TIMES[:5] * 20, how, np.random.default_rng(0))
    assert seen.shape == GREY[:5].shape
    assert share.max() < 0.9
