"""Makes mien.toml: what the board can, what the role wants, what the person answered."""

from __future__ import annotations

from typing import Any

from edge import cameras, config
from edge.errors import MienError, UsageError
from edge.settings import CAMERA_TABLES, Camera, Settings
from firmware_configs import pem
from firmware_configs.answers import CREDENTIAL, Answers
from firmware_configs.board import Board, Image, Role

PLACEHOLDER = "of-the-fleet"
"""Stands for a user name that the first boot takes from the device's own credentials."""

_CREDENTIALS = {
    "password": "password_file",
    pem.AUTHORITY: "ca_file",
    pem.CERTIFICATE: "cert_file",
    pem.KEY: "key_file",
}


def merged(board: Board, role: Role, image: Image, answers: Answers) -> dict[str, Any]:
    """Return what is said, as the table that mien.toml is; what nobody says is left to the daemon.

    Raises
    ------
    UsageError
        The image cannot read a camera, one is named twice, or a credential is given twice.
    CameraUriError
        A URI can name no camera.
    ConfigError
        The answers make no valid settings.
    """
    table: dict[str, Any] = {
        "device_id": answers.device_id,
        "camera": _cameras(board, image, answers),
        "detector": {
            "bundle": role.detector,
            "every": board.work.detect_every,
            "most_faces": role.most_faces,
        },
        "events": {"preset": role.preset},
        "runtime": {
            "library": image.library,
            "threads": board.work.threads,
            "edgetpu": board.accelerator is not None,
        },
        "cadence": {
            "idle_after_s": role.idle_after_s,
            "idle_fps": role.idle_fps,
            "hot_celsius": board.thermal.hot_celsius,
        },
        "mqtt": {"url": answers.broker, **_broker(answers)},
    }
    settings(table)
    return table


def settings(table: dict[str, Any]) -> Settings:
    """Read a merged table as the daemon does."""
    return config.parse(table, source="mien.toml")


def _cameras(board: Board, image: Image, answers: Answers) -> list[dict[str, Any]]:
    uris = answers.cameras or (board.camera.uri,)
    for uri in uris:
        if uris.count(uri) > 1:
            raise UsageError(f"camera {cameras.masked(uri)}: is named twice; no two can open it")
    return [
        _camera(board, image, uri, "camera" if number == 1 else f"camera-{number}")
        for number, uri in enumerate(uris, start=1)
    ]


def _camera(board: Board, image: Image, uri: str, name: str) -> dict[str, Any]:
    cameras.check_uri(Camera(uri=uri))
    scheme = uri.partition(":")[0]
    if scheme == "picamera2" and "python3-picamera2" not in image.packages:
        raise UsageError(f"camera {uri}: {image.os} has no picamera2; give another --camera")
    if "@" in uri.partition("//")[2].partition("/")[0]:
        raise UsageError(
            f"camera {uri.rpartition('@')[2]}: its URI holds a user or a password, which whoever "
            "holds the card could read; add them to /etc/mien/mien.toml on the device"
        )
    camera: dict[str, Any] = {"uri": uri, "name": name}
    usual = board.camera
    for table, schemes in CAMERA_TABLES.items():
        if scheme in schemes and table != "stream":
            fps = usual.fps if table == "picamera2" else int(usual.fps)
            camera[table] = {"width": usual.width, "height": usual.height, "fps": fps}
    return camera


def _broker(answers: Answers) -> dict[str, str | bool]:
    """Return what [mqtt] says of who the device is, each secret as a credential."""
    named = set(answers.files)
    username = answers.username
    if answers.fleet:
        own = [set(device.files) for device in answers.fleet]
        if any(each != own[0] for each in own):
            raise MienError("the fleet's devices must all have the same columns filled in")
        both = sorted((named | ({"username"} if username else set())) & own[0])
        if both:
            raise UsageError(f"{both[0]}: is of all devices and of each one; give it one way only")
        named |= own[0]
        username = PLACEHOLDER if "username" in own[0] else username
    said: dict[str, str | bool] = {} if username is None else {"username": username}
    for name, key in _CREDENTIALS.items():
        if name in named:
            said[key] = f"{CREDENTIAL}{name}"
    if answers.plaintext_password:
        said["allow_plaintext_password"] = True
    return said
