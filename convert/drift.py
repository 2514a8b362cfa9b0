"""What changes slowly, and what happens now and then: the chance in composed streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.datatypes import Float32Array

_SMOOTHED_S = 0.3
"""Seconds over which a path is averaged: heads and lamps have inertia."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds."""

    start: float
    end: float


def wander(
    paths: int, frames: int, calm: float, fps: float, random: np.random.Generator
) -> Float32Array:
    """Return smooth random paths, each of mean 0 and standard deviation about 1.

    Ornstein-Uhlenbeck processes (Uhlenbeck and Ornstein, "On the theory of the Brownian motion",
    1930) in their exact discrete form, averaged over 0.3 s.

    Parameters
    ----------
    paths, frames
        How many, and how long they are.
    calm
        Seconds over which a path forgets where it was.
    fps
        Frames a second.
    random
        Decides them.

    Returns
    -------
    float32 array, [paths, frames]
    """
    window = max(1, round(_SMOOTHED_S * fps))
    steps = frames + window - 1
    keep = np.exp(-1 / (calm * fps))
    kicks = random.normal(0, np.sqrt(1 - keep**2), (steps, paths))
    path = np.empty((steps, paths))
    path[0] = random.normal(size=paths)
    for step in range(1, steps):
        path[step] = keep * path[step - 1] + kicks[step]
    sums = np.cumsum(np.concatenate([np.zeros((1, paths)), path]), axis=0)
    return np.asarray(((sums[window:] - sums[:-window]) / window).T, dtype=np.float32)


def spans(
    seconds: float, a_minute: float, shortest: float, longest: float, random: np.random.Generator
) -> list[Span]:
    """Return when something happens that starts at any time, `a_minute` times a minute.

    A Poisson process; each span lasts between `shortest` and `longest` seconds. Spans may overlap.
    """
    starts = np.sort(random.uniform(0, seconds, random.poisson(a_minute * seconds / 60)))
    return [Span(start, start + random.uniform(shortest, longest)) for start in starts.tolist()]
