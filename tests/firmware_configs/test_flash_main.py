"""The command line of mien-flash: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from smallcards import Workshop

from firmware_configs import budgets, tried
from firmware_configs.__main__ import main


@pytest.fixture
def command(shop: Workshop) -> list[str]:
    return [
        *("render", "--board", "pi-4", "--role", "kiosk", "--broker", "mqtts://broker.example"),
        *("--wheelhouse", str(shop.wheels), "--mien", str(shop.mien)),
        *("--out", str(shop.folder / "out")),
    ]


def test_render_then_check(
    command: list[str], shop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = shop.folder / "secret"
    secret.write_text("correct horse\n")
    key = shop.folder / "id.pub"
    key.write_text("ssh-ed25519 AAAA anna@desk\n")
    more = [
        *("--device-id", "lobby", "--username", "u", "--password-file", str(secret)),
        *("--wifi", "net", "--wifi-password-file", str(secret), "--wifi-country", "GB"),
        *("--admin", "anna", "--ssh-key", str(key), "--ntp", "10.0.0.1"),
    ]
    assert main([*command, *more]) == 0
    out = shop.folder / "out"
    assert capsys.readouterr().out.endswith(f"{out}: made\n")
    assert main(["check", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"{out}: right\n")
    file = out / "mien/mien.toml"
    file.write_text(file.read_text() + "\n# by hand\n")
    assert main(["check", str(out)]) == 1
    assert capsys.readouterr().err == (
        "mien-flash: mien/mien.toml: not what card.json counted; mien-flash check --seal takes it "
        "in\n"
    )
    assert main(["check", "--seal", str(out)]) == 0


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ([], (2, "who is the device? give either --device-id or --fleet")),
        (["--device-id", "a", "--fleet", "x"], (2, "give either --device-id or --fleet")),
        (["--device-id", "a/b"], (2, "device id 'a/b': cannot be a level of a topic")),
        (["--device-id", "a", "--board", "pi-6"], (2, "board 'pi-6': there is none")),
        (["--device-id", "a", "--board", "jetson-nano"], (2, "no card can be made: JetPack 4")),
        (["--device-id", "a", "--board", "pi-3", "--role", "robot"], (2, "cannot carry the role")),
        (["--device-id", "a", "--wifi", "net"], (2, "--wifi-country go together")),
        (["--device-id", "a", "--admin", "anna"], (2, "--admin and --ssh-key go together")),
        (["--device-id", "a", "--broker", "http://x"], (78, "mien.toml: mqtt.url: broker")),
        (["--device-id", "a", "--password-file", "/none"], (1, "/none: No such file or directory")),
        (["--device-id", "a", "--mien", "/none"], (1, "/none: not a wheel of Mien")),
        (["--device-id", "a", "--mien", "/mien.whl"], (1, "/mien.whl: not a wheel of Mien")),
        (["--device-id", "fleet"], (2, "device id 'fleet': stands for a whole fleet")),
        (["--device-id", "a", "--username", ""], (2, "--username: is empty")),
        (["--device-id", "a", "--username", "\udcff"], (2, "--username: holds a control char")),
        (["--device-id", "a", "--username", "a\nb"], (2, "--username: holds a control char")),
        (["--device-id", "a", "--camera", "v4l2:\udcff"], (2, "--camera: holds a control char")),
        (["--device-id", "a", "--wifi", "\udcff"], (2, "--wifi: holds a control character, or is")),
        (["--device-id", "a", "--ntp", "a b"], (2, "ntp 'a b': neither a host's name nor an IP")),
        (["--device-id", "a", "--debs", "/none"], (2, "--debs /none: no folder")),
        (["--device-id", "a", "--ca-file", __file__], (2, f"{__file__}: holds no PEM cert")),
        (["--device-id", "a", "--cert-file", __file__], (2, f"{__file__}: its key is missing")),
        (["--device-id", "a", "--key-file", __file__], (2, "its certificate is missing")),
        (["--device-id", "a", "--camera", "picamera2:zz"], (78, "can name no camera; write it")),
        (["--device-id", "a", "--out", "/" + "o" * 300], (1, "File name too long")),
        (["--fleet", "/none"], (1, "/none: No such file or directory")),
        (["--device-id", "a", "--out", "/none/out"], (1, "/none: No such file or directory")),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code_and_nothing_is_left(
    command: list[str],
    shop: Workshop,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    ends: tuple[int, str],
) -> None:
    code, said = ends
    before = sorted(shop.folder.iterdir())
    assert main([*command, *more]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert sorted(shop.folder.iterdir()) == before


def test_a_file_with_a_wheels_name_is_no_wheel(
    command: list[str], shop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.mien.write_bytes(b"")
    assert main([*command, "--device-id", "a"]) == 1
    assert "mien-0.1.0-py3-none-any.whl: not a wheel of Mien" in capsys.readouterr().err


def test_a_fleet_may_be_told_by_the_boards_own_numbers(
    command: list[str], shop: Workshop, tmp_path: Path
) -> None:
    table = tmp_path / "devices.csv"
    table.write_text("device_id,username,password\n10000000deadbeef,u,p\n")
    assert main([*command, "--device-id", "serial", "--fleet", str(table)]) == 0
    settings = (shop.folder / "out/card/mien/mien.toml").read_text()
    assert 'device_id = "serial"\n' in settings


@pytest.mark.parametrize("what", ["username", "password"])
def test_what_is_of_all_devices_and_of_each_is_refused(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str
) -> None:
    table = tmp_path / "devices.csv"
    table.write_text(f"device_id,{what}\na,x\n")
    secret = tmp_path / "secret"
    secret.write_text("p\n")
    shared = ["--username", "u", "--password-file", str(secret)]
    assert main([*command, "--fleet", str(table), *shared]) == 2
    assert f"{what}: is of all devices and of each one" in capsys.readouterr().err


def test_list_claims_nothing_that_was_not_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert "pi-5 " in printed
    assert "kiosk " in printed
    on_hardware = {each.board for each in tried.read() if each.how == "on hardware"}
    assert on_hardware == set()
    assert "on hardware: not yet" in printed
    assert printed.count("on hardware: ") == printed.count("on hardware: not yet")


def test_what_was_tried_has_a_log_that_tells_of_that_board() -> None:
    root = Path(__file__).parents[2]
    for each in tried.read():
        assert f"--board {each.board}" in (root / each.log).read_text()


def test_what_was_tried_is_shown_beside_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tried.toml"
    monkeypatch.setattr(tried, "FILE", file)
    entry = (
        '[[tried]]\nboard = "pi-4"\nimage = "bookworm"\nhow = "emulated"\nwhat = "it installs"\n'
        'log = "docs/tried.md"\n'
    )
    file.write_text(entry + 'role = "kiosk"\n')
    assert "emulated with role kiosk: it installs (docs/tried.md)" in tried.listing()
    file.write_text(entry)
    shown = tried.listing()
    assert "Python 3.11; emulated: it installs (docs/tried.md); on hardware: not yet" in shown
    for wrong in (
        entry.replace("pi-4", "pi-6"),
        entry.replace("emulated", "dreamt"),
        entry + 'role = "shop"\n',
        "tried = 1",
    ):
        file.write_text(wrong)
        with pytest.raises(Exception, match=r"tried\.toml: "):
            tried.read()


def test_budgets_prints_what_edge_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budgets"]) == 0
    assert capsys.readouterr().out == budgets.text()


def test_a_command_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "usage: mien-flash" in capsys.readouterr().err
