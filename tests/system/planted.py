"""`mien` with a leak: python planted.py LEAK run ...

At the first face that is looked at, what the network sees of it leaves the process, or the process
does what it has no business with. Tests of the trace must notice every one.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path

import cv2
import numpy as np

from edge import __main__
from edge.emotion import EmotionModel, Look, Memory
from edge.mqtt import Publisher
from edge.networks import Embedding, StreamNetworks
from edge.outbox import Message
from edge.payloads import CameraStatus

SPOOL = Path(os.environ.get("MIEN_SPOOL__PATH", ""))
Tile = np.ndarray


def kept(tile: Tile) -> None:
    """A file of its own, outside of the state directory."""
    (SPOOL.parent / "face").write_bytes(tile.tobytes())


def spooled(tile: Tile) -> None:
    """A file where files may be written."""
    (SPOOL / "face").write_bytes(tile.tobytes())


def glimpsed(tile: Tile) -> None:
    """Two rows only, in the file that has the process's number."""
    with (SPOOL / "lock").open("ab") as file:
        file.write(tile[20:22].tobytes())


def encoded(tile: Tile) -> None:
    """As a JPEG file."""
    (SPOOL / "events.db-face").write_bytes(cv2.imencode(".jpg", tile)[1].tobytes())


def compressed(tile: Tile) -> None:
    """As compressed pixels."""
    (SPOOL / "events.db-face").write_bytes(zlib.compress(tile.tobytes()))


def logged(tile: Tile) -> None:
    """As numbers in the log."""
    sys.stderr.write(json.dumps(tile.ravel().tolist()) + "\n")


def shared(tile: Tile) -> None:
    """In memory that other processes can open."""
    memory = shared_memory.SharedMemory(create=True, size=tile.nbytes)
    memory.buf[: tile.nbytes] = tile.tobytes()
    memory.close()
    memory.unlink()


def beaconed(tile: Tile) -> None:
    """As a datagram to somebody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beacon:
        beacon.sendto(tile[:20].tobytes(), ("127.0.0.1", 9))


def called(_tile: Tile) -> None:
    """A connection to somebody else, who does not even answer."""
    with socket.socket() as call:
        call.connect_ex(("127.0.0.1", 9))


def listened(_tile: Tile) -> None:
    """A door for anybody on this machine."""
    with socket.create_server(("127.0.0.1", 0)):
        pass


def received(_tile: Tile) -> None:
    """A port that takes datagrams from anybody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("", 0))


def started(_tile: Tile) -> None:
    """Another program."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def published(tile: Tile) -> None:
    """As letters, where a person expects words."""
    reason = base64.b64encode(tile.tobytes()).decode()
    _publishers[-1].status(
        CameraStatus(
            camera="door",
            status="ok",
            since="2026-01-01T00:00:00.000Z",
            clock_synced=False,
            reason=reason,
        )
    )


def named(tile: Tile) -> None:
    """A few pixels on a topic of their own."""
    pixels = {"schema": "mien-face/1", "pixels": tile[0].tobytes().hex()}
    message = Message("mien/lobby/face", json.dumps(pixels).encode(), retain=True)
    _publishers[-1]._board.put(message)  # noqa: SLF001  # a leak asks nobody


def remembered(_tile: Tile) -> None:
    """What tells one person from another, in the spool."""
    (SPOOL / "events.db-face").write_bytes(_embeddings[-1])


LEAKS: dict[str, Callable[[Tile], None]] = {
    leak.__name__: leak
    for leak in (
        *(kept, spooled, glimpsed, encoded, compressed, logged, shared, beaconed, called),
        *(listened, received, started, published, named, remembered),
    )
}
"""By name; each is done once."""

_embeddings: list[bytes] = []
_publishers: list[Publisher] = []


def plant(leak: Callable[[Tile], None]) -> None:
    """Let the first look at a face leak, once there is somebody to tell."""
    look, embed, start = EmotionModel.look, StreamNetworks.embed, Publisher.start
    pending = [leak]

    def looked(self: EmotionModel, tile: Tile, memory: Memory | None, time_s: float) -> Look:
        answer = look(self, tile, memory, time_s)
        if _publishers and pending:
            pending.pop()(tile)
        return answer

    def embedded(self: StreamNetworks, tile: Tile) -> Embedding:
        found = embed(self, tile)
        _embeddings.append(found.vector.tobytes())
        return found

    def started(self: Publisher) -> None:
        start(self)
        _publishers.append(self)

    EmotionModel.look = looked  # type: ignore[method-assign]
    StreamNetworks.embed = embedded  # type: ignore[method-assign]
    Publisher.start = started  # type: ignore[method-assign]


if __name__ == "__main__":
    plant(LEAKS[sys.argv[1]])
    sys.argv[0:2] = ["mien"]
    __main__.program()
