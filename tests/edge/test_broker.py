"""The broker's address: read, or refused in one line."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge import config
from edge.broker import Broker, parse_url
from edge.errors import ConfigError
from edge.settings import Mqtt, Settings


@pytest.mark.parametrize(
    ("url", "broker", "text"),
    [
        ("mqtt://localhost", Broker("localhost", 1883, tls=False), "localhost:1883"),
        ("mqtts://b.example.org/", Broker("b.example.org", 8883, tls=True), "b.example.org:8883"),
        ("mqtt://10.0.0.7:2000", Broker("10.0.0.7", 2000, tls=False), "10.0.0.7:2000"),
        ("mqtt://[::1]:1884", Broker("::1", 1884, tls=False), "[::1]:1884"),
        ("MQTT://my_broker", Broker("my_broker", 1883, tls=False), "my_broker:1883"),
    ],
)
def test_an_address_is_read(url: str, broker: Broker, text: str) -> None:
    assert parse_url(url) == broker
    assert str(broker) == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:1883",
        "tcp://localhost",
        "mqtt://",
        "mqtt:///",
        "mqtt://:1883",
        "mqtt://host:0",
        "mqtt://host:65536",
        "mqtt://host:port",
        "mqtt://host/topic",
        "mqtt://host?x=1",
        "mqtt://host#x",
        "mqtt://two words",
        "mqtt://a..b",
        "mqtt://-a",
        "mqtt://[::g]",
        "mqtt://[::1",
        "mqtt://" + 64 * "a",
    ],
)
def test_anything_else_is_refused_with_the_form_it_should_have(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_url(url)
    assert "write mqtt://HOST[:1883] or mqtts://HOST[:8883]" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["mqtt://kiosk:hunter2@host", "mqtt://kiosk:hunt#er2@host", "kiosk:hunter2@host"]
)
def test_a_password_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="password_file") as raised:
        parse_url(url)
    assert "hunt" not in str(raised.value)


@pytest.mark.parametrize("url", ["mqtt://host?password=hunter2", "mqtt://[host?password=hunter2"])
def test_nor_is_one_in_its_query_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="not an address") as raised:
        parse_url(url)
    assert "hunt" not in str(raised.value)


def with_password(url: str, *, allowed: bool = False) -> Settings:
    mqtt = {"url": url, "username": "kiosk", "password_file": "/run/password"}
    return config.parse({"mqtt": {**mqtt, "allow_plaintext_password": allowed}}, source="mien.toml")


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://10.0.0.7",
        "mqtt://broker.lan",
        "mqtt://0.0.0.0",
        "mqtt://[fe80::1]",
        "mqtt://localhost.lan",
        "mqtt://127.0.0.1.lan",
        "mqtt://127.1",
    ],
)
def test_a_password_does_not_cross_the_network_in_plain_text_unless_that_is_allowed(
    url: str,
) -> None:
    with pytest.raises(ConfigError) as raised:
        with_password(url)
    assert raised.value.exit_code == 78
    assert str(raised.value) == (
        "mien.toml: mqtt.password_file: the password would cross the network to "
        f"{parse_url(url)} in plain text; write url as mqtts://HOST, or set "
        "allow_plaintext_password = true"
    )
    assert with_password(url, allowed=True).mqtt.url == url


@pytest.mark.parametrize(
    "url", ["mqtts://broker.lan", "mqtt://localhost", "mqtt://127.0.0.2:1884", "mqtt://[::1]"]
)
def test_a_password_may_go_through_tls_or_stay_on_this_machine(url: str) -> None:
    assert with_password(url).mqtt.password_file == "/run/password"  # noqa: S105  # a path


def test_the_command_line_is_held_to_the_same() -> None:
    settings = with_password("mqtts://broker.lan")
    with pytest.raises(
        ConfigError, match=r"^command line: mqtt\.password_file: the password would"
    ):
        config.with_broker(settings, "mqtt://broker.lan")


@given(st.text(max_size=40).map(lambda text: "mqtt://" + text) | st.text(max_size=40))
@example("mqtt://\u2100")
@example("mqtt://a\nb")
def test_whatever_it_is_it_is_an_address_or_refused_in_one_line(url: str) -> None:
    try:
        broker = parse_url(url)
    except ConfigError as exc:
        assert "\n" not in str(exc)
    else:
        assert broker.host.encode("idna")
        assert 0 < broker.port < 65536


@pytest.mark.parametrize(
    ("mqtt", "complaint"),
    [
        ({"url": "http://x"}, "mqtt.url: broker 'http://x': not an address"),
        ({"ca_file": "ca.pem"}, "mqtt.ca_file: is of no use without TLS"),
        ({"url": "mqtts://x", "key_file": "k"}, "mqtt.key_file: its certificate is missing"),
        ({"password_file": "p"}, "mqtt.password_file: whose password? set username"),
        ({"password": "p"}, "mqtt.password: unknown key; did you mean 'password_file'?"),
        ({"prefix": "a/#"}, "mqtt.prefix: expected `str` matching regex"),
        ({"prefix": "/a"}, "mqtt.prefix: expected `str` matching regex"),
        ({"queue": 0}, "mqtt.queue: expected `int` >= 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    mqtt: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        config.parse({"mqtt": mqtt}, source="mien.toml")
    assert str(raised.value).startswith(f"mien.toml: {complaint}")


def test_the_command_line_replaces_the_broker_and_nothing_else() -> None:
    settings = Settings(mqtt=Mqtt(prefix="a/b", queue=7))
    changed = config.with_broker(settings, "mqtts://other")
    assert changed.mqtt == Mqtt(url="mqtts://other", prefix="a/b", queue=7)
    with pytest.raises(ConfigError, match=r"command line: mqtt\.url"):
        config.with_broker(settings, "other")
