"""A TCP proxy that does to a connection what networks do: cut it, swallow it, refuse it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST, as a host does that knows nothing of it."""


class FaultProxy:
    """Stands between clients and a server on loopback; one thread carries everything.

    Attributes
    ----------
    port : int
        Where it listens.
    swallowing : bool
        Half open: it takes what either side sends and passes none on, and no side is told. New
        connections are taken and get no answer.
    refusing : bool
        New connections are reset at once.
    carried : int
        Bytes passed on so far.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.swallowing = False
        self.refusing = False
        self.carried = 0
        self._pairs: dict[socket.socket, socket.socket | None] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Reset every connection and take no more."""
        self._closing = True
        self._thread.join()
        self.reset()
        self._selector.close()
        self._listener.close()

    def reset(self) -> None:
        """Reset every connection, with whatever is on its way."""
        with self._lock:
            for end in list(self._pairs):
                self._drop(end)

    def _serve(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(0.05):
                end = key.fileobj
                assert isinstance(end, socket.socket)
                with self._lock, contextlib.suppress(OSError):
                    if end is self._listener:
                        self._accept()
                    elif end in self._pairs:
                        self._carry(end)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if self.refusing:
            near.close()
            return
        far = None
        if not self.swallowing:
            try:
                far = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                near.close()
                return
        self._add(near, far)
        if far is not None:
            self._add(far, near)

    def _add(self, end: socket.socket, other: socket.socket | None) -> None:
        self._pairs[end] = other
        self._selector.register(end, selectors.EVENT_READ)

    def _carry(self, end: socket.socket) -> None:
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        other = self._pairs[end]
        if not data:
            self._drop(end)
        elif not self.swallowing and other is not None:
            try:
                other.sendall(data)
            except OSError:
                self._drop(end)
            self.carried += len(data)

    def _drop(self, end: socket.socket) -> None:
        for each in (end, self._pairs.get(end)):
            if each is not None and each in self._pairs:
                del self._pairs[each]
                self._selector.unregister(each)
                each.close()
