"""Who may import whom: the shape of the house, held."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = [
    {"errors", "files"},
    {"credentials"},
    {"datatypes", "clock", "payloads", "boards", "broker", "backoff", "settings", "signature"},
    {"config", "bundle", "coherence"},
    {"imaging", "runtime", "homeassistant"},
    {"crop", "networks"},
    {"quality"},
    {"cameras", "detector", "tracker", "emotion", "events", "goldens"},
    {"trial"},
    {"mailbox", "stillness", "cadence", "notes", "notify", "overrun"},
    {"reader"},
    {"pipeline", "capture", "sinks", "outbox", "access", "health", "spoolfile"},
    {"accelerator", "commands", "ledger", "spoolage", "spoolsync", "spool"},
    {"announcer", "connection", "dialogue"},
    {"listener"},
    {"mqtt", "subscriber"},
    {"telemetry", "liveness", "watch"},
    {"selftest"},
    {"errands", "examiner", "support", "reload", "loop", "asyncapi", "schema", "bench", "aim"},
    {"beside", "daemon", "install"},
    {"demo"},
    {"__main__"},
]
"""edge's modules from the ground up: each may import from its own layer and those below."""

ALLOWED = {
    "cv2": {
        "edge/imaging.py",
        *(f"edge/cameras/{name}.py" for name in ("argus", "clip", "opencv", "stream", "v4l2")),
    },
    "picamera2": set(),
    "libcamera": set(),
    "cryptography": {"edge/signature.py"},
    "paho": {"edge/connection.py", "edge/subscriber.py"},
    "ai_edge_litert": {"convert/inspect.py", "convert/noise.py"},
    "tflite_runtime": set(),
    "tensorflow": {"convert/"},
    "keras": {"convert/"},
    "matplotlib": {"convert/"},
    "edge": {"edge/", "convert/", "firmware_configs/"},
    "convert": {"convert/"},
}
"""Which files may import what (a prefix ends in /). The TFLite runtimes are imported by name
from a literal table in edge/runtime.py, picamera2 and libcamera on use in their camera's file."""

CONVERT_MAY_USE = {
    "bundle", "crop", "datatypes", "detector", "emotion", "errors", "events", "goldens", "imaging",
    "networks", "quality", "runtime", "settings", "signature",
}  # fmt: skip


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Dotted names a file imports anywhere, in functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def edge_modules(file: Path) -> set[str]:
    """The modules of edge that a file imports, by their first name below edge."""
    return {
        name.split(".")[1]
        for name in imports(file)
        if name.startswith("edge.") and "__" not in name
    }


def layer_of(module: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if module in layer)


@pytest.mark.parametrize("file", sources("edge"), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(file: Path) -> None:
    own = file.relative_to(ROOT / "edge").parts[0].removesuffix(".py")
    if own == "__init__":
        assert edge_modules(file) == set()
        return
    for module in edge_modules(file):
        assert layer_of(module) <= layer_of(own), f"{own} may not import {module}"


@pytest.mark.parametrize(
    "file",
    [*sources("edge"), *sources("convert"), *sources("firmware_configs")],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_each_package_has_its_door(file: Path) -> None:
    place = file.relative_to(ROOT).as_posix()
    for name in imports(file):
        allowed = ALLOWED.get(name.split(".")[0])
        if allowed is not None:
            assert any(
                place == door or (door.endswith("/") and place.startswith(door)) for door in allowed
            ), f"{place} may not import {name}"


@pytest.mark.parametrize("file", sources("convert"), ids=lambda file: file.name)
def test_convert_shares_only_what_prevents_skew(file: Path) -> None:
    assert edge_modules(file) <= CONVERT_MAY_USE


HEAVY = (
    "cv2", "numpy", "ai_edge_litert", "paho", "tensorflow", "keras", "msgspec", "cryptography"
)  # fmt: skip


@pytest.mark.parametrize("command", ["edge", "convert", "firmware_configs"])
def test_help_imports_nothing_heavy(command: str) -> None:
    probe = (
        f"import sys, {command}.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr.strip() == "[]"
    assert "usage: mien" in done.stdout
