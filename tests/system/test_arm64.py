"""A rendered card sets up a 64-bit ARM, under qemu: the nearest thing to a board that is not here.

The setup of the first boot installs from the card's wheels with a Raspberry Pi's Python and without
a network, the golden vectors pass, and a clip tells the same story as on this machine. It proves
nothing about speed, and there is no systemd in it: a stub stands for that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
MAKE_ROOT = ("mmdebstrap", "--quiet", "--arch=arm64", "--variant=extract")
PACKAGES = (
    "python3-minimal,libpython3-stdlib,libstdc++6,libatomic1,libgcc-s1,libgomp1,base-files,"
    "coreutils,dash"
)
NEEDS = "apt install qemu-user-static binfmt-support mmdebstrap, and root"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
SYSTEM = ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "udevadm")
OF_THE_PROGRAM = ("bundles", "golden-frame", "golden-head")
ENVIRONMENT = {
    "QEMU_CPU": "cortex-a72",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
}


def prepared() -> bool:
    """Whether this machine can run arm64 programs in a root of their own."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("mmdebstrap", "update-binfmts"))):
        return False
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False)
    subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=False)
    return (BINFMT / "qemu-aarch64").exists()


def render(out: Path, image: str) -> None:
    """Make a card for a Raspberry Pi 4 as a person does."""
    command = [
        *(sys.executable, "-m", "firmware_configs", "render", "--board", "pi-4", "--role", "kiosk"),
        *("--image", image, "--device-id", "lobby", "--broker", "mqtt://127.0.0.1"),
        *("--out", str(out)),
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A Debian root for arm64 that was set up from a card, without a network."""
    if not prepared():
        assert os.environ.get("CI") != "true", f"CI must have: {NEEDS}"
        pytest.skip(f"arm64 cannot be tried here: {NEEDS}")
    folder = tmp_path_factory.mktemp(request.param)
    root = folder / "root"
    subprocess.run([*MAKE_ROOT, f"--include={PACKAGES}", request.param, str(root)], check=True)
    render(folder / "card", request.param)
    (mien,) = (folder / "card/mien/wheels").glob("mien-*.whl")
    assert mien.stat().st_size < 5_000_000, "a wheel for small cards stays small"
    shutil.copytree(folder / "card", root / "boot/firmware", dirs_exist_ok=True)
    for name in SYSTEM:
        (root / "usr/bin" / name).write_text("#!/bin/dash\n")
        (root / "usr/bin" / name).chmod(0o755)
    said = on(root, "/usr/bin/python3", "-B", "/boot/firmware/mien/setup")
    sys.stdout.write(said)
    assert "is in force" in said
    yield root
    shutil.rmtree(folder)


def on(board: Path, *command: str) -> str:
    """Run a program on the board, which has no network."""
    done = subprocess.run(
        ["unshare", "--net", "chroot", str(board), *command],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def story(lines: str) -> list[tuple[object, ...]]:
    """What was told, without what may differ from machine to machine."""
    events = [json.loads(line) for line in lines.splitlines()]
    return [
        (event["seq"], event["type"], event["track"]["id"], event["emotion"]) for event in events
    ]


def test_the_wheels_import_and_the_machine_is_arm64(board: Path) -> None:
    code = "import platform, edge.daemon, edge.mqtt; print(platform.machine())"
    assert on(board, "/opt/mien/bin/python", "-c", code).strip() == "aarch64"


def test_the_goldens_passed(board: Path) -> None:
    """They are among what the setup asks before it puts anything in force."""
    report = json.loads(
        (board / "opt/mien-versions" / version(board) / "selftest.json").read_text()
    )
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert [verdicts[name] for name in OF_THE_PROGRAM] == ["passed"] * len(OF_THE_PROGRAM)


def version(board: Path) -> str:
    return (board / "opt/mien").readlink().name


def test_the_sample_tells_the_same_story_as_here(board: Path) -> None:
    run = ("run", "--no-mqtt", "--events", "-", "--camera")
    (sample,) = (board / "opt/mien-versions" / version(board)).rglob("samples/portrait.webm")
    place = f"/{sample.relative_to(board)}"
    there = on(board, "/opt/mien/bin/mien", *run, f"clip:{place}?pace=fast")
    here = subprocess.run(
        [sys.executable, "-m", "edge", *run, f"clip:{sample}?pace=fast"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert story(there) == story(here.stdout)
    assert len(story(there)) >= 4
