"""A real MJPEG camera: python mjpeg.py PORT [moving], until it is killed."""

from __future__ import annotations

import base64
import contextlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

PICTURE = Path(__file__).parents[1] / "data" / "astronaut.webp"
BOUNDARY = "frame"


def encoded(picture: np.ndarray) -> bytes:
    good, jpeg = cv2.imencode(".jpg", picture)
    assert good
    return jpeg.tobytes()


class MjpegServer(ThreadingHTTPServer):
    """A camera that sends `frames` pictures, then ends the stream or (`hangs`) falls silent."""

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
        self.quit = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


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
            jpeg = self.server.jpegs[number % len(self.server.jpegs)]
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
