"""The float weights of the frame models that ship, for other networks to start from.

They lie in `convert/trained`, under the names of the bundles that were made of them.
"""

from __future__ import annotations

from pathlib import Path

from convert.run import sha256_of
from edge.errors import UsageError

_FOLDER = Path(__file__).parent / "trained"


def shipped() -> dict[str, Path]:
    """Return the files that ship, by the names of their bundles."""
    return {file.stem: file for file in sorted(_FOLDER.glob("*.keras"))}


def find(told: str) -> Path:
    """Return the file that a user means: a path, or the name of a bundle that ships.

    Raises
    ------
    UsageError
        It is neither.
    """
    path = Path(told)
    if path.exists():
        return path
    known = shipped()
    if told not in known:
        raise UsageError(
            f"--start {told}: neither a file nor a network that ships ({', '.join(known)})"
        )
    return known[told]


def name_of(sha256: str) -> str | None:
    """Return the name of the network that ships with this sha256, if one does."""
    named = (name for name, file in shipped().items() if sha256_of(file) == sha256)
    return next(named, None)
