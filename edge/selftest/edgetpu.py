"""Whether there is a Coral Edge TPU, and whether its library works.

On USB it has two names: 1a6e:089a (Global Unichip) until its firmware was loaded at the first use,
18d1:9302 (Google) from then on. On PCIe the driver makes /dev/apex_N. The library is tried in a
process of its own, because one built for another runtime crashes, and a device that hangs would
take us with it.

https://coral.ai/docs/accelerator/get-started/
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from edge.payloads import SelfTestCheck
from edge.runtime import EDGETPU_LIBRARY, INTERPRETERS
from edge.selftest.subject import Subject, said

USB_IDS = {
    ("1a6e", "089a"): "on USB, not used since it was plugged in",
    ("18d1", "9302"): "on USB",
}

PROBE_S = 10.0
"""How long loading the library may take; the firmware is sent to a USB stick meanwhile."""


def find(root: Path = Path("/")) -> list[str]:
    """Return the Edge TPUs that the kernel shows below `root`, in words."""
    sticks = sorted((root / "sys/bus/usb/devices").glob("*/idVendor"))
    found = [
        f"{USB_IDS[numbers]} ({':'.join(numbers)}, {vendor.parent.name})"
        for vendor in sticks
        if (numbers := (_line(vendor), _line(vendor.with_name("idProduct")))) in USB_IDS
    ]
    return found + [f"on PCIe (/dev/{each.name})" for each in sorted(root.glob("dev/apex_*"))]


def probe(module: str, library: str = EDGETPU_LIBRARY, longest_s: float = PROBE_S) -> str | None:
    """Load the library in another process; return what is wrong with it, or None.

    Parameters
    ----------
    module
        The Python module of the TFLite runtime.
    library
        The file name of the delegate.
    longest_s
        After how many seconds it counts as hanging.
    """
    code = f"import {module} as runtime; runtime.load_delegate({library!r})"
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=longest_s,
        )
    except subprocess.TimeoutExpired:
        return f"{library} hangs: unplug the Edge TPU and plug it in again"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"{library} crashes ({name}): install the one that goes with {module}"
    last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    return f"{library} cannot be loaded ({last[0]}): install libedgetpu1-std, check the device"


def check(subject: Subject, root: Path = Path("/")) -> Iterator[SelfTestCheck]:
    """Look for Edge TPUs and, where no daemon has them or is about to, try their library."""
    found = find(root)
    if not found and subject.settings.runtime.edgetpu:
        yield said("edgetpu", "warned", "none found, though [runtime] edgetpu asks for one")
        return
    if not found:
        yield said("edgetpu", "skipped", "none found")
        return
    trouble = (
        None
        if subject.quick or subject.beside
        else probe(INTERPRETERS[subject.settings.runtime.library])
    )
    yield said("edgetpu", "failed" if trouble else "passed", trouble or "; ".join(found))


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
