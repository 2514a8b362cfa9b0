"""What a frame may cost on which board: the table of boards and their budgets.

A budget says when a person should look, not how fast a board is: none of these numbers was measured
on a board. Each follows from the frame rate that a board is meant to keep up with one face in view,
as a share of the time between two frames; `mien bench` says what a board really needs.

The boards and their frame rates are those of firmware_configs/boards/*.toml: `boards.json` beside
this file is made from them (`mien-flash budgets`), and a test fails where the two differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SHARES = {"detect": 0.60, "crop": 0.05, "frame": 0.25, "head": 0.05, "total": 1.00}
"""Of the time between two frames, what the 95th percentile of each stage may take on an idle board.
`total` is the whole path, from a picture that is there to its events."""

BUSY = 3.0
"""How many times as long everything may take while all cores are busy. It holds for a running
daemon too, because what else a board does is its owner's business."""

SLICE_MS = 12.0
"""What comes on top of it: once in a while another process has its turn in the midst of a stage,
however short that is. 4 to 10 ms were seen, on a virtual machine with Linux's own scheduler."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board, by how its name begins, and the frames a second it is meant to keep up with.

    `begins` is compared with the name the board gives itself (`/proc/device-tree/model`, or the
    product name of a PC's firmware).
    """

    name: str
    begins: str
    fps: float

    @property
    def idle_ms(self) -> Mapping[str, float]:
        """What the 95th percentile of each stage may be while nothing else runs, in ms."""
        return {stage: round(1000 / self.fps * share, 3) for stage, share in SHARES.items()}

    @property
    def busy_ms(self) -> Mapping[str, float]:
        """The same while all cores are busy, and while the daemon runs."""
        return {stage: round(budget * BUSY + SLICE_MS, 3) for stage, budget in self.idle_ms.items()}


UNKNOWN = Board("unknown", "", 15.0)
"""For every board that is not in the table."""

BOARDS = tuple(
    Board(**row)
    for row in json.loads(Path(__file__).with_name("boards.json").read_text(encoding="utf-8"))
)
"""Every board that is known, by each of the names it may give itself."""


def board_of(model: str) -> Board:
    """Return the row for the name a board gives itself; `UNKNOWN` where there is none.

    >>> board_of("Raspberry Pi 4 Model B Rev 1.5").name
    'pi-4'
    """
    return next((board for board in BOARDS if model.startswith(board.begins)), UNKNOWN)
