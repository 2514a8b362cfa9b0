"""Locks, and fetching by them: pip is real, and its index is a folder of wheels of a few bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from smallcards import wheel

from edge.errors import ConfigError, MienError
from firmware_configs import lock, wheelhouse
from firmware_configs.board import Image, load_board

TAG = "cp311-cp311-manylinux_2_17_aarch64"
NEWER = "cp311-cp311-manylinux_2_39_aarch64"
OTHER = "cp313-cp313-manylinux_2_17_aarch64"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can find."""
    folder = tmp_path / "index"
    wheel(folder, "pip", "26.3")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(wheelhouse, "LOCKS", tmp_path)
    return folder


@pytest.fixture
def image() -> Image:
    """Raspberry Pi OS Bookworm, with other wishes."""
    usual = load_board("pi-4").images["bookworm"]
    return msgspec.structs.replace(usual, lock="test", requirements=("numpy>=1,<2", "runtime"))


def pins(text: str) -> dict[str, str]:
    return {pin.name: pin.version for pin in wheelhouse.parse(text, "test")}


def test_a_lock_has_the_newest_that_is_allowed_and_what_that_requires(
    index: Path, image: Image
) -> None:
    for version in ("1.0", "1.9", "2.0"):
        wheel(index, "numpy", version, TAG)
    wheel(index, "numpy", "1.95", OTHER)
    wheel(index, "numpy", "1.96", NEWER)
    wheel(index, "runtime", "3.0", requires=["numpy>=1.2", "Helper.One"])
    wheel(index, "helper_one", "1.0")
    text = lock.make(image)
    assert pins(text) == {"numpy": "1.9", "runtime": "3.0", "helper-one": "1.0", "pip": "26.3"}
    assert text == lock.make(image)


def test_markers_are_judged_for_the_image_and_not_for_this_machine(
    index: Path, image: Image
) -> None:
    wheel(index, "numpy", "1.0", TAG)
    wheel(
        index,
        "runtime",
        "3.0",
        requires=[
            'no-such-a; python_version < "3.11"',
            'no-such-b; platform_machine != "aarch64"',
            'no-such-c; extra == "more"',
            'helper; python_version == "3.11" and platform_machine == "aarch64"',
        ],
    )
    wheel(index, "helper", "1.0")
    assert set(pins(lock.make(image))) == {"numpy", "runtime", "helper", "pip"}


def test_what_one_wheel_forbids_another_does_not_get(index: Path, image: Image) -> None:
    for version in ("1.0", "1.5"):
        wheel(index, "numpy", version, TAG)
    wheel(index, "runtime", "3.0", requires=["numpy<1.5"])
    assert pins(lock.make(image))["numpy"] == "1.0"


def test_a_project_without_a_wheel_for_that_python_is_named(index: Path, image: Image) -> None:
    wheel(index, "numpy", "1.0", OTHER)
    wheel(index, "runtime", "3.0")
    with pytest.raises(MienError, match=r"^numpy for Python 3[.]11 on aarch64: pip: No ") as e:
        lock.make(image)
    assert "\n" not in str(e.value)


def test_what_is_locked_is_fetched_and_held_against_its_hash(
    index: Path, image: Image, tmp_path: Path
) -> None:
    numpy = wheel(index, "numpy", "1.0", TAG)
    wheel(index, "runtime", "3.0")
    (tmp_path / "test.txt").write_text(lock.make(image))
    into = tmp_path / "wheels"
    into.mkdir()
    found = wheelhouse.collect(image, None, into)
    assert {pin.name for pin in found} == {"numpy", "runtime", "pip"}
    assert sorted(file.name for file in into.iterdir()) == sorted(
        file.name for file in index.iterdir()
    )
    with numpy.open("ab") as file:
        file.write(b"other")
    for file in into.iterdir():
        file.unlink()
    with pytest.raises(MienError, match=r"^the wheels of test for Python 3[.]11 ") as e:
        wheelhouse.collect(image, None, into)
    assert "\n" not in str(e.value)


def test_a_lock_that_is_missing_or_none_is_refused(
    index: Path, image: Image, tmp_path: Path
) -> None:
    assert index.exists()
    with pytest.raises(ConfigError, match="lock test: No such file or directory; mien-flash lock"):
        wheelhouse.read_lock(image)
    (tmp_path / "test.txt").write_text("# a comment\n\nnumpy>=1\n")
    with pytest.raises(ConfigError, match=r"test\.txt, line 3: not NAME==VERSION --hash"):
        wheelhouse.read_lock(image)


def test_every_tag_that_a_system_takes_is_named() -> None:
    tags = wheelhouse.platforms(load_board("jetson-orin").images["jetpack6"])
    assert tags[0] == "manylinux_2_35_aarch64"
    assert tags[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
