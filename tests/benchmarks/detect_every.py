"""What looking less often costs and saves: python tests/benchmarks/detect_every.py CLIP...

For each clip and each `detector.every`, the faces that the tracker predicts on the frames
between looks are compared with those the detector would have found there. The error is the
distance between predicted and found eyes in eye distances: the crop scales with them, so 0.03 is
one pixel of the 48-pixel tile and half a pixel is what the detector's own jitter amounts to.
"""

from __future__ import annotations

import math
import sys
from time import perf_counter

import numpy as np

from edge import bundle
from edge.cameras import open_uri
from edge.datatypes import Detection, Frame
from edge.detector import Detector
from edge.settings import Tracker as TrackerSettings
from edge.tracker import Tracker, distance

STEPS = (1, 2, 3, 5, 8)


def frames_of(path: str) -> list[Frame]:
    camera = open_uri(f"clip:{path}?pace=fast")
    frames = list(iter(camera.read, None))
    camera.close()
    return frames


def eye_error(one: Detection, other: Detection, frame: Frame) -> float:
    """The larger distance of the two eyes, in eye distances."""
    height, width = frame.luma.shape
    size = np.array([width, height])
    mine, theirs = (np.array(each.keypoints[:2]) * size for each in (one, other))
    apart = math.dist(theirs[0], theirs[1])
    return float(np.linalg.norm(mine - theirs, axis=1).max() / apart)


def errors_at(
    every: int, frames: list[Frame], found: list[list[Detection]]
) -> tuple[list[float], int]:
    """Return the errors between looks, and how many faces the tracker missed there."""
    settings = TrackerSettings()
    tracker = Tracker(confirm=settings.confirm, bridge_s=settings.bridge_s, most=16)
    errors, missed = [], 0
    for index, (frame, faces) in enumerate(zip(frames, found, strict=True)):
        if index % every == 0:
            tracker.detected(faces, frame.time_s)
            continue
        present = tracker.predicted(frame.time_s).present
        for face in faces:
            near = [each.face for each in present if distance(each.face.box, face.box) < 1]
            if near:
                errors.append(min(eye_error(each, face, frame) for each in near))
            else:
                missed += 1
    return errors, missed


def main(paths: list[str]) -> None:
    detector = Detector(*bundle.load_detector("blazeface-short"))
    for path in paths:
        frames = frames_of(path)
        begun = perf_counter()
        found = [detector(frame) for frame in frames]
        cost_ms = (perf_counter() - begun) / len(frames) * 1000
        print(f"{path}: {len(frames)} frames, the detector takes {cost_ms:.2f} ms a frame")
        print("every  detector ms/frame  eye error p50   p95    faces missed")
        for every in STEPS:
            errors, missed = errors_at(every, frames, found)
            p50, p95 = np.percentile(errors, [50, 95]) if errors else (0.0, 0.0)
            print(f"{every:5d}  {cost_ms / every:17.2f}  {p50:13.3f}  {p95:5.3f}  {missed:6d}")


if __name__ == "__main__":
    main(sys.argv[1:])
