"""Settings: read, overridden, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.errors import ConfigError
from edge.settings import Camera, Settings

TWO_TRANSPORTS = """
[[camera]]
name = "a"
uri = "rtsp://a"
stream.transport = "udp"
[[camera]]
name = "b"
uri = "rtsp://b"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "mien.toml"
    file.write_text(text)
    return file


def test_everything_but_the_camera_has_a_default(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path, '[[camera]]\nuri = "clip:a.mp4"\n'), {})
    assert settings == Settings(camera=(Camera(uri="clip:a.mp4"),))


def test_without_a_file_the_defaults_hold() -> None:
    assert config.load(None, {}) == Settings()


def test_what_is_shown_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    text = """
    device_id = "kiosk-7"
    bundle_key = "keys/ours.pem"
    [[camera]]
    name = "door"
    uri = "clip:a \\"b\\".mp4"
    rotate = 90
    region = [0.1, 0.0, 0.5, 1.0]
    [[camera]]
    name = "hall"
    uri = "v4l2:/dev/video0"
    [camera.v4l2]
    format = "MJPG"
    mains_hz = 50
    [[camera]]
    name = "yard"
    uri = "rtsp://yard/1"
    [camera.stream]
    transport = "udp"
    [detector]
    score = 0.7
    """
    settings = config.load(write(tmp_path, text), {})
    assert config.load(write(tmp_path, config.to_toml(settings)), {}) == settings


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[detector]\nevery = 3\nscore = 0.6\n")
    settings = config.load(
        file,
        {
            "MIEN_DETECTOR__EVERY": "2",
            "MIEN_DEVICE_ID": "lobby",
            "MIEN_EMOTION__BUNDLE": "/srv/bundle",
            "MIEN_BUNDLE_KEY": "/srv/key.pem",
            "PATH": "/bin",
        },
    )
    assert settings.detector.every == 2
    assert settings.detector.score == 0.6
    assert settings.device_id == "lobby"
    assert settings.emotion.bundle == "/srv/bundle"
    assert settings.bundle_key == "/srv/key.pem"


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'device_id = "named"\n')
    assert config.load(None, {"MIEN_CONFIG": str(file)}).device_id == "named"


def test_the_command_line_replaces_the_cameras() -> None:
    settings = config.with_cameras(Settings(camera=(Camera(uri="x:"),)), ["clip:a", "clip:b"])
    assert [(each.name, each.uri) for each in settings.camera] == [
        ("camera", "clip:a"),
        ("camera-2", "clip:b"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[detector]\nevry = 2\n", "detector.evry: unknown key; did you mean 'every'?"),
        ("[detectr]\n", "detectr: unknown key; did you mean 'detector'?"),
        ("zzz = 1\n", "zzz: unknown key; known keys: device_id, camera, detector"),
        ('[[camera]]\nuri = "clip:a"\nrotat = 9\n', "camera[0].rotat: unknown key; did you mean"),
        ("[detector]\nevery = 0\n", "detector.every: expected `int` >= 1"),
        ('[detector]\nevery = "2"\n', "detector.every: expected `int`, got `str`"),
        ("[[camera]]\n", "camera[0]: object missing required field `uri`"),
        ('device_id = "a/b"\n', "device_id: expected `str` matching regex"),
        ('bundle_key = ""\n', "bundle_key: expected `str` of length >= 1"),
        ('bundle_kye = "a"\n', "bundle_kye: unknown key; did you mean 'bundle_key'?"),
        ("[spool]\nmost_mb = 0\n", "spool.most_mb: expected `int` >= 1"),
        ("[spool]\nmost_hours = 0.0\n", "spool.most_hours: expected `float` > 0"),
        ('[spool]\npath = ""\n', "spool.path: expected `str` matching regex"),
        ("[spool]\nenable = true\n", "spool.enable: unknown key; did you mean 'enabled'?"),
        ("[detector\n", "not TOML"),
        ("a = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a = " + "9" * 5000, "not TOML: Exceeds the limit"),
        ("#\n" * 40_000, "larger than 65536 bytes"),
        ("a." * 20_000 + "a = 1\n", "a line of more than 8192 characters"),
        ('device_id = "lobby\\n"\n', "device_id: expected `str` matching regex"),
        ('[mqtt]\nprefix = "a/b\\n"\n', "mqtt.prefix: expected `str` matching regex"),
        ('[emotion]\nbundle = "a\\u0000b"\n', "emotion.bundle: expected `str` matching regex"),
        ('"a\\nb" = 1\n', "a\\nb"),
        (
            '[[camera]]\nuri = "clip:a"\nregion = [0.5, 0, 0.6, 1]\n',
            "camera 'camera': region [0.5, 0.0, 0.6, 1.0] leaves the picture",
        ),
        (
            '[[camera]]\nuri = "clip:a"\n[[camera]]\nuri = "clip:b"\n',
            "two cameras are named 'camera'",
        ),
        (
            '[[camera]]\nuri = "v4l2:/dev/video0"\n[camera.v4l2]\nwith = 640\n',
            "camera[0].v4l2.with: unknown key; did you mean 'width'?",
        ),
        (
            '[[camera]]\nuri = "v4l2:/dev/video0"\n[camera.v4l2]\nmains_hz = 55\n',
            "camera[0].v4l2.mains_hz: invalid enum value 55",
        ),
        (
            '[[camera]]\nuri = "v4l2:/dev/video0"\n[camera.stream]\n',
            "[camera.stream] is for a uri that begins with rtsp: or http: or https:, not v4l2:",
        ),
        (
            TWO_TRANSPORTS,
            "cameras 'a', 'b': all RTSP cameras share one transport",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        config.load(file, {})
    assert str(file) in str(raised.value)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_misspelt_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"environment: detector\.evry: unknown key"):
        config.load(None, {"MIEN_DETECTOR__EVRY": "2"})


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"MIEN_SPOOL": "1", "MIEN_SPOOL__PATH": "/x"}, "MIEN_SPOOL__PATH: another variable sets"),
        ({"MIEN_mqtt__url": "a", "MIEN_MQTT__URL": "b"}, "MIEN_mqtt__url: another variable sets"),
        ({"MIEN_EMOTION__BUNDLE": "a\udcff"}, "MIEN_EMOTION__BUNDLE: not UTF-8"),
        ({"MIEN_DETECTOR__EVERY": "[" * 3000}, "detector.every: expected `int`, got `str`"),
        ({"MIEN_DETECTOR__EVERY": "{" + "a." * 20_000 + "a = 1}"}, "every: expected `int`, got"),
        ({"MIEN_DETECTOR__EVERY": "9" * 5000}, "detector.every: expected `int`, got `str`"),
    ],
)
def test_variables_that_cannot_be_are_named(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=r"^environment: ") as raised:
        config.load(None, environ)
    assert complaint in str(raised.value)


def test_a_line_end_in_a_variable_begins_no_other_key() -> None:
    settings = config.load(None, {"MIEN_DETECTOR__BUNDLE": '"a"'})
    assert settings.detector.bundle == "a"
    with pytest.raises(ConfigError, match=r"detector\.bundle: expected"):
        config.load(None, {"MIEN_DETECTOR__BUNDLE": '"a"\nevery = 2'})


def test_an_empty_variable_does_not_switch_signatures_off(tmp_path: Path) -> None:
    file = write(tmp_path, 'bundle_key = "key.pem"\n')
    with pytest.raises(ConfigError, match="environment: bundle_key: expected"):
        config.load(file, {"MIEN_BUNDLE_KEY": ""})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        config.load(tmp_path / "nowhere.toml", {})


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mien.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(file, {})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["uri", "every", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    ["device_id", "camera", "detector", "tracker", "events", "runtime", "spool", "x"]
)


@given(st.dictionaries(keys, values, max_size=4))
def test_whatever_a_file_holds_it_is_accepted_or_explained_in_one_line(
    table: dict[str, object],
) -> None:
    try:
        settings = config.parse(table, source="mien.toml")
    except ConfigError as exc:
        assert str(exc).startswith("mien.toml: ")
        assert "\n" not in str(exc)
    else:
        assert isinstance(settings, Settings)
