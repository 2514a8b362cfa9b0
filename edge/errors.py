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


_LONGEST = 1000
_TAIL = 300


def one_line(text: str) -> str:
    r"""Return a text as one printable line of at most 1,000 characters.

    What came from a file may hold anything: line ends and terminal codes are written as escapes,
    and what is too long loses its middle, so that the thing at its beginning and the mend at its
    end stay.

    >>> one_line("no such label 'a\nb'")
    "no such label 'a\\nb'"
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - _TAIL - 3]}…{text[-_TAIL:]}"
    if text.isprintable():
        return text
    escaped = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
    return one_line(escaped)


class MienError(Exception):
    """Anything Mien reports instead of crashing. Its text is one line, whatever is quoted in it."""

    exit_code: ClassVar[int] = EXIT_FAILURE

    def __str__(self) -> str:
        return one_line(super().__str__())


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
