"""`mien install` and `mien uninstall` on a system in a folder, with systemd's own tools."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest
from realbroker import program

from edge.__main__ import main
from edge.install import place, shipped

ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "group": "root:x:0:\nvideo:x:44:\n",
    "shadow": "root:*:19000:0:99999:7:::\n",
    "gshadow": "root:*::\nvideo:*::\n",
    "login.defs": "USERGROUPS_ENAB yes\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system that is not running, with a Mien in its /opt."""
    for tool in ("systemctl", "systemd-sysusers", "systemd-tmpfiles"):
        program(tool, "systemd")
    if os.geteuid() != 0:
        assert os.environ.get("CI") != "true", "CI must be root"
        pytest.skip("only root may make users")
    etc = tmp_path / "root/etc"
    etc.mkdir(parents=True)
    for name, text in ACCOUNTS.items():
        (etc / name).write_text(text)
    program_of_it = tmp_path / "root/opt/mien/bin/mien"
    program_of_it.parent.mkdir(parents=True)
    program_of_it.touch()
    return tmp_path / "root"


def files(root: Path) -> dict[str, str]:
    """All files, but for the copies and the lock of the programs that make users."""
    return {
        str(path.relative_to(root)): path.read_text() if path.exists() else "-> elsewhere"
        for path in sorted(root.rglob("*"))
        if (path.is_file() or path.is_symlink())
        and not (path.name.endswith("-") or path.name == ".pwd.lock")
    }


def mien(verb: str, root: Path, *more: str) -> int:
    return main([verb, "--system", "--root", str(root), *more])


def test_it_is_put_in_place_and_taken_away(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    assert mien("install", root, "--yes", "--camera", "v4l2:/dev/video0") == 0
    said = capsys.readouterr().out
    after = files(root)
    for name in after.keys() - before.keys():
        assert name in said or name.startswith("etc/systemd/system/")
    assert 'uri = "v4l2:/dev/video0"' in after["etc/mien/mien.toml"]
    assert "etc/systemd/system/multi-user.target.wants/mien.service" in after
    uid, gid = after["etc/passwd"].splitlines()[-1].split(":")[2:4]
    status = (root / "etc/mien/mien.toml").stat()
    assert stat.filemode(status.st_mode) == "-rw-r-----"
    assert (status.st_uid, status.st_gid) == (0, int(gid))
    assert stat.filemode((root / "etc/mien/credentials").stat().st_mode) == "drwx------"

    assert mien("uninstall", root, "--yes") == 0
    assert files(root).keys() - before.keys() == {"etc/mien/mien.toml"}
    assert f"mien:x:{uid}" in files(root)["etc/passwd"]

    assert mien("uninstall", root, "--yes", "--purge") == 0
    assert files(root) == before


def test_it_only_says_what_it_would_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    assert mien("install", root, "--dry-run") == 0
    assert files(root) == before
    said = capsys.readouterr().out
    assert said.startswith("as root, this would\n  write   ")
    assert f"{root}/etc/systemd/system/mien.service: Mien expression recognition, /opt" in said


def test_nobody_to_ask_is_no_yes(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(root)
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert mien("install", root) == 2
    assert capsys.readouterr().err == (
        "mien: nobody is there to be asked; --yes does it, --dry-run only says it\n"
    )
    assert files(root) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("Yes", 0), ("", 1), ("n", 1)])
def test_it_asks(root: Path, answer: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(root)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert mien("install", root) == code
    assert (files(root) == before) is (code == 1)


@pytest.mark.parametrize("left", [EOFError, KeyboardInterrupt])
def test_who_leaves_without_an_answer_has_said_no(
    root: Path, left: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(_: str) -> str:
        raise left

    before = files(root)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", leave)
    assert mien("install", root) == 1
    assert files(root) == before


def test_a_wrong_configuration_is_told_before_anything_is_done(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "etc/mien").mkdir()
    (root / "etc/mien/mien.toml").write_text("devise_id = 1\n")
    before = files(root)
    assert mien("install", root, "--yes") == 78
    assert "devise_id: unknown key; did you mean 'device_id'?" in capsys.readouterr().err
    assert files(root) == before


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--camera", "v4l3:/dev/video0"], 78, "no such kind of camera"),
        (["--mqtt", "hub"], 78, "not an address"),
        (["--mqtt", "mqtt://hub", "--allow", "hub"], 2, "--allow hub: not an address"),
    ],
)
def test_what_is_told_wrongly_is_refused_before_anything_is_done(
    root: Path, arguments: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(root)
    assert mien("install", root, "--yes", *arguments) == code
    told = capsys.readouterr().err
    assert text in told
    assert told.count("\n") == 1
    assert files(root) == before


def test_a_camera_for_a_configuration_that_is_there_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "etc/mien").mkdir()
    (root / "etc/mien/mien.toml").write_text('[[camera]]\nuri = "v4l2:/dev/video0"\n')
    assert mien("install", root, "--yes", "--camera", "v4l2:/dev/video1") == 2
    assert "mien.toml is there already; change it there" in capsys.readouterr().err


def test_the_ip_filter_follows_the_configuration(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "etc/mien").mkdir()
    config, drop_in = root / "etc/mien/mien.toml", "etc/systemd/system/mien.service.d/50-mien.conf"
    for broker, allowed in (("10.0.0.7", "10.0.0.7"), ("10.0.0.8", "10.0.0.8"), ("a.org", "any")):
        config.write_text(f'[[camera]]\nuri = "v4l2:/dev/video0"\n[mqtt]\nurl = "mqtt://{broker}"')
        capsys.readouterr()
        assert mien("install", root, "--yes") == 0
        assert files(root)[drop_in].splitlines()[-1] == f"IPAddressAllow={allowed}"
        assert ("the IP filter is open" in capsys.readouterr().out) is (allowed == "any")


def test_what_was_allowed_once_is_remembered(root: Path) -> None:
    drop_in = root / "etc/systemd/system/mien.service.d/50-mien.conf"

    def allowed() -> list[str]:
        lines = drop_in.read_text().splitlines()
        return [line for line in lines if line.startswith("IPAddressAllow=")]

    broker = ("--mqtt", "mqtt://broker.example.org", "--camera", "v4l2:/dev/video0")
    assert mien("install", root, "--yes", *broker, "--allow", "192.0.2.0/24") == 0
    assert allowed() == ["IPAddressAllow=192.0.2.0/24"]
    assert mien("install", root, "--yes") == 0
    assert allowed() == ["IPAddressAllow=192.0.2.0/24"]
    assert mien("install", root, "--yes", "--allow", "198.51.100.7") == 0
    assert allowed() == ["IPAddressAllow=198.51.100.7/32"]


def test_who_is_not_root_is_told_so(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    # On this system and not on another; nothing of it is touched.
    monkeypatch.setattr(
        "edge.install.commands.find", lambda *_: place.find("system", Path("/"), {})
    )
    monkeypatch.setattr(shipped, "program", lambda _: Path("/opt/mien/bin/mien"))
    assert mien("install", root, "--yes") == 1
    assert "needs root: put sudo" in capsys.readouterr().err


def test_a_failing_step_leaves_nothing_behind(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = files(root)
    broken = tmp_path / "bin/systemd-tmpfiles"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}:/usr/sbin")
    assert mien("install", root, "--yes") == 1
    told = capsys.readouterr().err
    assert told.startswith("mien: `systemd-tmpfiles --create ")
    assert told.endswith("failed: no space left; all is as it was\n")
    assert files(root) == before
