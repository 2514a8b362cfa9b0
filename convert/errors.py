"""What can go wrong on the workstation. `convert.__main__` prints each as one line."""

from __future__ import annotations

from edge.errors import MienError


class DataError(MienError):
    """The training data is missing, damaged, or not laid out as expected."""


class RunError(MienError):
    """A run folder lacks something, or holds something of another run."""


class ConversionError(MienError):
    """The converter failed, or its result is not what the device needs."""


class SourceError(MienError):
    """A trained model cannot be read, or cannot become what the device runs."""
