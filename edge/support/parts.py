"""The parts of a bundle. Each gathers its own, and says what it could not get at and why."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from edge import config, examiner
from edge.errors import ConfigError, MienError
from edge.health import Sensors, versions
from edge.payloads import ONLINE, SelfTest
from edge.selftest import report
from edge.settings import Settings
from edge.subscriber import Subscriber
from edge.support import identity
from edge.support.redaction import Redactor

LIBRARIES = (
    "ai-edge-litert", "amqtt", "cryptography", "msgspec", "numpy", "opencv-python",
    "opencv-python-headless", "paho-mqtt", "picamera2", "tflite-runtime",
)  # fmt: skip

SELFTEST_S = 180.0
"""How long the self-test may take before it counts as hanging."""

LOG_LINES = 2000
"""How many of the last lines of the log are taken."""

_SELFTEST = (sys.executable, "-m", "edge", "selftest", "--json", "--no-publish")
_JOURNAL_S = 30.0
_LISTEN_S, _QUIET_S = 5.0, 1.0
_DEVICES = ("video*", "media*", "apex_*")
_LEVELS = ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug")
"""Names of syslog's priorities, in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """What the command was asked about.

    `settings` is None where the configuration is wrong, for the reason `trouble`; `table` is then
    what stands in it, as far as it can be read.
    """

    file: Path | None
    settings: Settings | None
    table: Mapping[str, Any]
    trouble: str = ""

    @classmethod
    def read(cls, file: Path | None, environ: Mapping[str, str] = os.environ) -> Device:
        """Read the configuration as `mien run` would, and go on without one where it is wrong."""
        try:
            settings = config.load(file, environ)
        except ConfigError as exc:
            trouble = str(exc)
        else:
            return cls(file, settings, msgspec.to_builtins(settings))
        try:
            return cls(file, None, config.unchecked(file, environ), trouble)
        except ConfigError:
            return cls(file, None, {}, trouble)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the broker retains of the device, by topic below its own; nothing of who is in view."""

    topics: Mapping[str, Any]

    @property
    def online(self) -> bool:
        """Whether a daemon runs, as far as the broker knows."""
        return self.topics.get("availability") == ONLINE.decode()


def versions_of(environ: Mapping[str, str] = os.environ) -> str:
    """Say what runs here: Mien, its libraries, the system, and which devices the kernel shows."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    devices = [f"/dev/{file.name}" for each in _DEVICES for file in sorted(Path("/dev").glob(each))]
    set_here = sorted(name for name in environ if name.startswith(config.ENVIRONMENT_PREFIX))
    about = {
        **versions(LIBRARIES),
        "board": Sensors().board(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", "unknown"),
        "devices": " ".join(devices) or "none",
        "variables": " ".join(set_here) or "none",
    }
    return "".join(f"{name}: {value}\n" for name, value in about.items())


def configuration(device: Device, redactor: Redactor) -> str:
    """Write the configuration in force without secrets; a wrong one as it stands, and why."""
    text = config.toml(identity.redacted(device.table, redactor)) if device.table else ""
    if device.settings is not None:
        return f"# In force, defaults included.\n{text}"
    return f"# Refused: {redactor.text(device.trouble)}\n{text}"


def heard(device: Device) -> Heard:
    """Listen to what the broker retains of this device.

    Raises
    ------
    MienError
        The broker cannot be asked, or has nothing to say.
    """
    if device.settings is None:
        raise MienError("the configuration is wrong, and names no broker that could be asked")
    mqtt = device.settings.mqtt
    base = f"{mqtt.prefix}/{device.settings.device_id}"
    found: dict[str, Any] = {}
    until_s = monotonic() + _LISTEN_S
    with Subscriber(mqtt, f"{base}/#") as subscriber:
        for topic, payload in subscriber.messages(_QUIET_S):
            name = topic.removeprefix(f"{base}/")
            if _is_wanted(name):
                found[name] = _decoded(payload)
            if monotonic() > until_s:
                break
    if not found:
        raise MienError(
            "the broker has nothing of this device: it never ran, or its user may not read its "
            "own topics"
        )
    return Heard(found)


def written(topics: Any) -> str:  # noqa: ANN401  # JSON has no better type
    """Write what was heard as indented JSON."""
    return json.dumps(topics, indent=2, ensure_ascii=False) + "\n"


def _is_wanted(name: str) -> bool:
    """Whether a topic says how the device is, rather than who is before it."""
    if name in ("availability", "info", "health", "selftest"):
        return True
    return name.startswith("camera/") and name.endswith("/status")


def _decoded(payload: bytes) -> Any:  # noqa: ANN401  # JSON has no better type
    try:
        return json.loads(payload)
    except ValueError:
        text = payload.decode(errors="replace")
        return text if text in ("online", "offline") else f"not JSON: {len(payload)} bytes"


def selftest(device: Device, *, running: bool) -> str:
    """Run the self-test in a process of its own, which may crash or hang, and write its table.

    Nothing of it is published. While the daemon runs, it has the cameras and needs the cores, and
    what is tested is what the daemon tests beside itself.

    Raises
    ------
    MienError
        It did not come to its end.
    """
    if running and device.settings is not None:
        command, given = list(examiner.PROGRAM), msgspec.json.encode(device.settings)
    else:
        command, given = [*_SELFTEST, *(["--config", str(device.file)] if device.file else [])], b""
    try:
        done = subprocess.run(  # noqa: S603  # our own program
            command, input=given, capture_output=True, check=False, timeout=SELFTEST_S
        )
    except subprocess.TimeoutExpired as exc:
        raise MienError(f"the self-test did not end within {SELFTEST_S:g} s") from exc
    try:
        return f"{report.table(msgspec.json.decode(done.stdout, type=SelfTest))}\n"
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = done.stderr.decode(errors="replace").strip() or "nothing"
        raise MienError(f"the self-test ended with {done.returncode} and said: {said}") from None


def is_running() -> bool:
    """Whether systemd says that it runs the daemon."""
    program = shutil.which("systemctl")
    if program is None:
        return False
    asked = [program, "is-active", "--quiet", "mien.service"]
    try:
        return subprocess.run(asked, check=False, capture_output=True, timeout=5).returncode == 0  # noqa: S603  # found above
    except (OSError, subprocess.TimeoutExpired):
        return False


def log() -> str:
    """Return the last lines of the unit's log: when, how grave, what; no host, no process.

    Raises
    ------
    MienError
        There is no journal, or this user may not read it.
    """
    program = shutil.which("journalctl")
    if program is None:
        raise MienError("there is no journalctl: add what mien run said to stderr yourself")
    reasons = []
    for unit in ("--unit=mien.service", "--user-unit=mien.service"):
        command = [program, unit, "--output=json", f"--lines={LOG_LINES}", "--no-pager"]
        done = subprocess.run(  # noqa: S603  # found above
            command, capture_output=True, check=False, timeout=_JOURNAL_S
        )
        lines = list(journal_lines(done.stdout))
        if lines:
            return "".join(f"{line}\n" for line in lines)
        reasons.append(" ".join(done.stderr.decode(errors="replace").split()))
    told = "; ".join(dict.fromkeys(filter(None, reasons))) or "it has no line of mien.service"
    raise MienError(f"the journal: {told}; try with sudo, or add what mien run said to stderr")


def journal_lines(output: bytes) -> Iterator[str]:
    """Yield entries of `journalctl --output=json` as lines, without the fields that name a machine.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.journal-fields.html
    """
    for line in output.splitlines():
        try:
            entry = json.loads(line)
            at_s = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            level = _LEVELS[int(entry.get("PRIORITY", 6))]
        except (ValueError, KeyError, IndexError, TypeError):
            continue
        when = datetime.fromtimestamp(at_s, tz=timezone.utc).isoformat(timespec="milliseconds")
        yield f"{when} {level:<7} {_message(entry.get('MESSAGE'))}"


def _message(value: Any) -> str:  # noqa: ANN401  # JSON has no better type
    """Return a message; bytes that are no text come as numbers, too long ones as null."""
    if isinstance(value, list) and all(isinstance(each, int) for each in value):
        return bytes(value).decode(errors="replace")
    return value if isinstance(value, str) else "(not a text)"
