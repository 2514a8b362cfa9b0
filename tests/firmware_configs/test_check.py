"""mien-flash check finds what would go wrong on the device, before it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from smallcards import Workshop, wheel

from edge.errors import MienError
from firmware_configs import check, render
from firmware_configs.answers import Answers
from firmware_configs.fleet import fleet


@pytest.fixture
def card(shop: Workshop) -> Path:
    answers = Answers("lobby", "mqtts://b", username="u", files={"password": b"p\n"})
    order = shop.order("pi-4", answers=answers)
    render.render(order)
    return order.out


@pytest.fixture
def older(shop: Workshop) -> Path:
    order = shop.order("pi-4", image="bookworm", out=shop.folder / "older")
    render.render(order)
    return order.out


def edited(place: str, before: str, after: str) -> Callable[[Path], None]:
    def spoil(card: Path) -> None:
        file = card / place
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))

    return spoil


def removed(place: str) -> Callable[[Path], None]:
    return lambda card: next(card.glob(place)).unlink()


def binary(place: str) -> Callable[[Path], None]:
    return lambda card: next(card.glob(place)).write_bytes(b"\xff\xfe")


UNIT = "mien/system/etc/systemd/system/mien.service"
SPOILT = [
    (edited("mien/mien.toml", "calm", "loud"), "events.preset: invalid enum value 'loud'"),
    (edited("mien/mien.toml", "[events]", "[evnts]"), "evnts: unknown key; did you mean 'events'?"),
    (edited("mien/mien.toml", "calm", "quick"), "mien/mien.toml: not what card.json counted"),
    (
        edited("mien/mien.toml", '"lobby"', '"hall"'),
        "device_id is 'hall', and 'lobby' in card",
    ),
    (edited("mien/mien.toml", "device_id =", '"device_id"='), "begin its line with `device_id = `"),
    (edited("mien/mien.toml", "username =", "username="), "begin its line with `username = `"),
    (edited("mien/requirements.txt", "sha256:", "sha1:"), "requirements.txt, line 1: not NAME=="),
    (removed("mien/wheels/numpy*"), "the wheel of numpy 2.0.0 is missing or damaged"),
    (removed("mien/setup/__main__.py"), "mien/setup/__main__.py: missing"),
    (removed("user-data"), "user-data: missing"),
    (removed("meta-data"), "meta-data: missing"),
    (edited("user-data", "#cloud-config", "# cloud"), "its first line must be #cloud-config"),
    (edited("user-data", "bootcmd:", "bootcmds:"), "no bootcmd begins the setup"),
    (edited("user-data", "systemctl daemon-reload", "if true"), "user-data, bootcmd: "),
    (edited("meta-data", "instance-id", "id"), "meta-data: has no instance-id"),
    (lambda card: (card / "mien/credentials/password").chmod(0o644), "others can read it"),
    (edited("mien/setup/__main__.py", "import sys", "import"), "__main__.py: invalid syntax"),
    (binary("user-data"), "user-data: is no UTF-8 text"),
    (binary("meta-data"), "meta-data: is no UTF-8 text"),
    (binary("network-config"), "network-config: is no UTF-8 text"),
    (binary("mien/mien.toml"), "mien.toml: cannot be read"),
    (binary("mien/requirements.txt"), "mien/requirements.txt: is no UTF-8 text"),
    (binary("mien/setup/__main__.py"), "mien/setup/__main__.py: "),
    (binary(UNIT), "mien.service: is no UTF-8 text"),
    (edited(UNIT, "[Service]", "xx"), "mien.service: has no [Service]"),
    (edited(UNIT, "ExecStart=", "Exec="), "mien.service: has no ExecStart="),
    (removed(UNIT), "mien.service: missing"),
    (edited("network-config", "version", "{{{"), "network-config: says no `version: 2`"),
    (edited("mien/mien.toml", "picamera2:0", "picamera2:zz"), "can name no camera; write it"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_what_is_wrong_is_said_in_a_line(
    card: Path, spoil: Callable[[Path], None], said: str
) -> None:
    assert check.check(card) == []
    spoil(card)
    found = check.check(card)
    assert any(said in line for line in found), found


def test_a_wheel_for_another_machine_is_found(card: Path) -> None:
    wheel(card / "mien/wheels", "numpy", "2.0.1", "cp313-cp313-manylinux_2_17_x86_64")
    found = "\n".join(check.check(card))
    assert "x86_64.whl: not in mien/requirements.txt" in found
    assert "x86_64.whl: not for Raspberry Pi OS (64-bit) with desktop, Debian 13" in found


def test_a_script_that_no_shell_reads_is_found(older: Path) -> None:
    assert check.check(older) == []
    edited("firstrun.sh", "done\n", "")(older)
    (line,) = check.check(older)
    assert line.startswith("firstrun.sh: ")
    binary("firstrun.sh")(older)
    assert check.check(older) == ["firstrun.sh: is no UTF-8 text"]
    (older / "firstrun.sh").unlink()
    assert check.check(older) == ["firstrun.sh: missing"]


def test_a_card_that_was_edited_by_hand_can_be_sealed(card: Path) -> None:
    before = json.loads((card / "mien/card.json").read_text())
    edited("mien/mien.toml", "calm", "quick")(card)
    assert check.check(card) != []
    check.seal_again(card)
    assert check.check(card) == []
    after = json.loads((card / "mien/card.json").read_text())
    # The device takes it for what it is: another installation.
    assert after["version"] != before["version"]


def test_a_fleets_folders_are_held_against_their_names(shop: Workshop, tmp_path: Path) -> None:
    table = tmp_path / "devices.csv"
    table.write_text("device_id,username,password\na,u,p\nb,u,p\n")
    order = shop.order("pi-4", answers=Answers("fleet", "mqtts://b", fleet=fleet(table)))
    render.render(order)
    assert check.check(order.out) == []
    (order.out / "devices/a").rename(order.out / "devices/c")
    assert check.check(order.out) == ["devices/c: its device-id is missing or another one"]
    binary("devices/c/mien/credentials/device-id")(order.out)
    (line,) = check.check(order.out)
    assert line.endswith("devices/c/mien/credentials/device-id: is no UTF-8 text")


@pytest.mark.parametrize("text", ["{", '{"colour": 1}', ""])
def test_what_is_no_card_is_no_card(card: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(MienError, match="no card: it has no mien/card"):
        check.check(tmp_path)
    (card / "mien/card.json").write_text(text)
    with pytest.raises(MienError, match=r"card\.json: "):
        check.check(card)


def test_a_key_that_card_json_does_not_have_is_refused(card: Path) -> None:
    edited("mien/card.json", '"board"', '"colour": 1, "board"')(card)
    with pytest.raises(MienError, match="unknown key 'colour'"):
        check.check(card)


def test_cloud_init_is_asked_where_it_is_installed(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "cloud-init"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--help*) echo --schema-type;; '
        "*network-config*) echo 'Error: no such key'; exit 1;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert check.check(card) == ["network-config: cloud-init refuses it: Error: no such key"]
    assert check.unchecked(card) == []
    program.write_text("#!/bin/sh\n")
    (line,) = check.unchecked(card)
    assert line == "network-config: not checked by cloud-init's schema: cloud-init is too old"


def test_what_only_cloud_init_can_check_is_said_where_it_is_not_here(
    card: Path, older: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check.unchecked(card) == [
        f"{name}: not checked by cloud-init's schema: cloud-init is not here"
        for name in ("user-data", "network-config")
    ]
    assert check.unchecked(older) == []
