"""`python -m edge.beside`: the self-test beside a running daemon, for it and for `mien support`.

The settings come on standard input and the report goes to standard output, as JSON.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress

_NICE = 10
"""The daemon's frames come first."""

_ALARM_S = 180
"""The daemon ends us earlier; where it was killed itself, nobody else does."""


def main() -> int:
    """Test what the settings describe; return 0 whatever was found."""
    logging.basicConfig(level=logging.WARNING, format="mien: self-test: %(message)s")
    signal.alarm(_ALARM_S)
    with suppress(OSError):  # where a sandbox forbids it
        os.nice(_NICE)
    # Loading them is half of the work, and not to be done at the daemon's expense.
    import msgspec  # noqa: PLC0415

    from edge import selftest  # noqa: PLC0415
    from edge.settings import Settings  # noqa: PLC0415

    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    sys.stdout.buffer.write(msgspec.json.encode(selftest.beside(settings)))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    # Threads of libraries must not hold the end up; all is said.
    os._exit(main())
