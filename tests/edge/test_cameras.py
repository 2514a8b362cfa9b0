"""Cameras by URI, and the clock that live ones are timed by."""

from __future__ import annotations

import importlib
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import cameras
from edge.cameras import masked, open_uri
from edge.cameras.stamps import OLDEST_S, FrameClock, from_boot_clock
from edge.errors import CameraError
from edge.settings import CAMERA_TABLES

# By URI


@pytest.mark.parametrize("uri", ["webcam:0", "0", "", "v4l2", "RTSP://x"])
def test_an_unknown_kind_is_refused_with_those_that_exist(uri: str) -> None:
    with pytest.raises(CameraError, match=r"begins with argus:, clip:, http:, https:, picamera2:"):
        open_uri(uri)


def test_each_kinds_settings_are_read_by_the_module_of_the_same_name() -> None:
    opened_by = {scheme: module.rpartition(".")[2] for scheme, module in cameras.KINDS.items()}
    for table, schemes in CAMERA_TABLES.items():
        assert {opened_by.pop(scheme) for scheme in schemes} == {table}
    assert opened_by == {"clip": "clip"}


@pytest.mark.parametrize("module", sorted(set(cameras.KINDS.values())))
def test_each_module_can_be_imported_where_the_vendors_package_is_missing(module: str) -> None:
    assert callable(importlib.import_module(module).open_camera)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.7:554/s1", "rtsp://***@10.0.0.7:554/s1"),
        ("http://admin@cam/x", "http://***@cam/x"),
        ("rtsp://admin:p@ss@cam/x", "rtsp://***@cam/x"),
        ("rtsp://admin:pa/ss@cam/x", "rtsp://***@cam/x"),
        ("rtsp://admin:pa?ss#word@cam/x", "rtsp://***@cam/x"),
        ("rtsp:admin:secret@cam/x", "***@cam/x"),
        ("admin:secret@cam/x", "***@cam/x"),
        ("http://cam/video.cgi?user=admin&pwd=secret", "http://cam/video.cgi?***"),
        ("rtsp://cam/user=admin_password=secret_channel=1/0.sdp", "rtsp://cam/***/0.sdp"),
        ("clip:rtsp://admin:secret@cam/x", "***@cam/x"),
        ("rtsp://cam:554/live/main", "rtsp://cam:554/live/main"),
        ("clip:/srv/a@b.mp4?pace=fast", "clip:/srv/a@b.mp4?pace=fast"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
    ],
)
def test_a_password_is_never_shown(uri: str, shown: str) -> None:
    assert masked(uri) == shown


def test_not_even_where_the_kind_is_misspelt() -> None:
    with pytest.raises(CameraError) as caught:
        open_uri("rstp://admin:secret@cam/x")
    assert "secret" not in str(caught.value)
    assert "admin" not in str(caught.value)


# Times


def test_a_plausible_stamp_is_believed() -> None:
    stamp = time.monotonic() - 0.02
    assert FrameClock().captured_s(stamp) == stamp


def test_the_first_plausible_stamp_counts() -> None:
    now = time.monotonic()
    assert FrameClock().captured_s(now - 90, now - 0.03, now - 0.02) == now - 0.03


@pytest.mark.parametrize("off_s", [60.0, -60.0, -OLDEST_S - 0.5, math.nan, math.inf, -math.inf])
def test_a_stamp_of_another_clock_is_not(off_s: float) -> None:
    before = time.monotonic()
    captured = FrameClock().captured_s(before + off_s)
    assert before <= captured <= time.monotonic()


@given(st.lists(st.lists(st.floats(-2, 2), max_size=2), min_size=2, max_size=30))
def test_times_strictly_increase_whatever_the_driver_says(offsets: list[list[float]]) -> None:
    clock = FrameClock()
    times = [clock.captured_s(*(time.monotonic() + each for each in offset)) for offset in offsets]
    assert all(earlier < later for earlier, later in zip(times, times[1:]))  # noqa: B905


def test_time_suspended_is_taken_off_a_boot_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    slept_s = 3600.0
    monkeypatch.setattr(time, "clock_gettime", lambda clock: time.monotonic() + slept_s)  # noqa: ARG005
    stamp = time.monotonic() + slept_s - 0.03
    assert from_boot_clock(stamp) == pytest.approx(stamp - slept_s, abs=1e-3)
