"""How a face moves in its tile."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convert import motion
from convert.motion import Motion, Poses

NOTHING = Motion(
    travel=0, shift=0, scale=0, rotation=0, squeeze=0, jitter=0, jitter_scale=0, jitter_rotation=0
)


def poses(frames: int = 300, fps: float = 30.0, **changed: float) -> Poses:
    how = dataclasses.replace(NOTHING, **changed)
    return motion.poses(frames, 48, how, fps, np.random.default_rng(0))


def still(**changed: tuple[float, float]) -> Poses:
    zero = np.zeros((1, 2), np.float32)
    given = {name: np.array([value], np.float32) for name, value in changed.items()}
    identity = np.eye(2, dtype=np.float32)[None]
    return Poses(identity, given.get("shift", zero), given.get("velocity", zero))


def spot() -> np.ndarray:
    tile = np.zeros((1, 48, 48), np.float32)
    tile[0, 24, 24] = 240
    return tile


UNWARPED = np.zeros((1, 48, 48, 2), np.float32)


def test_a_face_that_does_not_move_lies_where_it_lay() -> None:
    found = poses()
    assert (found.shift == 0).all()
    assert (found.velocity == 0).all()
    assert found.linear == pytest.approx(np.tile(np.eye(2), (300, 1, 1)))


def test_a_head_moves_smoothly_and_a_detector_does_not() -> None:
    head, detector = poses(shift=0.03).shift, poses(jitter=0.03).shift
    assert head.std() == pytest.approx(detector.std(), rel=0.6)
    assert np.abs(np.diff(head, axis=0)).mean() < 0.2 * np.abs(np.diff(detector, axis=0)).mean()


def test_a_detector_slips_now_and_then() -> None:
    found = poses(jitter=0.01, slips=0.05, slip=10.0)
    far = np.hypot(*found.shift.T) > 48 * 0.05
    assert 1 <= far.sum() <= 30


def test_a_pose_turns_and_resizes_about_the_middle() -> None:
    found = poses(scale=0.1, rotation=10.0)
    size = np.sqrt(np.linalg.det(found.linear))
    assert 0.03 < np.log(size).std() < 0.15
    angle = np.degrees(np.arctan2(found.linear[:, 1, 0], found.linear[:, 0, 0]))
    assert 3 < angle.std() < 14
    assert found.linear @ found.linear.transpose(0, 2, 1) == pytest.approx(
        np.eye(2) * (size**2)[:, None, None], abs=1e-4
    )


def test_a_head_that_turns_away_gets_narrower_and_not_smaller() -> None:
    found = poses(squeeze=0.1)
    assert found.linear[:, 0, 0].std() > 0.02
    assert np.linalg.det(found.linear) == pytest.approx(1, abs=1e-4)


def test_one_frame_alone_stands_still() -> None:
    assert (poses(frames=1, travel=0.3).velocity == 0).all()


def test_a_shift_moves_the_picture_right_and_down() -> None:
    seen = motion.shot(spot(), still(shift=(3, 1)), UNWARPED, 0.0)[0]
    assert np.unravel_index(seen.argmax(), seen.shape) == (25, 27)


def test_a_fast_head_is_smeared_along_its_way() -> None:
    seen = motion.shot(spot(), still(velocity=(120, 0)), UNWARPED, 0.05)[0]
    assert (seen.max(axis=1) > 20).sum() == 1
    assert 5 <= (seen.max(axis=0) > 20).sum() <= 8
    assert seen.sum() == pytest.approx(240, rel=0.1)


def test_a_slow_head_and_a_quick_shutter_leave_a_picture_sharp() -> None:
    sharp = motion.shot(spot(), still(velocity=(5, 5)), UNWARPED, 0.05)
    assert sharp == pytest.approx(spot(), abs=1e-3)
