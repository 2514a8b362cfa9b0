"""The commented configuration says what is true."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import firmware_configs
from edge import config
from edge.settings import CAMERA_TABLES, Camera, Settings

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
    assert "# bundle_key = " in text


def uncommented(table: str) -> str:
    """The lines of the example that show a camera's own table, made real."""
    _, heading, rest = EXAMPLE.read_text().partition(f"# [camera.{table}]")
    shown = (heading + rest).partition("\n\n")[0]
    return "\n".join(line.removeprefix("# ") for line in shown.splitlines())


@pytest.mark.parametrize("table", CAMERA_TABLES)
def test_the_example_shows_each_cameras_own_table_with_its_defaults(
    table: str, tmp_path: Path
) -> None:
    file = tmp_path / "mien.toml"
    uri = f"{CAMERA_TABLES[table][0]}:anything"
    file.write_text(f'[[camera]]\nuri = "{uri}"\n{uncommented(table)}\n')
    (camera,) = config.load(file, {}).camera
    shown = getattr(camera, table)
    for field in msgspec.structs.fields(type(shown)):
        value = getattr(shown, field.name)
        # "as it is" stands for no default; the example then shows a value that may be given.
        assert value is not None if field.default is None else value == field.default, field.name
