"""Sets a device up from its card, and updates it: every step may be repeated, and cut off anywhere.

What is in force stays in force until the new installation has stood its self-test: see `gate`.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from firmware_configs.device import card as cards
from firmware_configs.device.card import Card
from firmware_configs.device.change import change
from firmware_configs.device.commands import attempt, must, say
from firmware_configs.device.files import SetupError, write
from firmware_configs.device.gate import RUN, hold
from firmware_configs.device.versions import CURRENT, SETTINGS, Versions

_BEGIN, _END = "# mien: begin", "# mien: end"


def install(folder: Path, root: Path) -> None:
    """Do everything that is not yet done.

    Parameters
    ----------
    folder
        `mien` on the card.
    root
        `/`, or a folder that stands for it.

    Raises
    ------
    SetupError
        Something stands in the way; what was in force still is.
    """
    versions, card = Versions(root), cards.read(folder)
    if versions.foreign():
        raise SetupError("/opt/mien was not made by a card: move it away, and begin again")
    device_id, username = card.identity(root)
    renewed = card.take_credentials(root)
    if card.take_networks(root):
        attempt("rfkill", "unblock", "wifi")
        attempt(*card.manifest.network_reload)
    debs = sorted(map(str, (folder / "debs").glob("*.deb")))
    if debs:
        must("dpkg", "--install", "--skip-same-version", *debs)
    name = card.manifest.version
    if not versions.complete(name):
        _make(card, versions, _settings(card, root, device_id, username))
    change(versions, name, renewed=renewed)
    _finish(card, versions)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Be the only one that sets this device up.

    Raises
    ------
    SetupError
        Another one is at it.
    """
    folder = root / RUN
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError("this device is being set up already") from None
        yield


def _make(card: Card, versions: Versions, settings: tuple[str, str]) -> None:
    """Make an installation beside the one in force, and hold it against its self-test."""
    for left in versions.names():
        if not versions.complete(left):
            versions.remove(left)
    kept = versions.current()
    folder = versions.path(card.manifest.version)
    try:
        _environment(card, folder)
        for name, text in zip(("mien.toml", "mien.toml.card"), settings, strict=True):
            write(folder / name, text.encode(), 0o600)
        shutil.copytree(card.folder / "system", folder / "system")
        shutil.copytree(card.folder / "setup", folder / "setup")
        hold(folder, versions.root, versions.path(kept) if kept else None)
    except (SetupError, OSError) as exc:
        shutil.rmtree(folder, ignore_errors=True)
        rest = f"{kept} stays in force" if kept else "nothing is installed"
        raise SetupError(f"{exc}; {rest}") from exc
    versions.completed(card.manifest.version)


def _environment(card: Card, folder: Path) -> None:
    """Make the virtual environment, from the card alone."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    must("python3", "-m", "venv", "--system-site-packages", "--without-pip", str(folder))
    wheels = card.folder / "wheels"
    pip = next(wheels.glob("pip-*.whl"), None)
    if pip is None:
        raise SetupError(f"{wheels}: has no pip")
    # Debian may have no pip, and a venv without ensurepip gets none; a wheel of it runs as it is.
    must(
        str(folder / "bin/python"), str(pip / "pip"), "install", "--quiet", "--no-index",
        "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--require-hashes",
        f"--find-links={wheels}", f"--requirement={card.folder / 'requirements.txt'}",
    )  # fmt: skip


def _settings(card: Card, root: Path, device_id: str, username: str | None) -> tuple[str, str]:
    """Return the settings to be in force, and those of the card for this device.

    What a person made of the settings in force is kept.
    """
    text = (card.folder / "mien.toml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^device_id = .*$", f'device_id = "{device_id}"', text)
    if username is not None:
        text = re.sub(r"(?m)^username = .*$", lambda _: f"username = {json.dumps(username)}", text)
    now, before = root / SETTINGS, root / CURRENT / "mien.toml.card"
    if now.is_file():
        settings = now.read_text(encoding="utf-8")
        if not before.is_file() or settings != before.read_text(encoding="utf-8"):
            say(f"/{SETTINGS} is no card's and is kept; the card's: /{CURRENT}/mien.toml.card")
            return settings, text
    return text, text


def selftest(root: Path) -> None:
    """Hold the installation in force against its self-test: the gate for who updates the system.

    Raises
    ------
    SetupError
        It fails what it did not fail when it was put in force, or nothing is installed.
    """
    versions = Versions(root)
    name = versions.current()
    if name is None:
        raise SetupError("nothing is installed")
    hold(versions.path(name), root, versions.path(name))


def _finish(card: Card, versions: Versions) -> None:
    """Do what only matters once an installation is in force, and note that all is done."""
    name = card.manifest.version
    card.forget_credentials()
    for other in versions.names():
        if other != name:
            versions.remove(other)
    _power(card, versions.root)
    restart = _firmware(card, versions.root)
    write(versions.folder / "done", f"{name}\n".encode())
    say(f"{name} is in force")
    if restart:
        say("the firmware's settings changed: the machine starts anew")
        attempt("systemctl", "reboot")


def _power(card: Card, root: Path) -> None:
    """Set NVIDIA's power mode by its name, for its number differs from module to module."""
    mode, file = card.manifest.nvpmodel, root / "etc/nvpmodel.conf"
    if mode is None or not file.is_file():
        return
    text = file.read_text(encoding="utf-8")
    found = re.search(rf"POWER_MODEL\s+ID=(\d+)\s+NAME={re.escape(mode)}\s", text)
    if found is None:
        say(f"/etc/nvpmodel.conf has no mode {mode}; the power mode is left as it is")
        return
    attempt("nvpmodel", "-m", found[1])
    if card.manifest.jetson_clocks:
        attempt("jetson_clocks")


def _firmware(card: Card, root: Path) -> bool:
    """Bring the card's lines to a Pi's firmware and kernel; return whether anything changed."""
    lines = _change(card, root, "config.txt", _lines)
    words = _change(card, root, "cmdline.txt", _words)
    return lines or words


def _change(card: Card, root: Path, name: str, merge: Callable[[str, str], str]) -> bool:
    """Bring one of the card's files into that of the boot partition, where the card may not be."""
    folders = (card.folder.parent, root / "boot/firmware", root / "boot")
    file = next((each / name for each in folders if (each / name).is_file()), None)
    if file is None:
        return False
    wanted = card.folder / name
    # Whatever a person has written there goes through unharmed.
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    new = merge(text, wanted.read_text(encoding="utf-8") if wanted.is_file() else "")
    data = new.encode(errors="surrogateescape")
    return new != text and write(file, data, file.stat().st_mode & 0o7777)


def _lines(text: str, wanted: str) -> str:
    """Return config.txt with the wanted lines in place of those of an earlier card."""
    rest = re.sub(rf"(?ms)^{_BEGIN}$.*?^{_END}$\n?", "", text)
    return f"{rest.rstrip()}\n\n{_BEGIN}\n{wanted}{_END}\n" if wanted else rest


def _words(text: str, wanted: str) -> str:
    """Return cmdline.txt, which is one line, with the wanted words that it lacks."""
    missing = [word for word in wanted.split() if word not in text.split()]
    return " ".join([text.strip(), *missing]) + "\n" if missing else text
