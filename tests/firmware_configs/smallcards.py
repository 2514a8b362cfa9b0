"""Cards like real ones, with wheels of a few bytes, and a device that is a folder."""

from __future__ import annotations

import dataclasses
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from firmware_configs import render, wheelhouse
from firmware_configs.answers import Answers
from firmware_configs.board import Image, board_names, load_board
from firmware_configs.device import card as cards
from firmware_configs.device.files import sha256
from firmware_configs.render import Order

PROJECTS = {"pip": "26.3", "numpy": "2.0.0"}


def wheel(
    folder: Path,
    name: str,
    version: str,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
) -> Path:
    """A wheel that says what it is and what it requires, and holds nothing."""
    file = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    said = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    files = {
        "METADATA": "\n".join([*said, *(f"Requires-Dist: {each}" for each in requires), ""]),
        "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for place, text in files.items():
            # A fixed time, so that the same wheel has the same hash.
            archive.writestr(zipfile.ZipInfo(f"{info}/{place}"), text)
    return file


def tag_of(image: Image) -> str:
    short = "cp" + image.python.replace(".", "")
    return f"{short}-{short}-manylinux_2_17_{image.machine}"


def images() -> Iterator[Image]:
    """Every image that a card can be made for."""
    for name in board_names():
        board = load_board(name)
        if board.legacy is None:
            yield from board.images.values()


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where cards are made: a wheelhouse for every lock, and Mien's own wheel."""

    folder: Path

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    @property
    def mien(self) -> Path:
        return self.folder / "own/mien-0.1.0-py3-none-any.whl"

    def order(self, board: str = "pc", role: str = "kiosk", **more: object) -> Order:
        answers = more.pop("answers", None) or Answers("lobby", "mqtt://10.0.0.5")
        out = more.pop("out", None) or self.folder / "out"
        assert isinstance(answers, Answers)
        assert isinstance(out, Path)
        return Order(
            board,
            role,
            answers,
            out,
            wheelhouse=self.wheels,
            mien=self.mien,
            **more,  # type: ignore[arg-type]
        )

    def card(self, name: str = "card", **more: object) -> Path:
        """A card that is for this machine's Python, whatever that is."""
        render.render(self.order(out=self.folder / name, **more))
        folder = self.folder / name
        mien = folder / ("card/mien" if (folder / "card").exists() else "mien")
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        manifest = dataclasses.replace(
            cards.Manifest(**_json(mien / "card.json")), python=here, machine=platform.machine()
        )
        render.seal(mien, manifest)
        return folder


def _json(file: Path) -> dict[str, object]:
    import json  # noqa: PLC0415

    table: dict[str, object] = json.loads(file.read_text())
    return table


def workshop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    shop = Workshop(folder)
    locks = folder / "locks"
    locks.mkdir(parents=True)
    monkeypatch.setattr(wheelhouse, "LOCKS", locks)
    for image in images():
        files = [
            wheel(shop.wheels / str(image.lock), "numpy", PROJECTS["numpy"], tag_of(image)),
            wheel(shop.wheels / str(image.lock), "pip", PROJECTS["pip"]),
        ]
        pins = [
            wheelhouse.Pin(file.name.split("-")[0], file.name.split("-")[1], sha256(file))
            for file in files
        ]
        (locks / f"{image.lock}.txt").write_text(wheelhouse.requirements(pins))
    for file in shop.wheels.rglob("*.whl"):
        shutil.copyfile(file, shop.wheels / file.name)
    wheel(shop.mien.parent, "mien", "0.1.0")
    return shop


STUBS = {
    "python3": """
        # python3 -m venv --system-site-packages --without-pip DIR
        mkdir -p "$5/bin"
        cp "$STUBS/venv-python" "$5/bin/python"
    """,
    "venv-python": """
        # DIR/bin/python WHEEL/pip install ...
        test -e "$STUBS/pip-fails" && { echo "ERROR: No space left on device" >&2; exit 1; }
        cp "$STUBS/mien" "$(dirname "$0")/mien"
    """,
    "mien": r"""
        # DIR/bin/mien selftest --json ...
        echo "mien $*" >> "$STUBS/log"
        ls "$CREDENTIALS_DIRECTORY" > "$STUBS/handed-over"
        version=$(basename "$(dirname "$(dirname "$0")")")
        verdict() {
            for who in any "$version"; do
                left=$(cat "$STUBS/$1-fails-$who" 2>/dev/null || echo 0)
                test "$left" -gt 0 || continue
                echo $((left - 1)) > "$STUBS/$1-fails-$who"
                echo failed
                return
            done
            echo passed
        }
        test "$(verdict selftest-crash)" = passed || exit 139
        printf '{"checks": [{"name": "golden-frame", "verdict": "%s", "text": "differs"},' \
            "$(verdict golden)"
        printf '{"name": "latency-busy-total", "verdict": "%s", "text": "too slow"},' \
            "$(verdict latency)"
        test "$(verdict new-check)" = passed ||
            printf '{"name": "brand-new", "verdict": "failed", "text": "unheard of"},'
        printf '{"name": "spool-writable", "verdict": "%s", "text": "no room"}]}' \
            "$(verdict spool)"
        touch "$(dirname "$0")/../tested"
    """,
    "systemctl": """
        echo "systemctl $*" >> "$STUBS/log"
        version=$(basename "$(readlink "$ROOT/opt/mien")")
        case "$1 $2" in
            "restart mien.service"|"start mien.service")
                grep -qx "$version" "$STUBS/do-not-start" 2>/dev/null && {
                    echo "Job for mien.service failed." >&2
                    exit 1
                }
                test -e "$ROOT/opt/mien/complete" || exit 3
                echo "$version" > "$STUBS/running"
        esac
    """,
    "dpkg": 'echo "dpkg $*" >> "$STUBS/log"',
    "rfkill": 'echo "rfkill $*" >> "$STUBS/log"',
    "netplan": 'echo "netplan $*" >> "$STUBS/log"',
    "nmcli": 'echo "nmcli $*" >> "$STUBS/log"',
    "nvpmodel": 'echo "nvpmodel $*" >> "$STUBS/log"',
    "systemd-sysusers": 'echo "systemd-sysusers $*" >> "$STUBS/log"',
    "systemd-tmpfiles": 'echo "systemd-tmpfiles $*" >> "$STUBS/log"',
    "udevadm": 'echo "udevadm $*" >> "$STUBS/log"',
}
"""What stands for the system's programs: the seam is the root folder and PATH."""

KILL = """
import os, runpy, signal, sys
left, root = int(sys.argv[1]), sys.argv[2]
CHANGES = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chmod",
           "subprocess.Popen"}
def hook(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
    if event in CHANGES or writes:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs the setup and kills it before its N-th change to the disk, or program that it starts."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A device: a root folder, and stubs for the programs of its system."""

    root: Path
    stubs: Path

    @classmethod
    def new(cls, folder: Path) -> Device:
        device = cls(folder / "root", folder / "stubs")
        device.stubs.mkdir(parents=True)
        (device.root / "etc").mkdir(parents=True)
        for name, body in STUBS.items():
            file = device.stubs / name
            file.write_text(f"#!/bin/sh\n{body}\n")
            file.chmod(0o755)
        return device

    def copy(self, folder: Path) -> Device:
        """The same device again, to be treated otherwise."""
        other = Device(folder / "root", folder / "stubs")
        shutil.copytree(self.root, other.root, symlinks=True)
        shutil.copytree(self.stubs, other.stubs)
        return other

    def setup(
        self, card: Path, *options: str, kill_before: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a card's setup on the device; it dies before its N-th change where that is given."""
        program = [str(card / "mien/setup"), "--root", str(self.root), *options]
        runner = ["-c", KILL, str(kill_before), str(self.root)] if kill_before else []
        return subprocess.run(
            [sys.executable, "-B", "-I", *runner, *program],
            capture_output=True,
            text=True,
            check=False,
            env={
                "PATH": f"{self.stubs}:/usr/bin:/bin",
                "STUBS": str(self.stubs),
                "ROOT": str(self.root),
            },
        )

    def settle(self) -> subprocess.CompletedProcess[str]:
        """What the machine does at its next start, when no card is there any more."""
        if not (self.root / "opt/mien-versions/pending").exists():
            return subprocess.CompletedProcess([], 0, "", "")
        return self.setup_of_its_own("--settle")

    def setup_of_its_own(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the setup that stayed on the device."""
        installed = self.root / "opt/mien"
        assert (installed / "setup").is_dir()
        (self.stubs / "own").mkdir(exist_ok=True)
        place = self.stubs / "own/mien"
        place.unlink(missing_ok=True)
        place.symlink_to(installed.resolve())
        return self.setup(self.stubs / "own", *options)

    def fails(self, what: str, version: str = "any", times: int = 999) -> None:
        """From now on a check of the self-test fails, so many times."""
        (self.stubs / f"{what}-fails-{version}").write_text(f"{times}\n")

    def version(self) -> str | None:
        link = self.root / "opt/mien"
        return link.readlink().name if link.is_symlink() else None

    def running(self) -> str:
        return (self.stubs / "running").read_text().strip()

    def log(self) -> list[str]:
        file = self.stubs / "log"
        return file.read_text().splitlines() if file.exists() else []

    def text(self, place: str) -> str:
        return (self.root / place).read_text()
