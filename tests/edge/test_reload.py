"""A new configuration is validated whole, then swapped; what is wrong with it changes nothing."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from realbroker import Ear, Mosquitto, eventually
from service import Device, P

from edge import cameras, config, reload
from edge.bundle import locate
from edge.cameras import check_uri
from edge.errors import CameraUriError, ConfigError, MienError, ModelError
from edge.pipeline import Models, load_models
from edge.settings import Camera, Emotion, Mqtt, Settings

CLIP = Path(reload.__file__).parent / "samples" / "portrait.webm"
BEFORE = Settings(camera=(Camera(uri="v4l2:/dev/video0"),))


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(BEFORE)


def changed(**fields: object) -> Settings:
    return msgspec.structs.replace(BEFORE, **fields)


def test_nothing_new_needs_nothing_new(models: Models) -> None:
    prepared = reload.prepare(lambda: BEFORE, BEFORE, models)
    assert prepared.models is models
    assert not prepared.faces


def test_another_bundle_is_loaded_and_ends_every_track(models: Models) -> None:
    other = changed(emotion=Emotion(bundle="mien-fer2013"))
    prepared = reload.prepare(lambda: other, BEFORE, models)
    assert prepared.models.bundle.ident.startswith("mien-fer2013@")
    assert prepared.faces


def test_a_bundle_that_was_replaced_in_its_folder_is_another(
    tmp_path: Path, models: Models
) -> None:
    shutil.copytree(locate("mien-consensus"), tmp_path / "bundle")
    settings = changed(emotion=Emotion(bundle=str(tmp_path / "bundle")))
    first = reload.prepare(lambda: settings, BEFORE, models)
    assert first.models.sha256 == models.sha256
    shutil.rmtree(tmp_path / "bundle")
    shutil.copytree(locate("mien-fer2013"), tmp_path / "bundle")
    second = reload.prepare(lambda: settings, settings, first.models)
    assert second.models is not first.models
    assert second.models.sha256 != first.models.sha256


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"camera": ()}, "no camera: "),
        ({"device_id": "other"}, "device_id: cannot change while the daemon runs"),
        ({"mqtt": Mqtt(url="mqtt://elsewhere")}, "mqtt: cannot change"),
        ({"emotion": Emotion(bundle="absent")}, "bundle absent: no manifest.json"),
        ({"emotion": Emotion(bundle="blazeface-short")}, "it is a face detector"),
        ({"bundle_key": "/absent.pem"}, "/absent.pem"),
        ({"camera": (Camera(uri="nonsense:1"),)}, "no such kind of camera"),
        ({"camera": (Camera(uri="picamera2:front"),)}, "write it like picamera2:0"),
        ({"camera": (Camera(uri="rtsp:///stream"),)}, "write it like rtsp://HOST/PATH"),
        ({"camera": (Camera(uri="clip:/absent.mp4"),)}, "/absent.mp4"),
    ],
)
def test_what_could_not_run_is_refused(
    models: Models, fields: dict[str, object], complaint: str
) -> None:
    with pytest.raises(MienError) as refused:
        reload.prepare(lambda: changed(**fields), BEFORE, models)
    assert complaint in str(refused.value)
    outcome = reload.refusal(refused.value)
    assert not outcome.accepted
    assert "\n" not in outcome.text


def test_what_cannot_be_read_is_refused(tmp_path: Path, models: Models) -> None:
    for text in ("[camera", "[detektor]\n", "[[camera]]\nuri = 3\n"):
        (tmp_path / "mien.toml").write_text(text)
        with pytest.raises(ConfigError):
            reload.prepare(lambda: config.load(tmp_path / "mien.toml", {}), BEFORE, models)
    with pytest.raises(ConfigError, match="no such file"):
        reload.prepare(lambda: config.load(tmp_path / "absent.toml", {}), BEFORE, models)


def test_a_live_camera_that_is_away_is_no_reason_to_refuse(models: Models) -> None:
    away = changed(camera=(Camera(uri="v4l2:/dev/video97"), Camera(uri=f"clip:{CLIP}", name="b")))
    assert reload.prepare(lambda: away, BEFORE, models).settings == away


def test_models_that_answer_otherwise_than_they_did_are_refused(
    tmp_path: Path, models: Models
) -> None:
    folder = tmp_path / "twisted"
    shutil.copytree(locate("mien-consensus"), folder)
    golden, manifest = folder / "golden.npz", folder / "manifest.json"
    before = hashlib.sha256(golden.read_bytes()).hexdigest()
    with np.load(golden) as archive:
        arrays = dict(archive)
    np.savez(golden, **{**arrays, "head_logits": arrays["head_logits"] + 10.0})
    after = hashlib.sha256(golden.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(before, after))
    twisted = changed(emotion=Emotion(bundle=str(folder)))
    with pytest.raises(ModelError, match="answers differently here"):
        reload.prepare(lambda: twisted, BEFORE, models)


@pytest.mark.parametrize(
    "uri",
    ["http://h", "https://u:p@h/x", "rtsp://[::1]:554/s", "picamera2:1", "argus:0", "v4l2:/dev/x"],
)
def test_uris_that_name_a_camera_are_taken(uri: str) -> None:
    check_uri(Camera(uri=uri))


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http:h",
        "rtsp://u:p@",
        "rtsp://h:99999",
        "rtsp://[",
        "argus:",
        "picamera2:x",
        "v4l2",
    ],
)
def test_uris_that_name_none_are_not(uri: str) -> None:
    with pytest.raises(CameraUriError):
        check_uri(Camera(uri=uri))
    assert uri.partition(":")[0] in cameras.KINDS


def edit(device: Device, *replacements: tuple[str, str], extra: str = "") -> None:
    text = device.config.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    device.config.write_text(text + extra)


def hup(device: Device) -> float:
    """Ask for a reload, and return the seconds until the manager heard that it is over."""
    assert device.process is not None
    ready, began_s = len(device.manager.times("READY=1")), time.monotonic()
    device.process.send_signal(signal.SIGHUP)
    device.manager.wait("READY=1", ready + 1)
    return device.manager.times("READY=1")[-1] - began_s


def reloads(device: Device) -> list[int]:
    """What was said of each reload: the manager's own clock, in microseconds."""
    said = [text for _, text in device.manager.heard if text.startswith("RELOADING=1\n")]
    return [int(text.removeprefix("RELOADING=1\nMONOTONIC_USEC=")) for text in said]


def starts(device: Device, count: int) -> None:
    eventually(lambda: device.count("start") >= count, f"{count} starts")


def test_an_invalid_configuration_is_refused_and_published_and_the_old_stays(
    device: Device, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> None:
    broker = brokers()
    ear = ears(broker)
    device.mqtt = broker.url
    device.start()
    starts(device, 1)
    edit(device, ("heartbeat_s", "hartbeat_s"))
    before_us = time.monotonic() * 1e6
    hup(device)
    (said_us,) = reloads(device)
    assert before_us < said_us < time.monotonic() * 1e6

    def problems() -> list[str]:
        told = ear.json(f"{P}/health")
        return [f"{each['code']}: {each['text']}" for each in told[-1]["problems"]] if told else []

    eventually(lambda: any("reload-refused" in each for each in problems()), "the problem")
    (problem,) = problems()
    assert "events.hartbeat_s: unknown key; did you mean 'heartbeat_s'?" in problem
    updates = device.count("update")
    eventually(lambda: device.count("update") > updates, "life goes on")
    assert device.count("end") == 0

    edit(device, ("hartbeat_s", "heartbeat_s"))
    hup(device)
    eventually(lambda: problems() == [], "the end of the problem")
    assert device.count("end") == 0, "what did not change goes on"
    code, _, log = device.stop()
    assert code == 0
    assert len([line for line in log.splitlines() if "reload: refused" in line]) == 1
    device.whole()


def test_a_camera_that_is_added_disturbs_no_other_and_one_that_is_gone_ends(
    device: Device,
    tmp_path: Path,
    brokers: Callable[..., Mosquitto],
    ears: Callable[..., Ear],
    figure: Callable[[str], None],
) -> None:
    broker = brokers()
    ear = ears(broker)
    device.mqtt = broker.url
    device.start()
    starts(device, 1)
    (tmp_path / "second").write_text("ok")
    second = f'[[camera]]\nname = "desk"\nuri = "double:{tmp_path / "second"}"\n'
    edit(device, extra=second)
    took_s = hup(device)
    starts(device, 2)
    assert device.count("end") == 0
    assert {event["camera"] for event in device.events if event["type"] == "start"} == {
        "door",
        "desk",
    }
    assert ear.json(f"{P}/info")[-1]["cameras"] == ["door", "desk"]

    edit(device, (second, ""))
    hup(device)
    eventually(lambda: device.count("end") == 1, "the end of the track")
    assert [event["camera"] for event in device.events if event["type"] == "end"] == ["desk"]
    eventually(lambda: ear.texts(f"{P}/camera/desk/status")[-1] == "", "a cleared status")
    eventually(lambda: ear.texts(f"{P}/camera/desk/state")[-1] == "", "a cleared state")
    assert device.stop()[0] == 0
    events = device.events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    figure(f"a camera more, in force {took_s:.2f} s after SIGHUP")


def test_another_bundle_ends_the_tracks_and_the_next_are_told_by_it(
    device: Device, figure: Callable[[str], None]
) -> None:
    device.start()
    starts(device, 1)
    edit(device, extra='[emotion]\nbundle = "mien-fer2013"\n')
    took_s = hup(device)
    starts(device, 2)
    assert device.stop()[0] == 0
    device.whole()
    by_bundle = [str(event["bundle"]).split("@")[0] for event in device.events]
    assert sorted(by_bundle, key=["mien-consensus", "mien-fer2013"].index) == by_bundle
    ends = [event for event in device.events if event["type"] == "end"]
    assert str(ends[0]["bundle"]).startswith("mien-consensus@")
    tracks = [event["track"]["id"] for event in device.events if event["type"] == "start"]  # type: ignore[index]
    # A busy machine may lose a track before it is confirmed, and its number with it.
    assert tracks == sorted(set(tracks)), "a number is given once"
    assert len(tracks) == 2
    figure(f"another bundle, in force {took_s:.2f} s after SIGHUP")


def test_a_camera_that_changed_ends_its_tracks_and_is_opened_anew(device: Device) -> None:
    device.start()
    starts(device, 1)
    edit(device, ('name = "door"\n', 'name = "door"\nflip = "horizontal"\n'))
    hup(device)
    starts(device, 2)
    assert device.count("end") == 1
    assert device.stop()[0] == 0
    device.whole()


@pytest.mark.slow
def test_twenty_reloads_in_a_row_leave_no_thread_and_lose_no_event(device: Device) -> None:
    device.start()
    starts(device, 1)
    assert device.process is not None
    tasks = Path(f"/proc/{device.process.pid}/task")
    before = len(list(tasks.iterdir()))
    for _ in range(10):
        edit(device, ('name = "door"\n', 'name = "door"\nrotate = 180\n'))
        hup(device)
        edit(device, ('name = "door"\nrotate = 180\n', 'name = "door"\n'))
        hup(device)
    eventually(lambda: len(list(tasks.iterdir())) <= before, "as many threads as before")
    starts(device, 2)
    assert device.stop()[0] == 0
    device.whole()


def test_at_a_terminal_sighup_ends_the_process(device: Device) -> None:
    ours, theirs = pty.openpty()
    device.start(stdin=theirs)
    os.close(theirs)
    starts(device, 1)
    assert device.process is not None
    device.process.send_signal(signal.SIGHUP)
    device.process.communicate(timeout=30)
    os.close(ours)
    assert device.process.returncode == -signal.SIGHUP
    assert reloads(device) == []


def test_new_rules_for_faces_end_the_tracks_and_open_no_camera_anew(device: Device) -> None:
    device.start()
    starts(device, 1)
    edit(device, extra="[tracker]\nbridge_s = 0.6\n")
    hup(device)
    starts(device, 2)
    assert device.count("end") == 1
    code, _, log = device.stop()
    assert (code, log.count("camera door: open")) == (0, 1)
    device.whole()
