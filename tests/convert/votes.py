"""Votes for the faces of a data folder."""

from __future__ import annotations

from pathlib import Path

from convert import policies
from convert.data import LABELS

COLUMNS = [*(policies.VOTES[label] for label in LABELS), *policies.OTHERS]


def with_votes(folder: Path, votes: list[list[int]]) -> Path:
    """Add vote columns to a data folder, the rows taking turns; return it."""
    file = folder / "labels.csv"
    head, *rows = file.read_text().splitlines()
    lines = [f"{head},{','.join(COLUMNS)}"]
    for index, row in enumerate(rows):
        lines.append(f"{row},{','.join(map(str, votes[index % len(votes)]))}")
    file.write_text("\n".join(lines) + "\n")
    return folder
