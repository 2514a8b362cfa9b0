"""The commented configuration says what is true."""

from __future__ import annotations

from pathlib import Path

import firmware_configs
from edge import config
from edge.config import Camera, Settings

EXAMPLE = Path(firmware_configs.__file__).parent / "mien.example.toml"


def test_the_example_shows_the_defaults() -> None:
    shown = config.load(EXAMPLE, {})
    assert shown == Settings(camera=(Camera(uri="clip:/srv/lobby.mp4"),))


def test_the_example_shows_every_key() -> None:
    text = EXAMPLE.read_text()
    for line in config.to_toml(Settings(camera=(Camera(uri="x:"),))).splitlines():
        key = line.split("=")[0].strip()
        assert key in text
    assert "# score = " in text
