"""Loads and runs bundles until one kills it: python victim.py MIEN_FOLDER < FOLDERS > VERDICTS.

Each line of standard input is a bundle's folder, each line of standard output what became of it:

    usable            it was loaded, run, and its answers are sound
    wrong             it was loaded and run, and the self-test would refuse its answers
    refused TEXT      a `MienError`
    unexpected TEXT   anything else
"""

from __future__ import annotations

import os
import resource
import sys
from time import monotonic

import numpy as np

from edge import bundle, goldens, trial
from edge.bundle import Bundle, DetectorManifest, StreamManifest
from edge.datatypes import Frame
from edge.detector import Detector
from edge.errors import MienError
from edge.networks import StreamNetworks


def verdict(folder: str) -> str:
    try:
        loaded = bundle.load(folder)
        trial.examine(loaded, "ai-edge-litert")
        sound = _sound(loaded)
    except MienError as exc:
        return f"refused {exc}"
    except MemoryError:
        # The daemon's trial ends by it too: in the daemon there might be no limit.
        os._exit(1)
    except Exception as exc:  # noqa: BLE001  # it is what is looked for
        return f"unexpected {exc!r}".replace("\n", " ")
    return "usable" if sound else "wrong"


def _sound(loaded: Bundle) -> bool:
    """Whether a bundle says nothing that must not be published."""
    manifest = loaded.manifest
    if isinstance(manifest, StreamManifest):
        networks = StreamNetworks(loaded, manifest)
        expected = goldens.read(loaded, manifest)
        return goldens.check(networks, expected, steps=trial.STEPS).passed
    assert isinstance(manifest, DetectorManifest)
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    now_s = monotonic()
    for face in Detector(loaded, manifest, score=0.01)(Frame(noise[..., 0], noise, now_s, now_s)):
        numbers = np.array([*face.box, *(each for point in face.keypoints for each in point)])
        if (
            not np.isfinite([*numbers, face.score]).all()
            or min(face.box.width, face.box.height) <= 0
        ):
            raise ValueError(f"a face that is none: {face}")
    return True


if __name__ == "__main__":
    # What C++ code prints is no verdict.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_DATA, (trial.MOST_BYTES, trial.MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        answers.write(f"{verdict(line.rstrip(chr(10)))}\n")
