"""Which budgets a board has."""

from __future__ import annotations

import pytest

from edge import boards


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "pi-5"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "pi-4"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "pi-zero-2"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin"),
        ("Freescale i.MX8MQ Phanbell", "coral-dev"),
        ("KVM Virtual Machine", "unknown"),
        ("unknown", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_board_is_known_by_how_its_name_begins(model: str, name: str) -> None:
    assert boards.board_of(model).name == name


@pytest.mark.parametrize("board", [*boards.BOARDS, boards.UNKNOWN], ids=lambda board: board.begins)
def test_the_stages_fit_between_two_frames(board: boards.Board) -> None:
    idle = board.idle_ms
    assert idle["total"] == pytest.approx(1000 / board.fps, abs=0.001)
    assert sum(budget for stage, budget in idle.items() if stage != "total") <= idle["total"] + 0.01
    assert all(board.busy_ms[stage] > budget > 0 for stage, budget in idle.items())


def test_no_row_is_out_of_reach() -> None:
    for board in boards.BOARDS:
        assert boards.board_of(f"{board.begins} Rev 1") is board
