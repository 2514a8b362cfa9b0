"""The installed wheels on 64-bit ARM, under qemu: the nearest thing to a board that is not here.

It proves that the wheels of a Raspberry Pi's Python import, that the golden vectors pass and that
a clip tells the same story as on this machine. It proves nothing about speed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SUITE, PYTHON = "bookworm", "311"
# pip expands no platform: each tag that the wheels carry has to be named.
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
FOR_THE_BOARD = (
    "--only-binary=:all:",
    "--implementation=cp",
    f"--python-version={PYTHON}",
    *(f"--platform={platform}_aarch64" for platform in PLATFORMS),
)
MAKE_ROOT = ("mmdebstrap", "--quiet", "--arch=arm64", "--variant=extract")
PACKAGES = "python3-minimal,libpython3-stdlib,libstdc++6,libatomic1,libgcc-s1,libgomp1,base-files"
NEEDS = "apt install qemu-user-static binfmt-support mmdebstrap, and root"
BINFMT = Path("/proc/sys/fs/binfmt_misc")

GOLDENS = """
from edge import bundle, goldens
from edge.networks import StreamNetworks
for name in bundle.shipped():
    loaded = bundle.load(name)
    if isinstance(loaded.manifest, bundle.StreamManifest):
        networks = StreamNetworks(loaded, loaded.manifest)
        result = goldens.check(networks, goldens.read(loaded, loaded.manifest))
        assert result.passed, result
        print(name, result)
"""


def prepared() -> bool:
    """Whether this machine can run arm64 programs in a root of their own."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("mmdebstrap", "update-binfmts"))):
        return False
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False)
    subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=False)
    return (BINFMT / "qemu-aarch64").exists()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian root for arm64 with Mien's wheel and those it needs unpacked into it."""
    if not prepared():
        assert os.environ.get("CI") != "true", f"CI must have: {NEEDS}"
        pytest.skip(f"arm64 cannot be tried here: {NEEDS}")
    folder = tmp_path_factory.mktemp("arm64")
    root, wheels = folder / "root", folder / "wheels"
    subprocess.run([*MAKE_ROOT, f"--include={PACKAGES}", SUITE, str(root)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(wheels), str(ROOT)], check=True)
    (mien,) = wheels.glob("mien-*.whl")
    assert mien.stat().st_size < 5_000_000, "a wheel for small cards stays small"
    subprocess.run([*pip, "download", "-d", str(wheels), *FOR_THE_BOARD, str(mien)], check=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / "usr/lib/python3/dist-packages")
    yield root
    shutil.rmtree(folder)


def on(board: Path, *command: str) -> str:
    done = subprocess.run(
        ["chroot", str(board), "/usr/bin/python3", *command],
        capture_output=True,
        text=True,
        check=False,
        env={
            "QEMU_CPU": "cortex-a72",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def story(lines: str) -> list[tuple[object, ...]]:
    """What was told, without what may differ from machine to machine."""
    events = [json.loads(line) for line in lines.splitlines()]
    return [
        (event["seq"], event["type"], event["track"]["id"], event["emotion"]) for event in events
    ]


def test_the_wheels_import_and_the_machine_is_arm64(board: Path) -> None:
    code = "import platform, edge.daemon, edge.mqtt; print(platform.machine())"
    assert on(board, "-c", code).strip() == "aarch64"


def test_the_goldens_pass(board: Path) -> None:
    passed = on(board, "-c", GOLDENS)
    assert "mien-fer2013" in passed
    assert "mien-consensus" in passed


def test_the_sample_tells_the_same_story_as_here(board: Path) -> None:
    clip = "edge/samples/portrait.webm"
    run = ["-m", "edge", "run", "--no-mqtt", "--events", "-", "--camera"]
    there = on(board, *run, f"clip:/usr/lib/python3/dist-packages/{clip}?pace=fast")
    here = subprocess.run(
        [sys.executable, *run, f"clip:{ROOT / clip}?pace=fast"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert story(there) == story(here.stdout)
    assert len(story(there)) >= 4
