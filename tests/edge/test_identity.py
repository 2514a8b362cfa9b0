"""Which V4L2 device is which, on a made-up machine: nodes are files, and what the kernel would say
of them stands in them. The way that udev and sysfs lay them out is theirs."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

import cv2
import pytest

from edge.cameras import open_camera, v4l2
from edge.cameras.identity import Nodes
from edge.errors import CameraError
from edge.settings import Camera

CAPTURE, METADATA, PER_NODE = 0x1, 0x00800000, 0x80000000


class Machine:
    """Nodes that are plugged in and out."""

    def __init__(self, root: Path) -> None:
        self.dev, self.sys = root / "dev", root / "sys"
        (self.dev / "v4l/by-id").mkdir(parents=True)
        self.opened: list[str] = []

    def plug(
        self,
        number: int,
        card: str,
        bus: str,
        *,
        index: int = 0,
        serial: str = "",
        caps: int = CAPTURE,
    ) -> str:
        node = self.dev / f"video{number}"
        node.write_bytes(
            struct.pack(
                "16s32s32sIII12x",
                b"uvcvideo",
                card.encode(),
                bus.encode(),
                0,
                caps | PER_NODE,
                caps,
            )
        )
        about = self.sys / f"class/video4linux/video{number}"
        about.mkdir(parents=True, exist_ok=True)
        (about / "index").write_text(f"{index}\n")
        if serial:
            link = self.dev / f"v4l/by-id/usb-{serial}-video-index{index}"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../video{number}")
        return str(node)

    def unplug(self, number: int) -> None:
        (self.dev / f"video{number}").unlink()

    def ioctl(self, fd: int, request: int, arg: bytearray) -> int:
        if request != 0x80685600:  # VIDIOC_QUERYCAP
            raise OSError(errno.ENOTTY, "not a typewriter")
        told = os.pread(fd, 104, 0)
        if len(told) != 104:
            raise OSError(errno.ENOTTY, "not a typewriter")
        arg[:] = told
        return 0


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(fcntl, "ioctl", machine.ioctl)
    return machine


@pytest.fixture
def nodes(machine: Machine) -> Nodes:
    return Nodes(machine.dev, machine.sys)


def test_a_path_is_itself_until_it_was_opened(machine: Machine, nodes: Nodes) -> None:
    assert nodes.find("/dev/video7") == "/dev/video7"
    path = machine.plug(0, "C920", "usb-1")
    assert nodes.find(path) == path


def test_a_camera_that_comes_back_under_another_number_is_found(
    machine: Machine, nodes: Nodes
) -> None:
    path = machine.plug(0, "C920", "usb-1")
    nodes.remember(path)
    machine.unplug(0)
    assert nodes.find(path) == path, "it is away: the path says so best"
    moved = machine.plug(1, "C920", "usb-1")
    assert nodes.find(path) == moved
    machine.unplug(1)
    machine.plug(0, "C920", "usb-1")
    assert nodes.find(path) == path


def test_its_node_for_metadata_and_its_other_sensors_are_not_taken_for_it(
    machine: Machine, nodes: Nodes
) -> None:
    path = machine.plug(2, "D435", "usb-1", index=2)
    nodes.remember(path)
    machine.unplug(2)
    machine.plug(3, "D435", "usb-1", index=0)
    machine.plug(4, "D435", "usb-1", index=2, caps=METADATA)
    assert nodes.find(path) == path
    right = machine.plug(5, "D435", "usb-1", index=2)
    assert nodes.find(path) == right


def test_in_another_port_it_is_found_by_its_serial_number(machine: Machine, nodes: Nodes) -> None:
    path = machine.plug(0, "C920", "usb-1", serial="AB12")
    nodes.remember(path)
    machine.unplug(0)
    machine.plug(1, "C920", "usb-2", serial="CD34")
    assert nodes.find(path) == path
    moved = machine.plug(2, "C920", "usb-3", serial="AB12")
    assert nodes.find(path) == moved


def test_two_cameras_that_change_numbers_are_not_confused(machine: Machine, nodes: Nodes) -> None:
    left, right = machine.plug(0, "C920", "usb-1"), machine.plug(1, "C920", "usb-2")
    nodes.remember(left)
    nodes.remember(right)
    machine.plug(1, "C920", "usb-1")
    machine.plug(0, "C920", "usb-2")
    assert (nodes.find(left), nodes.find(right)) == (right, left)


def test_the_other_camera_is_not_taken_for_one_that_is_away(machine: Machine, nodes: Nodes) -> None:
    left, right = machine.plug(0, "C920", "usb-1"), machine.plug(1, "C920", "usb-2")
    nodes.remember(left)
    nodes.remember(right)
    machine.unplug(1)
    machine.plug(0, "C920", "usb-2")
    assert nodes.find(left) is None
    assert nodes.find(right) == left


def test_a_camera_put_in_the_place_of_a_broken_one_is_taken(machine: Machine, nodes: Nodes) -> None:
    path = machine.plug(0, "C920", "usb-1", serial="AB12")
    nodes.remember(path)
    machine.plug(0, "Brio", "usb-1", serial="EF56")
    assert nodes.find(path) == path
    nodes.remember(path)
    machine.unplug(0)
    moved = machine.plug(3, "Brio", "usb-1", serial="EF56")
    assert nodes.find(path) == moved


def test_a_machine_without_udev_and_sysfs_has_names_and_ports(
    machine: Machine, tmp_path: Path
) -> None:
    nodes = Nodes(machine.dev, tmp_path / "nothing")
    path = machine.plug(0, "C920", "usb-1")
    nodes.remember(path)
    machine.unplug(0)
    (machine.dev / "video1").write_bytes(b"no device")
    moved = machine.plug(2, "C920", "usb-1")
    assert nodes.find(path) == moved


class Opened:
    """A `cv2.VideoCapture` that notes which node it was given."""

    nodes: list[str]

    def __init__(self, filename: str, _: int) -> None:
        Opened.nodes.append(filename)

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return True

    def set(self, *_: float) -> bool:
        return True

    def get(self, _: int) -> float:
        return 30.0


def test_opening_again_opens_the_device_where_it_is_now(
    machine: Machine, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Opened.nodes = []
    monkeypatch.setattr(v4l2, "_nodes", nodes)
    monkeypatch.setattr(cv2, "VideoCapture", Opened)
    left, right = machine.plug(0, "C920", "usb-1"), machine.plug(1, "C920", "usb-2")
    for path in (left, right):
        open_camera(Camera(uri=f"v4l2:{path}"))
    machine.unplug(0)
    with pytest.raises(CameraError, match="no such device"):
        open_camera(Camera(uri=f"v4l2:{left}"))
    moved = machine.plug(2, "C920", "usb-1")
    open_camera(Camera(uri=f"v4l2:{left}"))
    assert Opened.nodes == [left, right, moved]
    machine.unplug(2)
    machine.unplug(1)
    machine.plug(0, "C920", "usb-2")
    with pytest.raises(CameraError, match="its device is away"):
        open_camera(Camera(uri=f"v4l2:{left}"))
