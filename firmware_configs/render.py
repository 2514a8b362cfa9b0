"""Makes a card: every file of the boot partition, in a new folder, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from edge import __version__, config
from edge.errors import MienError, UsageError
from firmware_configs import boot, system, wheelhouse
from firmware_configs.answers import Answers
from firmware_configs.board import Board, Image, load_board, load_role
from firmware_configs.device.card import SCHEMA, Manifest
from firmware_configs.device.files import sha256
from firmware_configs.merge import merged, settings
from firmware_configs.notes import notes, size

_PACKAGE = Path(__file__).parent
_MAIN = """\
import sys

from firmware_configs.device.program import main

sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made: names, answers, and the folders that wheels and packages come from."""

    board: str
    role: str
    answers: Answers
    out: Path
    image: str | None = None
    wheelhouse: Path | None = None
    mien: Path | None = None
    debs: Path | None = None


def render(order: Order) -> list[str]:
    """Make the card; return what a person should know of it.

    Raises
    ------
    MienError
        It cannot be made; nothing is left of it.
    """
    board, image = chosen(order.board, order.role, order.image)
    role = load_role(order.role)
    table = merged(board, role, image, order.answers)
    with _new_folder(order.out) as out:
        card = out / "card" if order.answers.fleet else out
        _write(card, boot.files(board, image, order.answers))
        _write(card / "mien", boot.firmware(board, image))
        mien = card / "mien"
        _write(mien, {"mien.toml": config.toml(table), "setup/__main__.py": _MAIN})
        for file in sorted((_PACKAGE / "device").glob("*.py")):
            _copy(file, mien / "setup/firmware_configs/device" / file.name)
        _copy(_PACKAGE / "__init__.py", mien / "setup/firmware_configs/__init__.py")
        _write(mien / "system", system.files(board, settings(table), order.answers))
        _packages(board, image, order.debs, mien / "debs")
        _wheels(image, order, mien)
        _credentials(image, order.answers, out, mien)
        told = notes(order.board, board, image, order.answers, debs=order.debs is not None)
        _write(mien, {"NOTES.txt": "".join(f"{line}\n" for line in told)})
        seal(mien, manifest(order, board, image))
        # Not among the notes on the card, which would have to count themselves.
        told.append(size(card, image))
    return told


def chosen(board_name: str, role_name: str, image_name: str | None) -> tuple[Board, Image]:
    """Return a board and its image.

    Raises
    ------
    UsageError
        There is no such board, role or image, or the board cannot carry the role or any card.
    """
    board = load_board(board_name)
    load_role(role_name)
    if board.legacy is not None:
        raise UsageError(
            f"board {board_name}: no card can be made: {board.legacy.why}; what is possible: "
            f"{'; '.join(board.legacy.possible)}"
        )
    refused = {str(name): why for name, why in board.refuses.items()}.get(role_name)
    if refused is not None:
        raise UsageError(f"board {board_name} cannot carry the role {role_name}: {refused}")
    name = image_name or board.image
    if name not in board.images:
        raise UsageError(
            f"image {name!r}: board {board_name} has none of that name; it has "
            f"{', '.join(sorted(board.images))}"
        )
    return board, board.images[name]


def manifest(order: Order, board: Board, image: Image) -> Manifest:
    """Return what card.json says before the files are counted."""
    networks, take_in = boot.NETWORKS[image.boot]
    power = board.power
    return Manifest(
        schema=SCHEMA,
        mien=__version__,
        board=order.board,
        role=order.role,
        image=order.image or board.image,
        os=image.os,
        python=image.python,
        machine=image.machine,
        device_id=order.answers.device_id,
        version="",
        networks=networks,
        network_reload=take_in,
        nvpmodel=power.nvpmodel if power else None,
        jetson_clocks=power.jetson_clocks if power else False,
        files={},
    )


def seal(mien: Path, before: Manifest) -> None:
    """Write card.json: what the card is, and the hash of every file but the credentials.

    The version is a hash of all of it: a card that differs anywhere is another installation.
    """
    files = {str(file.relative_to(mien)): sha256(file) for file in sealed(mien)}
    table = {**asdict(before), "version": "", "files": files}
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
    table["version"] = f"{before.mien}-{digest[:12]}"
    _write(mien, {"card.json": json.dumps(table, indent=2) + "\n"})


def sealed(mien: Path) -> Iterator[Path]:
    """Yield the files that card.json counts."""
    for file in sorted(mien.rglob("*")):
        first = file.relative_to(mien).parts[0]
        if file.is_file() and first not in {"card.json", "credentials"}:
            yield file


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that becomes `out`, or is gone where something fails."""
    if out.exists():
        raise UsageError(f"{out}: is there already; name a new folder")
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as exc:
        raise MienError(f"{out.parent}: {exc.strerror}") from exc
    try:
        yield folder
        folder.chmod(0o755)
        os.sync()
        folder.rename(out)
    except OSError as exc:
        raise MienError(f"{out}: {exc.strerror}; nothing was written") from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wheels(image: Image, order: Order, mien: Path) -> None:
    wheels = mien / "wheels"
    wheels.mkdir()
    pins = wheelhouse.collect(image, order.wheelhouse, wheels)
    pins.append(wheelhouse.own_wheel(order.mien, wheels))
    _write(mien, {"requirements.txt": wheelhouse.requirements(pins)})


def _packages(board: Board, image: Image, debs: Path | None, into: Path) -> None:
    """Copy the Debian packages that the card has to bring."""
    wanted = [*image.missing, *(board.accelerator.missing if board.accelerator else ())]
    if debs is None:
        return
    if not debs.is_dir():
        raise UsageError(f"--debs {debs}: no folder; name one with .deb files")
    files = sorted(file for file in debs.glob("*.deb") if file.is_file())
    for package in wanted:
        if not any(file.name.partition("_")[0] == package for file in files):
            raise MienError(f"{debs}: has no {package}_*.deb, which this board needs")
    if not files:
        raise UsageError(f"--debs {debs}: holds no .deb; leave it out where none is needed")
    for file in files:
        _copy(file, into / file.name)


def _credentials(image: Image, answers: Answers, out: Path, mien: Path) -> None:
    wireless = boot.wireless(image, answers.wifi) if answers.wifi else {}
    _write_secrets(mien / "credentials", {**answers.files, **wireless})
    for device in answers.fleet:
        _write_secrets(out / "devices" / device.device_id / "mien/credentials", device.files)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        file.chmod(0o644)


def _write_secrets(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that only their owner reads, from their first byte on."""
    if not files:
        return
    folder.mkdir(parents=True, mode=0o700)
    for name, data in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as sink:
            sink.write(data)


def _copy(file: Path, into: Path) -> None:
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, into)
    into.chmod(0o644)
