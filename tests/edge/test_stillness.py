"""A frozen camera is told from one that looks at something still."""

from __future__ import annotations

import numpy as np
import pytest

from edge.datatypes import UInt8Array
from edge.stillness import Stillness

RANDOM = np.random.default_rng(7)
SCENE = RANDOM.integers(40, 200, (480, 640), dtype=np.uint8)


def noisy(scene: UInt8Array) -> UInt8Array:
    """The same wall again, by a sensor of one level of noise in a pixel out of a hundred."""
    return np.where(RANDOM.random(scene.shape) < 0.01, scene + 1, scene).astype(np.uint8)


def test_identical_pictures_are_counted_in_seconds() -> None:
    still = Stillness()
    assert [still.seconds(SCENE.copy(), now) for now in (5.0, 6.0, 9.5)] == [0.0, 1.0, 4.5]
    assert still.seconds(noisy(SCENE), 10.0) == 0.0


def test_a_sensors_noise_is_movement_each_time() -> None:
    still = Stillness()
    assert {still.seconds(noisy(SCENE), float(now)) for now in range(1000)} == {0.0}


def test_one_pixel_anywhere_is_movement() -> None:
    still = Stillness()
    still.seconds(SCENE, 0.0)
    for place in [(0, 0), (37, 611), (479, 639), (60, 1)]:
        changed = SCENE.copy()
        changed[place] += 1
        assert still.seconds(changed, 1.0) == 0.0
        assert still.seconds(SCENE.copy(), 1.0) == 0.0


@pytest.mark.parametrize("level", [0, 16, 255])
def test_a_covered_lens_is_no_frozen_camera(level: int) -> None:
    still, dark = Stillness(), np.full((480, 640), level, np.uint8)
    assert {still.seconds(dark.copy(), float(now)) for now in range(100)} == {0.0}


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (1080, 1920)])
def test_pictures_of_any_size_and_of_changing_size_are_compared(shape: tuple[int, int]) -> None:
    still, picture = Stillness(), RANDOM.integers(0, 255, shape, dtype=np.uint8)
    still.seconds(SCENE, 0.0)
    assert still.seconds(picture, 1.0) == 0.0
    expected = 1.0 if np.ptp(picture[:: max(shape[0] // 8, 1)]) >= 8 else 0.0
    assert still.seconds(picture.copy(), 2.0) == expected


def test_what_a_camera_froze_with_stays_suspect_until_it_moves() -> None:
    still = Stillness()
    still.seconds(SCENE, 0.0)
    assert still.seconds(SCENE, 40.0) == 40.0
    still.reopened(41.0, frozen=True)
    assert still.seconds(SCENE, 42.0) == 1.0
    assert still.suspect
    still.reopened(43.0, frozen=False)
    assert still.suspect
    still.seconds(noisy(SCENE), 44.0)
    assert not still.suspect


def test_a_camera_that_was_lost_for_another_reason_is_not_suspect() -> None:
    still = Stillness()
    still.seconds(SCENE, 0.0)
    still.reopened(5.0, frozen=False)
    assert still.seconds(SCENE, 6.0) == 1.0
    assert not still.suspect
