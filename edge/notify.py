"""Tells systemd how the daemon is: sd_notify(3), without libsystemd.

The protocol is a datagram of `KEY=value` lines to the socket that `NOTIFY_SOCKET` names, either a
path or, beginning with `@`, an abstract address. Outside of systemd there is no socket, and
nothing is sent. A message that cannot be sent is logged once and never waited for: a service
manager that does not listen must not hold up the daemon it watches. Each method says whether the
message is on its way, so that one that matters can be sent again.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import final

_log = logging.getLogger(__name__)


@final
class Notifier:
    """The service manager, as far as the daemon speaks to it.

    Parameters
    ----------
    address
        The socket; None says nothing to nobody.
    watchdog_s
        After how many seconds of silence the manager ends the process; None where it does not.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._failed = False
        self._socket: socket.socket | None = None
        if address:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Return the notifier of this process, as systemd's variables say.

        `WATCHDOG_PID` may say that the watchdog is another process's.
        """
        address = environ.get("NOTIFY_SOCKET") or None
        if address is not None and address[0] not in "@/":
            _log.warning("NOTIFY_SOCKET=%s: no address that is known here", address)
            address = None
        usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        ours = not pid or pid == str(os.getpid())
        watched = ours and usec.isascii() and usec.isdecimal() and int(usec) > 0
        return cls(address, int(usec) / 1e6 if watched else None)

    def ready(self) -> bool:
        """Say that start-up is over."""
        return self._send("READY=1")

    def reloading(self) -> bool:
        """Say that the configuration is being read again; `ready` ends that.

        The time, of the monotonic clock and in microseconds, tells the manager which of its
        requests is answered (`Type=notify-reload`).
        """
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={usec}")

    def watchdog(self) -> bool:
        """Say that there is progress."""
        return self._send("WATCHDOG=1")

    def status(self, text: str) -> bool:
        """Say in one line of plain words how it stands; `systemctl status` shows it."""
        return self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> bool:
        """Say that the daemon ends."""
        return self._send("STOPPING=1")

    def close(self) -> None:
        """Release the socket. Calling it twice does no harm."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> bool:
        if self._socket is None or self._address is None:
            return True
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as exc:
            if not self._failed:
                _log.warning("systemd cannot be told %s: %s", message, exc.strerror)
            self._failed = True
            return False
        self._failed = False
        return True
