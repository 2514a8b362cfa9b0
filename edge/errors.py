"""What can go wrong, by what the person at the keyboard has to mend.

Every error a user can cause is a `MienError` whose text is one line that names the thing and
the way to mend it. `edge.__main__` and `convert.__main__` catch them once, print the line and
exit with `exit_code`; anything else is a defect and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: the unit file tells systemd not to restart on it."""


class MienError(Exception):
    """Anything Mien reports instead of crashing."""

    exit_code: ClassVar[int] = EXIT_FAILURE


class ConfigError(MienError):
    """The configuration is wrong; starting again will not help."""

    exit_code = EXIT_CONFIG


class BundleError(MienError):
    """A bundle is missing, damaged, or made for another version; starting again will not help."""

    exit_code = EXIT_CONFIG


class UsageError(MienError):
    """The command line asks for something that cannot be."""

    exit_code = EXIT_USAGE


class CameraError(MienError):
    """A camera or clip cannot be opened or read."""


class CameraUriError(CameraError):
    """A camera's URI can name no camera; trying again will not help."""

    exit_code = EXIT_CONFIG


class HungError(MienError):
    """A call into a driver or library does not return; only a new process gets rid of it."""


class ModelError(MienError):
    """The inference runtime is missing or refuses a model."""
