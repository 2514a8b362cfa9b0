"""Whom the installed daemon may speak to, as its configuration says."""

from __future__ import annotations

import pytest

from edge.errors import UsageError
from edge.install.network import ANYWHERE, PRIVATE, reach
from edge.settings import Camera, Mqtt, Settings


def configured(broker: str, *cameras: str) -> Settings:
    return Settings(
        mqtt=Mqtt(url=broker), camera=tuple(Camera(uri=uri, name=f"c{uri[-1]}") for uri in cameras)
    )


@pytest.mark.parametrize(
    "url", ["mqtt://localhost", "mqtt://127.0.0.1", "mqtt://127.8.0.1:1884", "mqtt://[::1]"]
)
def test_a_broker_on_this_machine_needs_nobody_else(url: str) -> None:
    assert reach(configured(url, "v4l2:/dev/video0"), resolv_conf="nameserver 10.0.0.1") == (
        reach(configured(url))
    )
    assert reach(configured(url)).addresses == ()


def test_an_address_is_allowed_and_no_other() -> None:
    settings = configured(
        "mqtts://192.168.4.2", "rtsp://u:p@192.168.4.7:554/a", "http://[fd00::7]/b", "v4l2:/dev/c"
    )
    assert reach(settings).addresses == ("192.168.4.2", "192.168.4.7", "fd00::7")


def test_no_password_of_a_camera_is_told() -> None:
    assert "s3cret" not in repr(reach(configured("mqtt://h", "rtsp://u:s3cret@cam/a")))


@pytest.mark.parametrize("name", ["broker", "homeassistant.local", "hub.lan.", "a.HOME.arpa"])
def test_a_name_of_a_local_network_may_be_at_any_private_address(name: str) -> None:
    found = reach(configured(f"mqtt://{name}"))
    assert found.addresses == PRIVATE
    assert not found.open


@pytest.mark.parametrize("name", ["broker.example.org", "local.example", "lan.org"])
def test_any_other_name_may_be_anywhere(name: str) -> None:
    found = reach(configured("mqtt://10.0.0.1", f"rtsp://{name}/a"))
    assert found.addresses == (ANYWHERE,)
    assert found.open


def test_who_says_where_names_are_has_a_filter_for_them() -> None:
    settings = configured("mqtt://broker.example.org", "rtsp://10.1.2.3/a")
    found = reach(settings, allow=["192.0.2.9", "198.51.100.77/24", "2001:db8::1/32"])
    assert found.addresses == ("10.1.2.3", "192.0.2.9/32", "198.51.100.0/24", "2001:db8::/32")
    assert not found.open


def test_names_need_name_servers() -> None:
    resolv_conf = (
        "# made by hand\nnameserver 192.0.2.53\nnameserver 127.0.0.53\nsearch lan\n"
        "nameserver fe80::1%eth0\nnameserver\nnameserver nonsense\n"
    )
    named = reach(configured("mqtt://broker"), resolv_conf=resolv_conf)
    assert named.addresses == (*PRIVATE, "192.0.2.53", "fe80::1")
    assert reach(configured("mqtt://10.0.0.1"), resolv_conf=resolv_conf).addresses == ("10.0.0.1",)


@pytest.mark.parametrize("text", ["broker", "10.0.0.0/33", "", "any"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--allow {text}: not an address"):
        reach(configured("mqtt://broker"), allow=[text])
