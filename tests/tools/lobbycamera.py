"""A camera in a lobby, over HTTP: python lobbycamera.py PORT, until it is killed.

It shows the sample clip over and over, 640x480 at 30 frames a second: a person comes, stays, leaves
and comes back after two seconds without anybody. Between SIGUSR1 and SIGUSR2 four of them stand
there at once.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1]
# A program among the tests, whose folders are put on the path for it by nobody.
sys.path[:0] = [str(TESTS.parent), str(TESTS / "edge")]

from mjpeg import MjpegServer, encoded  # noqa: E402

from edge.cameras import open_uri  # noqa: E402
from edge.datatypes import UInt8Array  # noqa: E402
from edge.imaging import halved  # noqa: E402

PERIOD_S = 1 / 30


def crowd(picture: UInt8Array) -> UInt8Array:
    """The same scene four times."""
    return np.tile(halved(picture), (2, 2, 1))


def main(port: int) -> None:
    clip = open_uri("clip:" + str(TESTS.parent / "edge/samples/portrait.webm") + "?pace=fast")
    pictures = [frame.colour for frame in iter(clip.read, None)]
    one, four = [encoded(each) for each in pictures], [encoded(crowd(each)) for each in pictures]
    server = MjpegServer(frames=10**9, port=port, period_s=PERIOD_S)
    server.jpegs = one

    def show(jpegs: list[bytes]) -> None:
        server.jpegs = jpegs

    signal.signal(signal.SIGUSR1, lambda *_: show(four))
    signal.signal(signal.SIGUSR2, lambda *_: show(one))
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
