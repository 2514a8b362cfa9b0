"""The sample clip that the package carries."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edge import bundle
from edge.cameras import open_uri
from edge.datatypes import Frame
from edge.detector import Detector

SAMPLES = Path(str(resources.files("edge") / "samples"))
CLIP = SAMPLES / "portrait.webm"
IN_VIEW = ((0.9, 4.4), (7.2, 10.0))
"""When the whole face is in view, in seconds: what the README beside the clip says."""
AWAY = (5.0, 6.7)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    camera = open_uri(f"clip:{CLIP}?pace=fast")
    found = []
    while (frame := camera.read()) is not None:
        found.append(frame)
    camera.close()
    return found


def between(frames: list[Frame], span: tuple[float, float], step: int) -> list[Frame]:
    """Return every `step`th frame of a stretch of time."""
    first = frames[0].time_s
    return [each for each in frames if span[0] <= each.time_s - first <= span[1]][::step]


def test_it_is_the_file_its_readme_describes() -> None:
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    sha256 = hashlib.sha256(CLIP.read_bytes()).hexdigest()
    assert f"| sha256 of the clip | `{sha256}` |" in readme


def test_it_is_small_enough_to_ship() -> None:
    assert CLIP.stat().st_size < 500_000


def test_it_is_ten_seconds_of_thirty_frames(frames: list[Frame]) -> None:
    assert len(frames) == 300
    assert frames[0].luma.shape == (480, 640)
    times = np.array([frame.time_s for frame in frames])
    np.testing.assert_allclose(times - times[0], np.arange(300) / 30, atol=1e-3)


@pytest.mark.parametrize("name", ["blazeface-short", "blazeface-full"])
def test_the_detectors_find_the_one_face_while_it_is_in_view_and_none_while_it_is_not(
    frames: list[Frame], name: str
) -> None:
    detector = Detector(*bundle.load_detector(name))
    for span in IN_VIEW:
        for frame in between(frames, span, step=5):
            (face,) = detector(frame)
            assert face.score > 0.7
            assert face.box.width >= 0.2
    for frame in between(frames, AWAY, step=5):
        assert detector(frame) == []


def test_the_light_changes(frames: list[Frame]) -> None:
    corner = [float(frame.luma[:60, -60:].mean()) for frame in between(frames, (0.0, 4.4), step=5)]
    assert max(corner) > 1.25 * min(corner)
