"""The story of a clip: which labels, when, of how many faces; the same at any frame rate.

`neutral_to_smile.mp4` must not be committed, so that its tests are skipped where it is not to be
had. Its face is there from the first frame on, and begins to smile half a second later.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import pytest

from edge.datatypes import Event, Frame
from edge.events import EventFactory
from edge.imaging import luma_of, read_image
from edge.pipeline import Pipeline, load_models
from edge.settings import PRESETS, Events, Preset, Settings

CLIP = Path(__file__).parents[3] / "shared" / "fixtures" / "neutral_to_smile.mp4"
CLIP_FPS = 30
SMILE_S = 0.5
RATES = [5, 10, 15, 30]

needs_clip = pytest.mark.skipif(not CLIP.exists(), reason="the clip is not part of the project")


def pictures_of(clip: Path) -> list[np.ndarray]:
    film, pictures = cv2.VideoCapture(str(clip)), []
    while True:
        found, picture = film.read()
        if not found:
            return pictures
        pictures.append(picture)


def told(pictures: list[np.ndarray], fps: float, preset: Preset) -> list[tuple[float, Event]]:
    """What a subscriber is told of pictures, so many a second, and when."""
    settings = Settings(events=Events(preset=preset))
    line = Pipeline("door", settings, load_models(settings), EventFactory("b", "x"))
    events = []
    for index, picture in enumerate(pictures):
        frame = Frame(luma_of(picture), picture, index / fps, monotonic())
        events += [(index / fps, event) for event in line(frame)]
    return events + [(len(pictures) / fps, event) for event in line.finish()]


@needs_clip
@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_smile_is_one_story_at_any_frame_rate(fps: int, preset: Preset) -> None:
    story = told(pictures_of(CLIP)[:: CLIP_FPS // fps], fps, preset)
    assert [(event.type, event.emotion) for _, event in story] == [
        ("start", "neutral"),
        ("update", "happy"),
        ("end", "happy"),
    ]
    assert len({event.track.id for _, event in story}) == 1
    (begun_s, _), (smiled_s, _), _ = story
    assert begun_s <= 0.5
    if preset == Events().preset:
        assert smiled_s - SMILE_S <= 0.7


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_face_that_stays_as_it_is_tells_nothing_new(fps: int, preset: Preset) -> None:
    portrait = read_image(Path(__file__).parents[1] / "data" / "astronaut.webp")
    assert portrait is not None
    story = told([portrait] * 3 * fps, fps, preset)
    assert [(event.type, event.emotion) for _, event in story] == [
        ("start", "happy"),
        ("end", "happy"),
    ]
    assert story[0][0] <= 0.5
