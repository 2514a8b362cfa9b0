"""A recording as a camera."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras import Camera, open_uri
from edge.cameras.clip import ClipClock, natural_order
from edge.datatypes import Frame
from edge.errors import CameraError

WIDTH, HEIGHT = 64, 48
VIDEOS = [("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("clip.webm", "VP90")]
ROOT = Path(__file__).parents[2]


def picture_of(level: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def write_video(
    path: Path, levels: Sequence[int], *, fps: float = 30.0, codec: str = "mp4v"
) -> Path:
    """Write a video of flat gray frames, so that a frame can be told by its level."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for level in levels:
        writer.write(picture_of(level))
    writer.release()
    return path


def write_folder(path: Path, levels: Sequence[int], *, suffix: str = ".png") -> Path:
    """Write pictures named 0, 1, 2, … 10, 11, …"""
    path.mkdir(exist_ok=True)
    for index, level in enumerate(levels):
        assert cv2.imwrite(str(path / f"{index}{suffix}"), picture_of(level))
    return path


def read_all(camera: Camera) -> list[Frame]:
    frames = []
    while (frame := camera.read()) is not None:
        frames.append(frame)
    camera.close()
    return frames


def levels_of(frames: list[Frame]) -> list[int]:
    return [round(float(frame.luma.mean())) for frame in frames]


# Pictures and times


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_a_video_gives_every_frame_in_order(tmp_path: Path, name: str, codec: str) -> None:
    written = list(range(10, 250, 8))
    path = write_video(tmp_path / name, written, codec=codec)
    frames = read_all(open_uri(f"clip:{path}?pace=fast"))
    assert len(frames) == len(written)
    assert np.abs(np.subtract(levels_of(frames), written)).max() <= 3


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_frame_times_are_the_videos_own(tmp_path: Path, name: str, codec: str) -> None:
    path = write_video(tmp_path / name, range(20), fps=20, codec=codec)
    frames = read_all(open_uri(f"clip:{path}?pace=fast"))
    since_first = [frame.time_s - frames[0].time_s for frame in frames]
    np.testing.assert_allclose(since_first, np.arange(20) / 20, atol=1e-3)


def test_the_first_frames_time_is_when_the_clip_was_opened(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", range(3))
    before = time.monotonic()
    camera = open_uri(f"clip:{path}?pace=fast")
    after = time.monotonic()
    assert before <= read_all(camera)[0].time_s <= after


def test_colour_is_bgr_as_decoded_and_luma_its_lightness(tmp_path: Path) -> None:
    blue = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    blue[..., 0] = 255
    cv2.imwrite(str(tmp_path / "blue.png"), blue)
    (frame,) = read_all(open_uri(f"clip:{tmp_path}"))
    assert frame.colour.shape == (HEIGHT, WIDTH, 3)
    assert (frame.colour == [255, 0, 0]).all()
    assert frame.luma.shape == (HEIGHT, WIDTH)
    assert (frame.luma == round(0.114 * 255)).all()
    assert frame.colour.dtype == frame.luma.dtype == np.uint8


def test_a_folders_pictures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_folder(tmp_path, range(0, 240, 20))
    assert levels_of(read_all(open_uri(f"clip:{tmp_path}?pace=fast"))) == list(range(0, 240, 20))


def test_numbers_in_names_are_ordered_by_value() -> None:
    names = ["b1", "a10", "a9", "a9-2", "10", "9", "a"]
    assert sorted(names, key=natural_order) == ["9", "10", "a", "a9", "a9-2", "a10", "b1"]


@given(st.lists(st.text(max_size=8)))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    assert sorted(sorted(names, key=natural_order)) == sorted(names)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".webp", ".PNG"])
def test_every_usual_kind_of_picture_is_read(tmp_path: Path, suffix: str) -> None:
    write_folder(tmp_path, [100, 120], suffix=suffix)
    assert len(read_all(open_uri(f"clip:{tmp_path}?pace=fast"))) == 2


def test_other_files_in_a_folder_are_passed_over(tmp_path: Path) -> None:
    write_folder(tmp_path, [100])
    (tmp_path / "notes.txt").write_text("not a picture")
    assert len(read_all(open_uri(f"clip:{tmp_path}?pace=fast"))) == 1


@pytest.mark.parametrize(("query", "fps"), [("?pace=fast", 10.0), ("?fps=4&pace=fast", 4.0)])
def test_a_folders_pictures_are_evenly_spaced(tmp_path: Path, query: str, fps: float) -> None:
    write_folder(tmp_path, [1, 2, 3, 4])
    frames = read_all(open_uri(f"clip:{tmp_path}{query}"))
    since_first = [frame.time_s - frames[0].time_s for frame in frames]
    np.testing.assert_allclose(since_first, np.arange(4) / fps, atol=1e-6)


# Pace


def test_a_paced_clip_gives_no_frame_before_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", range(8), fps=25)
    camera = open_uri(f"clip:{path}")
    while (frame := camera.read()) is not None:
        assert time.monotonic() >= frame.time_s


def test_a_paced_clip_may_lose_frames_and_a_fast_one_may_not(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", range(3))
    assert not open_uri(f"clip:{path}").lossless
    assert open_uri(f"clip:{path}?pace=fast").lossless


@pytest.mark.slow
def test_frames_whose_time_has_passed_come_at_once(tmp_path: Path) -> None:
    write_folder(tmp_path, range(11))
    camera = open_uri(f"clip:{tmp_path}?fps=5")
    camera.read()
    time.sleep(2.0)
    began = time.monotonic()
    assert len(read_all(camera)) == 10
    # Two seconds of pictures, all of them due; they would take two more if they were paced anew.
    assert time.monotonic() - began < 1.5


def test_latency_counts_from_when_a_frame_was_due_not_from_the_wait_for_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", range(6), fps=25)
    camera = open_uri(f"clip:{path}")
    while True:
        asked = time.monotonic()
        frame = camera.read()
        if frame is None:
            break
        assert frame.captured_s >= max(asked, frame.time_s)
        assert frame.captured_s <= time.monotonic()


def test_a_fast_clips_latency_counts_from_when_the_read_began(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", range(6), fps=1)
    camera = open_uri(f"clip:{path}?pace=fast")
    while True:
        asked = time.monotonic()
        frame = camera.read()
        if frame is None:
            break
        assert asked <= frame.captured_s <= time.monotonic()


# Timestamps that cannot be relied on


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=50),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_times_begin_at_zero_and_strictly_increase_whatever_the_container_says(
    stamps: list[float], fps: float
) -> None:
    clock = ClipClock(fps)
    times = [clock.follow(stamp) for stamp in stamps]
    assert times[0] == 0.0
    assert all(0 < later - earlier <= 10.001 for earlier, later in zip(times, times[1:]))  # noqa: B905


@given(
    st.lists(st.floats(0.001, 9.0), max_size=50),
    st.floats(-100, 100),
)
def test_good_timestamps_are_kept_even_where_they_are_uneven(
    gaps: list[float], first: float
) -> None:
    clock = ClipClock(30)
    wanted = [0.0, *np.cumsum(gaps).tolist()]
    got = [clock.follow(first + each) for each in wanted]
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_frames_without_timestamps_are_one_frame_length_apart() -> None:
    clock = ClipClock(25)
    assert [round(clock.follow(0.0), 6) for _ in range(4)] == [0.0, 0.04, 0.08, 0.12]


def test_a_timestamp_that_leaps_absurdly_far_does_not_hang_the_clip() -> None:
    clock = ClipClock(25)
    times = [clock.follow(stamp) for stamp in (0.0, 0.04, 1e9, 0.12, math.nan, 0.2)]
    np.testing.assert_allclose(times, [0.0, 0.04, 0.08, 0.12, 0.16, 0.2])


# What cannot be played


def refusal(uri: str) -> str:
    """Return the one line with which a clip is refused, at opening or at the first read."""
    with pytest.raises(CameraError) as caught:
        read_all(open_uri(uri))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.mp4"
    assert refusal(f"clip:{path}") == f"clip {path}: no such file or folder; check the path"


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert refusal(f"clip:{path}").startswith(f"clip {path}: the file is empty; ")


def test_an_empty_path_is_refused() -> None:
    assert "names no file" in refusal("clip:")


@pytest.mark.parametrize("content", [b"hello\n" * 100, bytes(1000), b"\x1aE\xdf\xa3" + bytes(50)])
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    text = refusal(f"clip:{path}")
    assert text.startswith(f"clip {path}: ")
    assert "record or copy it again" in text


def test_a_video_whose_index_was_cut_off_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", range(30))
    path.write_bytes(path.read_bytes()[:400])
    assert refusal(f"clip:{path}").startswith(f"clip {path}: not a video, or a damaged one; ")


def test_a_video_without_frames_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", range(30), codec="MJPG")
    whole = path.read_bytes()
    # Keep the headers and blank the pictures.
    start = whole.index(b"movi")
    path.write_bytes(whole[: start + 4] + bytes(len(whole) - start - 4))
    assert refusal(f"clip:{path}").startswith(f"clip {path}: ")


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "MJPG"), ("clip.webm", "VP90")])
def test_a_video_that_breaks_off_is_played_as_far_as_it_goes_and_says_so(
    tmp_path: Path, name: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / name, range(0, 240, 4), codec=codec)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with caplog.at_level(logging.WARNING):
        frames = read_all(open_uri(f"clip:{path}?pace=fast"))
    assert 0 < len(frames) < 60
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"clip {path}: breaks off after {len(frames)} of 60 frames"
    )


def test_a_whole_video_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "clip.mp4", range(30))
    with caplog.at_level(logging.WARNING):
        read_all(open_uri(f"clip:{path}?pace=fast"))
    assert caplog.records == []


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert refusal(f"clip:{tmp_path}").startswith(f"clip {tmp_path}: no pictures in this folder; ")


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_damaged_picture_is_named_when_it_is_reached(tmp_path: Path, content: bytes) -> None:
    write_folder(tmp_path, [10, 20])
    (tmp_path / "1.png").write_bytes(content)
    camera = open_uri(f"clip:{tmp_path}?pace=fast")
    assert camera.read() is not None
    with pytest.raises(CameraError, match=r"1\.png: not a picture, or a damaged one; "):
        camera.read()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("pace=slow", "unknown option 'pace=slow'; a clip takes pace=fast"),
        ("speed=2", "unknown option 'speed=2'; a clip takes pace=fast"),
        ("pace", "unknown option 'pace='; a clip takes pace=fast"),
        ("fps=0", "fps=0 is not a number of pictures to a second; give one from 0.1 to 1000"),
        ("fps=nan", "fps=nan is not a number"),
        ("fps=many", "fps=many is not a number"),
    ],
)
def test_unknown_options_are_refused_with_what_is_allowed(
    tmp_path: Path, query: str, said: str
) -> None:
    write_folder(tmp_path, [1])
    text = refusal(f"clip:{tmp_path}?{query}")
    assert said in text
    assert f"clip:{tmp_path}?{query}" in text


def test_a_videos_speed_cannot_be_set(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", range(3))
    assert "fps is for a folder of pictures" in refusal(f"clip:{path}?fps=5")


@pytest.mark.parametrize("damage", ["text", "half"])
def test_a_damaged_video_adds_no_noise_of_the_decoders_to_the_error(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "clip.mp4"
    if damage == "text":
        path.write_bytes(b"hello" * 100)
    else:
        write_video(path, range(30))
        path.write_bytes(path.read_bytes()[:400])
    script = (
        "import sys\n"
        "from edge.cameras import open_uri\n"
        "from edge.errors import CameraError\n"
        "try:\n"
        "    open_uri(sys.argv[1])\n"
        "except CameraError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, f"clip:{path}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


# Closing


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_a_closed_clip_has_ended_and_may_be_closed_again(tmp_path: Path, kind: str) -> None:
    if kind == "video":
        path = write_video(tmp_path / "clip.mp4", range(5))
    else:
        path = write_folder(tmp_path, range(5))
    camera = open_uri(f"clip:{path}?pace=fast")
    assert camera.read() is not None
    camera.close()
    camera.close()
    assert camera.read() is None


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_an_ended_clip_stays_ended(tmp_path: Path, kind: str) -> None:
    if kind == "video":
        path = write_video(tmp_path / "clip.mp4", range(5))
    else:
        path = write_folder(tmp_path, range(5))
    camera = open_uri(f"clip:{path}?pace=fast")
    while camera.read() is not None:
        pass
    assert camera.read() is None
