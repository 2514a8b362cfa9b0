"""What Home Assistant is told: one message, by its rules, from which it makes the same entities."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import homeassistant
from edge.datatypes import UNSURE
from edge.homeassistant import Device
from edge.settings import Camera, HomeAssistant, Mqtt, Settings

GOLDEN = Path(__file__).parent / "homeassistant.golden.json"
LABELS = ("angry", "happy", "sad", "neutral")
DEVICE = Device(
    base="mien/kiosk",
    cameras=("front-door", "hall"),
    labels=LABELS,
    board="Test Board",
    version="0.1.0",
    thermometer=True,
    commands=True,
)

# As Home Assistant matches it (homeassistant/components/mqtt/discovery.py).
OBJECT_ID = re.compile(r"[a-zA-Z0-9_-]+")
LEVEL = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
BASE = st.builds(
    lambda prefix, device_id: f"{'/'.join(prefix)}/{device_id}",
    st.lists(LEVEL, min_size=1, max_size=3),
    LEVEL,
)
DEVICES = st.builds(
    Device,
    base=BASE,
    cameras=st.lists(LEVEL, max_size=4, unique=True).map(tuple),
    labels=st.lists(st.text(max_size=20), min_size=2, max_size=8).map(tuple),
    board=st.text(max_size=40),
    version=st.just("0.1.0"),
    thermometer=st.booleans(),
    commands=st.booleans(),
)


def told(device: Device, earlier: bytes = b"") -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(homeassistant.message(device, earlier))
    return decoded


def components(device: Device, earlier: bytes = b"") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = told(device, earlier)["components"]
    return found


def test_the_message_is_the_one_that_was_tried_with_home_assistant() -> None:
    # After a change, try it again (tests/system/test_homeassistant.py), then write it anew:
    # the message, indented by one, with a final newline.
    assert told(DEVICE) == json.loads(GOLDEN.read_text())


def test_each_camera_has_its_entities_and_the_device_the_rest() -> None:
    of_a_camera = ("emotion", "confidence", "valence", "faces", "presence", "fps")
    assert set(components(DEVICE)) == {
        *(f"camera/{camera}/{key}" for camera in DEVICE.cameras for key in of_a_camera),
        *("latency", "temperature", "problem", "selftest"),
    }


def test_there_is_no_camera_entity_and_so_no_picture() -> None:
    platforms = {component["platform"] for component in components(DEVICE).values()}
    assert platforms == {"sensor", "binary_sensor", "button"}


def test_a_board_without_a_thermometer_has_no_temperature() -> None:
    assert "temperature" not in components(replace(DEVICE, thermometer=False))


def test_a_device_that_takes_no_commands_has_no_button() -> None:
    assert "selftest" not in components(replace(DEVICE, commands=False))


def test_names_are_for_people() -> None:
    assert told(DEVICE)["device"]["name"] == "Mien kiosk"
    assert components(DEVICE)["camera/front-door/emotion"]["name"] == "Front door emotion"
    assert components(DEVICE)["problem"]["name"] == "Problem"


def test_a_device_that_was_given_no_name_is_not_called_twice() -> None:
    assert told(replace(DEVICE, base="mien/mien"))["device"]["name"] == "Mien"


def test_an_emotion_is_one_of_the_bundles_labels_or_unsure() -> None:
    assert components(DEVICE)["camera/hall/emotion"]["options"] == [*LABELS, UNSURE]


def test_a_bundle_with_a_label_unsure_offers_it_once() -> None:
    device = replace(DEVICE, labels=("happy", UNSURE))
    assert components(device)["camera/hall/emotion"]["options"] == ["happy", UNSURE]


def test_who_does_not_look_is_unavailable_rather_than_seeing_nobody() -> None:
    topics = [each["topic"] for each in components(DEVICE)["camera/hall/presence"]["availability"]]
    assert topics == ["mien/kiosk/availability", "mien/kiosk/camera/hall/status"]
    assert told(DEVICE)["availability_mode"] == "all"


def test_what_is_reported_every_30_s_expires_and_what_is_told_when_it_changes_does_not() -> None:
    expiring = {key for key, each in components(DEVICE).items() if "expire_after" in each}
    assert expiring == {
        "latency", "temperature", "problem", "camera/front-door/fps", "camera/hall/fps",
    }  # fmt: skip


@given(BASE, BASE)
def test_two_devices_never_share_an_object_id(one: str, other: str) -> None:
    ids = [homeassistant.object_id(each) for each in (one, other)]
    assert all(OBJECT_ID.fullmatch(each) for each in ids)
    assert (ids[0] == ids[1]) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [("mien/a.b", "mien/a_b"), ("mien_a/b", "mien/a_b"), ("a/b", "a_b/mien")]
)
def test_bases_that_read_alike_are_set_apart(one: str, other: str) -> None:
    assert homeassistant.object_id(one) != homeassistant.object_id(other)


def test_an_ordinary_device_has_a_topic_one_can_read() -> None:
    assert homeassistant.topic("homeassistant", "mien/kiosk-2") == (
        "homeassistant/device/mien_kiosk-2/config"
    )


@given(DEVICES)
def test_any_device_is_told_of_by_the_rules(device: Device) -> None:
    every = components(device)
    # A space in a key would be taken for a separator.
    assert all(key and " " not in key for key in every)
    assert {each["unique_id"] for each in every.values()} == {
        f"{device.base}/{key}" for key in every
    }
    assert all(each["name"].strip() for each in every.values())
    assert told(device)["device"]["identifiers"] == [device.base]


@given(DEVICES)
def test_a_restart_and_a_reload_tell_the_same(device: Device) -> None:
    message = homeassistant.message(device)
    assert homeassistant.message(device, message) == message


@given(DEVICES, DEVICES)
def test_what_was_told_before_and_is_no_more_is_removed_once(before: Device, after: Device) -> None:
    earlier = homeassistant.message(before)
    now = components(after, earlier)
    gone = components(before).keys() - components(after).keys()
    assert {key for key, each in now.items() if len(each) == 1} == gone
    assert all(now[key] == {"platform": components(before)[key]["platform"]} for key in gone)
    assert components(after, homeassistant.message(after, earlier)) == components(after)


@given(
    st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.text(max_size=9),
        lambda inner: st.dictionaries(
            st.sampled_from(["components", "platform", "x", "sensor"]), inner, max_size=3
        ),
    ).map(msgspec.json.encode)
)
def test_whatever_stands_in_the_place_of_an_earlier_message_does_no_harm(earlier: bytes) -> None:
    everything, expected = components(DEVICE, earlier), components(DEVICE)
    assert everything.items() >= expected.items()
    removed = [each for key, each in everything.items() if key not in expected]
    assert all(each in ({"platform": "sensor"}, {"platform": "button"}) for each in removed)


def test_of_a_foreign_message_only_what_could_be_ours_is_removed() -> None:
    foreign = {
        "a": {"platform": "camera", "x": 1},
        "b": {"platform": "sensor"},
        "c d": {"platform": "sensor", "x": 1},
        "e": {"platform": ["sensor"], "x": 1},
    }
    earlier = msgspec.json.encode({"components": foreign})
    assert told(DEVICE, earlier) == told(DEVICE)


def test_a_message_nested_deeper_than_can_be_read_does_no_harm() -> None:
    earlier = b'{"components": {"a": {"platform": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}}"
    assert told(DEVICE, earlier) == told(DEVICE)


def test_it_is_found_unless_told_otherwise() -> None:
    assert HomeAssistant() == HomeAssistant(
        enabled=True, discovery_prefix="homeassistant", status_topic="homeassistant/status"
    )


@pytest.mark.parametrize("prefix", ["", "a//b", "homeassistant/", "#", "a/+", "a b"])
def test_a_prefix_that_is_no_topic_is_refused(prefix: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"homeassistant": {"discovery_prefix": prefix}}, Settings)


def test_the_names_that_settings_allow_are_those_tried_here() -> None:
    for name in ("a", "A-1_b.c", "x" * 64):
        assert msgspec.convert({"uri": "x:", "name": name}, Camera).name == name
        assert msgspec.convert({"prefix": f"{name}/{name}"}, Mqtt).prefix
