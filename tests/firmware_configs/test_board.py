"""Boards and roles are what their files say, and nothing in them comes from nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import boards
from edge.errors import ConfigError, UsageError
from firmware_configs import board as board_module
from firmware_configs import budgets
from firmware_configs.board import Facts, board_names, load_board, load_role, role_names

NAMED_BY_THE_ISSUE = {
    "pi-5", "pi-4", "pi-3", "pi-zero-2", "jetson-orin", "jetson-nano", "coral-dev",
    "pi-5-coral-usb", "pi-5-coral-m2", "pi-4-coral-usb", "pi-4-coral-m2",
}  # fmt: skip


def test_every_board_that_was_asked_for_is_there() -> None:
    assert set(board_names()) >= NAMED_BY_THE_ISSUE
    assert role_names() == ["kiosk", "robot"]


@pytest.mark.parametrize("name", board_names())
def test_a_board_reads_and_every_table_of_it_says_where_it_is_from(name: str) -> None:
    board = load_board(name)
    facts = [
        value for value in (*board.__struct_fields__,) if isinstance(getattr(board, value), Facts)
    ]
    assert {"camera", "watchdog", "thermal", "work"} <= set(facts)
    for field in facts:
        table = getattr(board, field)
        assert table.source or table.unverified


@pytest.mark.parametrize("name", role_names())
def test_a_role_reads(name: str) -> None:
    assert load_role(name).title


def test_the_budgets_of_the_selftest_are_those_of_the_boards() -> None:
    file = Path(boards.__file__).with_name("boards.json")
    assert file.read_text() == budgets.text(), "run: mien-flash budgets > edge/boards.json"


def test_no_two_boards_answer_to_one_name() -> None:
    begins = [row.begins for row in boards.BOARDS]
    assert len(begins) == len(set(begins))


def test_boards_with_one_lock_mean_the_same_wheels() -> None:
    found: dict[str, tuple[object, ...]] = {}
    for name in board_names():
        for image in load_board(name).images.values():
            if image.lock is not None:
                meant = (image.python, image.machine, image.glibc, image.requirements)
                assert found.setdefault(image.lock, meant) == meant, image.lock


@pytest.mark.parametrize("name", board_names())
def test_no_card_is_promised_for_a_board_whose_python_mien_does_not_know(name: str) -> None:
    board = load_board(name)
    for image in board.images.values():
        old = tuple(map(int, image.python.split("."))) < (3, 10)
        assert old <= (board.legacy is not None)
    if board.legacy is not None:
        assert board.legacy.possible
        assert board.legacy.impossible


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match="board 'pi-6': there is none; the boards are coral-dev"):
        load_board("pi-6")
    with pytest.raises(UsageError, match="role 'shop': there is none; the roles are kiosk, robot"):
        load_role("shop")


BOARD = """
title = "T"
image = "i"
[images.i]
os = "O"
python = "3.11"
machine = "aarch64"
glibc = "2.36"
boot = "firstrun"
mount = "/boot"
lock = "l"
unverified = "u"
[camera]
uri = "v4l2:/dev/video0"
width = 640
height = 480
fps = 30.0
unverified = "u"
[watchdog]
seconds = 14
unverified = "u"
[thermal]
throttles_celsius = 80.0
hot_celsius = 78.0
unverified = "u"
[work]
detect_every = 1
threads = 1
unverified = "u"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(board_module, "BOARDS", tmp_path)
    (tmp_path / "base.toml").write_text(BOARD)
    return tmp_path


def test_a_board_gives_only_the_tables_in_which_it_differs(folder: Path) -> None:
    (folder / "other.toml").write_text(
        'title = "Other"\nextends = "base"\n[watchdog]\nseconds = 10\nunverified = "u"\n'
    )
    base, other = load_board("base"), load_board("other")
    assert (other.title, other.watchdog.seconds) == ("Other", 10)
    assert (other.camera, other.images) == (base.camera, base.images)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('colour = "green"\n' + BOARD, "unknown field `colour`"),
        (BOARD + "colour = 1\n", "unknown field `colour`"),
        (BOARD.replace('seconds = 14\nunverified = "u"', "seconds = 14"), "no source"),
        (BOARD.replace('unverified = "u"', 'source = ["a forum"]', 1), "matching regex"),
        (BOARD.replace('image = "i"', 'image = "j"'), "'j' is not among images"),
        (BOARD.replace('lock = "l"\n', ""), "no lock"),
        (BOARD.replace("seconds = 14", "seconds = 1000"), "watchdog.seconds"),
        ('extends = "base"\n' + BOARD, "extends"),
        ('extends = "nobody"\n' + BOARD, "extends"),
        ("title = ", "cannot be read"),
    ],
)
def test_a_file_that_is_not_right_is_refused_in_one_line(
    folder: Path, wrong: str, said: str
) -> None:
    (folder / "base.toml").write_text(wrong)
    with pytest.raises(ConfigError, match=r"base\.toml: ") as caught:
        load_board("base")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
