"""Makes what `mien selftest` knows of boards, edge/boards.json, from boards/*.toml."""

from __future__ import annotations

import json

from firmware_configs.board import board_names, load_board


def text() -> str:
    """Return the contents of edge/boards.json: a row for each name that a board may give itself."""
    rows = [
        {"name": name, "begins": begins, "fps": board.budget.fps}
        for name, board in ((name, load_board(name)) for name in board_names())
        if board.budget is not None
        for begins in board.models
    ]
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"
