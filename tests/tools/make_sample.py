"""Make the sample clip that the package carries, from the portrait in scikit-image.

    python tests/tools/make_sample.py edge/samples/portrait.webm

A person walks up to a camera on a plain wall, lingers, comes closer, leaves, and after two
seconds of bare wall comes back; the light changes as they do. Nothing is drawn at random, so
the frames are the same every time; the file is too, with the same encoder.

Needs scikit-image (the portrait: NASA, public domain), OpenCV 4.11 (its GrabCut cuts the person
out) and an ffmpeg with libvpx-vp9. None of them is a dependency of Mien.
"""

from __future__ import annotations

import argparse
import math
import subprocess
from pathlib import Path

import cv2
import numpy as np
import skimage.data

WIDTH, HEIGHT, FPS, SECONDS = 640, 480, 30, 10
FACE = (227.0, 118.0)
"""Where the face's middle lies in the portrait, in pixels."""

# Rows: time (s), the face's middle (fractions of the frame), portrait pixels to frame pixels,
# tilt of the head (degrees), light (share of the portrait's own).
PATH = np.array(
    [
        [0.0, -0.20, 0.46, 1.40, 2.0, 0.80],
        [1.5, 0.44, 0.45, 1.50, 1.0, 0.85],
        [2.2, 0.50, 0.44, 1.60, -2.0, 1.00],
        [3.2, 0.53, 0.45, 2.00, 2.5, 1.12],
        [4.0, 0.50, 0.46, 1.95, -1.0, 1.05],
        [5.5, 1.55, 0.47, 1.45, -2.0, 0.75],
        [6.1, 1.55, 0.46, 1.45, 2.0, 0.65],
        [7.6, 0.56, 0.45, 1.55, 1.5, 0.80],
        [8.6, 0.50, 0.45, 1.75, -1.5, 0.95],
        [10.0, 0.47, 0.44, 1.70, 1.0, 1.00],
    ]
)


def main() -> None:
    """Write the clip to the path given."""
    parser = argparse.ArgumentParser(description="make the sample clip")
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    encode([frame_at(index / FPS) for index in range(SECONDS * FPS)], output)


def person() -> tuple[np.ndarray, np.ndarray]:
    """Return the portrait, BGR in 0..255, and the share of each pixel that is the person.

    GrabCut (Rother et al., 2004) from a coarse outline: head, suit and helmet are certain, all
    outside the outline is background.
    """
    portrait = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    labels = np.full(portrait.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.fillPoly(labels, [np.array(OUTLINE)], cv2.GC_PR_FGD)
    cv2.ellipse(labels, (226, 98), (46, 58), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.fillPoly(labels, [np.array(SUIT)], cv2.GC_FGD)
    cv2.circle(labels, (395, 450), 90, cv2.GC_FGD, -1)
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(portrait, labels, None, *colours, 8, cv2.GC_INIT_WITH_MASK)
    mask = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts, sizes, _ = cv2.connectedComponentsWithStats(mask)
    mask = (parts == 1 + np.argmax(sizes[1:, cv2.CC_STAT_AREA])).astype(np.uint8)
    # A pixel inwards and soft, so that nothing of the old background shines at the edge.
    inner = cv2.erode(mask * 255, np.ones((3, 3), np.uint8))
    share = cv2.GaussianBlur(inner, (0, 0), 1.2).astype(np.float32) / 255
    return portrait.astype(np.float32), share


OUTLINE = [
    *[(225, 8), (165, 30), (145, 90), (160, 140), (100, 190), (40, 260), (15, 400), (15, 511)],
    *[(511, 511), (511, 370), (430, 335), (370, 340), (350, 260), (320, 220), (290, 180)],
    *[(305, 100), (290, 35)],
]
SUIT = [(120, 215), (285, 215), (345, 290), (345, 400), (320, 500), (60, 500), (50, 330)]


def wall() -> np.ndarray:
    """Return a plain wall, BGR in 0..255, lit from the upper left, with a skirting board."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    shade = 1.0 - 0.25 * x / WIDTH - 0.15 * y / HEIGHT
    picture = shade[..., None] * np.array([168, 182, 188], np.float32)
    picture[400:412] *= 0.8
    picture[412:] *= 0.92
    return picture


PORTRAIT, SHARE = person()
WALL = wall()


def frame_at(time_s: float) -> np.ndarray:
    """Return the frame at a time, uint8, [HEIGHT, WIDTH, 3], BGR."""
    x, y, scale, tilt, light = (smooth(time_s, column) for column in range(1, 6))
    speed = abs(smooth(time_s + 0.02, 1) - smooth(time_s - 0.02, 1)) / 0.04
    # A walking head goes up and down a little at each step, two steps a second.
    y += 0.012 * min(1.0, speed / 0.5) * math.sin(2 * math.pi * 2.0 * time_s)
    move = cv2.getRotationMatrix2D(FACE, tilt, scale)
    move[:, 2] += np.array([x * WIDTH, y * HEIGHT]) - FACE
    size = (WIDTH, HEIGHT)
    share = cv2.warpAffine(SHARE, move, size, flags=cv2.INTER_CUBIC)
    share = np.clip(share, 0, 1)[..., None]
    walker = cv2.warpAffine(PORTRAIT, move, size, flags=cv2.INTER_CUBIC)
    warmth = np.array([1.0 - 0.10 * (1 - light), 1.0, 1.0 + 0.10 * (1 - light)], np.float32)
    picture = (share * walker + (1 - share) * WALL) * light * warmth
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def smooth(time_s: float, column: int) -> float:
    """Interpolate a column of PATH: monotone cubic (Fritsch and Butland, 1984), no overshoot."""
    times, values = PATH[:, 0], PATH[:, column]
    time_s = min(max(time_s, 0.0), float(times[-1]))
    index = min(int(np.searchsorted(times, time_s, side="right")) - 1, len(times) - 2)
    step = np.diff(times)
    slopes = np.diff(values) / step
    tangents = np.zeros(len(times))
    before, after = slopes[:-1], slopes[1:]
    same = before * after > 0
    tangents[1:-1][same] = 2 / (1 / before[same] + 1 / after[same])
    t, h = (time_s - times[index]) / step[index], step[index]
    return float(
        (2 * t**3 - 3 * t**2 + 1) * values[index]
        + (t**3 - 2 * t**2 + t) * h * tangents[index]
        + (3 * t**2 - 2 * t**3) * values[index + 1]
        + (t**3 - t**2) * h * tangents[index + 1]
    )


def encode(frames: list[np.ndarray], output: Path) -> None:
    """Write the frames as VP9, which OpenCV's wheels decode on every machine they exist for."""
    source = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS)]
    # One thread and "bitexact" keep the file the same from run to run.
    target = ["-c:v", "libvpx-vp9", "-crf", "34", "-b:v", "0", "-g", "60", "-pix_fmt", "yuv420p"]
    exact = ["-threads", "1", "-row-mt", "0", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    command = ["ffmpeg", "-v", "error", "-y", *source, "-i", "-", *target, *exact, str(output)]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)


if __name__ == "__main__":
    main()
