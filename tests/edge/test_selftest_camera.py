"""A camera is well if it gives pictures, often enough, that differ and show something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge import cameras
from edge.boards import UNKNOWN
from edge.payloads import SelfTestCheck
from edge.selftest import camera
from edge.selftest.subject import Subject
from edge.settings import Camera, Limits, Recovery, Settings, Stream, V4l2

SAMPLE = Path(cameras.__file__).parents[1] / "samples" / "portrait.webm"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cameras.KINDS, "double", "doubles")
    monkeypatch.setattr(camera, "WATCH_S", 0.4)
    monkeypatch.setattr(camera, "FIRST_S", 0.4)


def looked_at(uri: str, name: str = "door") -> dict[str, SelfTestCheck]:
    settings = Settings(
        camera=(Camera(uri=uri, name=name),), recovery=Recovery(retry_longest_s=0.2)
    )
    return {check.name: check for check in camera.check(Subject(settings, UNKNOWN, None))}


def doubled(folder: Path, mode: str) -> dict[str, SelfTestCheck]:
    (folder / "control").write_text(mode)
    return looked_at(f"double:{folder / 'control'}")


def test_a_camera_that_is_well_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "FIRST_S", 10.0)
    found = doubled(tmp_path, "ok")
    assert list(found) == [
        "camera-door-opens", "camera-door-rate", "camera-door-still", "camera-door-exposure",
    ]  # fmt: skip
    assert {check.verdict for check in found.values()} == {"passed"}
    rate = found["camera-door-rate"].measured
    assert rate is not None
    assert 5 < rate <= 30, "the double gives 25 pictures a second"


@pytest.mark.parametrize("mode", ["absent", "error"])
def test_one_that_gives_nothing_fails_and_says_why(mode: str, tmp_path: Path) -> None:
    found = doubled(tmp_path, mode)
    assert list(found) == ["camera-door-opens"]
    check = found["camera-door-opens"]
    assert check.verdict == "failed"
    assert check.text.removeprefix("nothing to see within 0.4 s: ").startswith("camera double:")


@pytest.mark.slow
def test_one_whose_read_hangs_does_not_hang_the_test(tmp_path: Path) -> None:
    found = doubled(tmp_path, "hang")
    (tmp_path / "control").write_text("ok")
    assert found["camera-door-opens"].verdict == "failed"


def test_one_that_froze_is_noticed(tmp_path: Path) -> None:
    check = doubled(tmp_path, "freeze")["camera-door-still"]
    assert check.verdict == "warned"
    assert "one and the same picture" in check.text


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        (Camera(uri="v4l2:/dev/video0"), "failed"),
        (Camera(uri="picamera2:0"), "failed"),
        (Camera(uri="rtsp://host/stream"), "warned"),
        (Camera(uri="v4l2:/dev/video0", frozen_s=0.0), "passed"),
    ],
)
def test_a_sensor_is_never_silent_but_an_encoder_may_be(settings: Camera, verdict: str) -> None:
    assert camera.stillness("camera-door", settings, camera.WATCH_S).verdict == verdict


def test_a_camera_owes_half_of_the_rate_that_it_is_set_to() -> None:
    assert camera.expected_fps(Camera(uri="picamera2:0")) == 15.0
    assert camera.expected_fps(Camera(uri="v4l2:/dev/video0", v4l2=V4l2(fps=10))) == 5.0
    stream = Camera(uri="rtsp://host/stream", stream=Stream())
    assert camera.expected_fps(stream) == camera.STREAM_FPS


@pytest.mark.parametrize(
    ("luma", "word"),
    [
        (np.full((48, 64), 2, np.uint8), "dark"),
        (np.full((48, 64), 254, np.uint8), "bright"),
        (np.full((48, 64), 90, np.uint8), "flat"),
    ],
)
def test_a_picture_that_shows_nothing_is_a_warning(luma: np.ndarray, word: str) -> None:
    check = camera.exposure("camera-door", luma, Limits())
    assert check.verdict == "warned"
    assert check.text.startswith(word)


def test_a_recording_is_only_opened(tmp_path: Path) -> None:
    found = looked_at(f"clip:{SAMPLE}")
    assert list(found) == ["camera-door-opens", "camera-door-exposure"]
    absent = looked_at(f"clip:{tmp_path / 'absent.webm'}")
    assert absent["camera-door-opens"].verdict == "failed"


def test_without_cameras_there_is_nothing_to_look_at() -> None:
    (check,) = camera.check(Subject(Settings(), UNKNOWN, None))
    assert check.verdict == "skipped"
