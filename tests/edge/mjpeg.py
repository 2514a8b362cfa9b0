"""A real MJPEG camera: python mjpeg.py PORT [moving], until it is killed."""

from __future__ import annotations

import base64
import contextlib
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import cv2
import numpy as np

PICTURE = Path(__file__).parents[1] / "data" / "astronaut.webp"
BOUNDARY = "frame"


def encoded(picture: np.ndarray) -> bytes:
    good, jpeg = cv2.imencode(".jpg", picture)
    assert good
    return jpeg.tobytes()


def _resized(jpeg: bytes, width: int, height: int) -> bytes:
    """Return a JPEG whose header tells another size than its picture has."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def _damaged(jpeg: bytes, random: Random) -> bytes:
    data = bytearray(jpeg)
    for _ in range(30):
        data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data)


GARBAGE: dict[str, Callable[[bytes, Random], bytes]] = {
    "cut short": lambda jpeg, random: jpeg[: random.randrange(len(jpeg))],
    "bytes altered": _damaged,
    "random bytes": lambda _, random: random.randbytes(5000),
    "random bytes in a JPEG's markers": lambda _, random: (
        b"\xff\xd8\xff\xe0" + random.randbytes(3000) + b"\xff\xd9"
    ),
    "nothing": lambda *_: b"",
    "a header of 16000x16000": lambda jpeg, _: _resized(jpeg, 16_000, 16_000),
    "a header of 65535x65535": lambda jpeg, _: _resized(jpeg, 65_535, 65_535),
    "a header of 1x1": lambda jpeg, _: _resized(jpeg, 1, 1),
}
"""What a broken camera, or a proxy before it, sends in place of a picture."""


class MjpegServer(ThreadingHTTPServer):
    """A camera that sends `frames` pictures, then ends the stream or (`hangs`) falls silent.

    One picture in `spoilt_each` is garbage, of the next kind each time; `spoilt` counts them.
    """

    daemon_threads = True

    def __init__(
        self,
        *,
        frames: int = 1000,
        hangs: bool = False,
        login: str = "",
        port: int = 0,
        moving: bool = False,
        period_s: float = 0.02,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.picture = cv2.resize(cv2.imread(str(PICTURE)), (320, 240))
        shifts = range(0, 40, 2) if moving else (0,)
        self.jpegs = [encoded(np.roll(self.picture, shift, axis=1)) for shift in shifts]
        self.period_s = period_s
        self.frames, self.hangs, self.login = frames, hangs, login
        self.spoilt_each = self.spoilt = 0
        self._random = Random(7)  # noqa: S311  # the same garbage each time
        self.quit = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def garbage(self, jpeg: bytes) -> bytes:
        """Return what is sent in place of a picture."""
        kinds = list(GARBAGE.values())
        self.spoilt += 1
        return kinds[(self.spoilt - 1) % len(kinds)](jpeg, self._random)


class _Handler(BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self) -> None:
        login = "Basic " + base64.b64encode(self.server.login.encode()).decode()
        if self.server.login and self.headers["Authorization"] != login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        if self.path != "/cam.mjpg":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self._send_pictures()

    def _send_pictures(self) -> None:
        for number in range(self.server.frames):
            # Looked up each time: what is shown may change in between.
            jpeg = self.server.jpegs[number % len(self.server.jpegs)]
            each = self.server.spoilt_each
            if each and number % each == each - 1:
                jpeg = self.server.garbage(jpeg)
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            if self.server.quit.wait(self.server.period_s):
                return
        if self.server.hangs:
            self.server.quit.wait()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Say nothing: stderr is the test's."""


if __name__ == "__main__":
    MjpegServer(frames=10**9, port=int(sys.argv[1]), moving="moving" in sys.argv).serve_forever()
