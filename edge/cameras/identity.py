"""Which V4L2 device is which, when the kernel numbers its nodes anew.

A camera that is unplugged while it is open comes back under the next free number: /dev/video0
is /dev/video1 from then on. What stays is what the device says of itself (VIDIOC_QUERYCAP: its
name, and the port it is plugged into), which of the device's nodes it is (the kernel's `index`),
and the link with its serial number that udev makes in /dev/v4l/by-id.

What a configured path named when it was first opened is remembered for the life of the process.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

# The same number on x86-64, arm64 and 32-bit ARM.
_VIDIOC_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("16s32s32sIII12x")  # v4l2_capability
_CAP_VIDEO_CAPTURE = 0x00000001 | 0x00001000  # single- or multi-planar
_CAP_DEVICE_CAPS = 0x80000000


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays of a device: its name, its port, which of its nodes, its link by serial number.

    `index` is -1 and `link` empty where the system does not say.
    """

    card: str
    bus: str
    index: int
    link: str

    def in_the_same_port(self, other: Identity) -> bool:
        """Whether the other is the same device where it was."""
        return (self.card, self.bus, self.index) == (other.card, other.bus, other.index)

    def by_serial_number(self, other: Identity) -> bool:
        """Whether the other is the same device, perhaps in another port."""
        return bool(self.link) and self.link == other.link


class Nodes:
    """The V4L2 nodes of a machine, and what each configured path stands for.

    Parameters
    ----------
    dev, sys
        Where the nodes and sysfs are.
    """

    def __init__(self, dev: Path = Path("/dev"), sys: Path = Path("/sys")) -> None:
        self._dev = dev
        self._sys = sys
        self._known: dict[str, Identity] = {}

    def remember(self, path: str) -> None:
        """Take note of the device that a configured path leads to, now that it works."""
        identity = self._identity(Path(self.find(path) or path))
        if identity is not None:
            self._known[path] = identity

    def find(self, path: str) -> str | None:
        """Return the node to open for a configured path.

        The device that was opened before, wherever it is now; else the path itself; None where
        that is by now a device that another configured path stands for.
        """
        known = self._known.get(path)
        if known is None:
            return path
        here = self._identity(Path(path))
        if here is not None and known.in_the_same_port(here):
            return path
        there = {node: self._identity(node) for node in sorted(self._dev.glob("video*"))}
        for same in (known.in_the_same_port, known.by_serial_number):
            for node, identity in there.items():
                if identity is not None and same(identity):
                    return str(node)
        others = [each for name, each in self._known.items() if name != path]
        if here is not None and any(each.in_the_same_port(here) for each in others):
            return None
        return path

    def _identity(self, node: Path) -> Identity | None:
        """Return who answers at a node, or None where that is no device that takes pictures."""
        try:
            device = os.open(node, os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            answer = capabilities(device)
        finally:
            os.close(device)
        if answer is None or not takes_pictures(answer):
            return None
        real = node.resolve()
        return Identity(
            card=_text(answer[1]),
            bus=_text(answer[2]),
            index=self._index(real),
            link=self._link(real),
        )

    def _index(self, node: Path) -> int:
        try:
            file = self._sys / "class/video4linux" / node.name / "index"
            return int(file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return -1

    def _link(self, node: Path) -> str:
        links = sorted((self._dev / "v4l/by-id").glob("*"))
        return next((link.name for link in links if link.resolve() == node), "")


def capabilities(device: int) -> tuple[bytes, bytes, bytes, int, int, int] | None:
    """Return what an open device says of itself (v4l2_capability), or None where it is none."""
    answer = bytearray(_CAPABILITY.size)
    try:
        fcntl.ioctl(device, _VIDIOC_QUERYCAP, answer)
    except OSError:
        return None
    driver, card, bus, version, of_all_nodes, of_this_node = _CAPABILITY.unpack(answer)
    return driver, card, bus, version, of_all_nodes, of_this_node


def takes_pictures(answer: tuple[bytes, bytes, bytes, int, int, int]) -> bool:
    """Whether a device's node captures video; it may have others for metadata."""
    *_, of_all_nodes, of_this_node = answer
    wanted = of_this_node if of_all_nodes & _CAP_DEVICE_CAPS else of_all_nodes
    return bool(wanted & _CAP_VIDEO_CAPTURE)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", errors="replace")
