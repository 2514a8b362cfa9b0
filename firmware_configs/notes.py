"""What a person should know of a card: how it gets onto a device, and what it cannot promise."""

from __future__ import annotations

import math
from pathlib import Path

from firmware_configs.answers import Answers
from firmware_configs.board import Board, Image
from firmware_configs.tried import never_on_hardware

_HOW = {
    "cloud-init": "write the image to a card, then copy everything in this folder onto its boot "
    "partition, over the files that are there",
    "firstrun": "write the image with `rpi-imager --cli --first-run-script firstrun.sh IMAGE "
    "DEVICE`, then copy the folder mien onto the boot partition",
    "by-hand": "write the image as its maker says; copy the folder mien to /opt/mien-card on the "
    "device, and run there: sudo python3 -B /opt/mien-card/mien/setup",
}


def notes(name: str, board: Board, image: Image, answers: Answers, *, debs: bool) -> list[str]:
    """Return one line for each thing."""
    lines = [f"{board.title}: {image.os}", f"to use it: {_HOW[image.boot]}"]
    if answers.fleet:
        lines.append(
            f"{len(answers.fleet)} devices: card/ is for all of them; devices/ID is copied over "
            "it, onto that device's card alone"
        )
    if answers.secrets():
        lines.append(_secrets(image))
    wanted = [*image.missing, *(board.accelerator.missing if board.accelerator else ())]
    if wanted and not debs:
        lines.append(
            f"the image lacks {', '.join(wanted)}: give --debs FOLDER with them, or install them "
            "by hand"
        )
    lines += _of_the_board(board, image)
    if never_on_hardware(name):
        lines.append("never tried on this board: see mien-flash list")
    return lines


def size(card: Path, image: Image) -> str:
    """Return a line that says how much room a card's files take, in MB (10^6 bytes)."""
    total = sum(file.stat().st_size for file in card.rglob("*") if file.is_file())
    room = f"the card's files are {math.ceil(total / 1e6)} MB"
    if image.boot == "by-hand":
        return room
    return f"{room}; the boot partition must have room: Raspberry Pi OS makes it 512 MB, once 256"


def _secrets(image: Image) -> str:
    if image.boot == "by-hand":
        return "mien/credentials holds secrets: the setup takes them to /etc/mien, and wipes them"
    return (
        "mien/credentials holds secrets, and whoever holds the card can read its boot partition "
        "(FAT keeps no owners): the first boot takes them to /etc/mien/credentials and wipes them "
        "there, but a card's spare blocks may keep what was once written"
    )


def _of_the_board(board: Board, image: Image) -> list[str]:
    lines = []
    if image.boot == "by-hand" and board.camera.uri.startswith("argus:"):
        lines.append(
            "a CSI camera has to be named to the device tree: sudo /opt/nvidia/jetson-io/"
            "jetson-io.py writes an overlay into /boot/extlinux/extlinux.conf; then restart"
        )
        lines.append(
            "the unit keeps the daemon from NVIDIA's own devices and from the CSI camera's socket: "
            "sudo systemctl edit mien allows them; which ones was never tried. USB cameras need "
            "nothing"
        )
    if board.power is not None and board.power.nvpmodel is not None:
        lines.append(f"the setup sets the power mode {board.power.nvpmodel} (nvpmodel), once")
    if board.accelerator is not None:
        lines.append(
            "the bundle needs a frame_edgetpu.tflite beside its own for the Edge TPU to be used"
        )
    return lines
