"""What a person may answer, and what is refused with a line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import MienError, UsageError
from firmware_configs import answers


@pytest.mark.parametrize("text", ["", "a/b", "+", "#", "-a", "ä", "a b", "a" * 65, "a\n"])
def test_a_device_id_that_is_no_level_of_a_topic_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be a level of a topic") as caught:
        answers.device_id(text)
    assert "\n" not in str(caught.value)


def test_a_device_id_that_stands_for_a_fleet_is_refused() -> None:
    with pytest.raises(UsageError, match="stands for a whole fleet"):
        answers.device_id("fleet")


@pytest.mark.parametrize("text", ["", "a b", "a;b", "a\nallow all", "fe80::1%a b", "1::2::3", "-a"])
def test_a_clock_that_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither a host's name nor an IP address") as caught:
        answers.clock(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["10.0.0.1", "fe80::1", "ntp.example", "clock"])
def test_a_clock_stays_as_it_is(text: str) -> None:
    assert answers.clock(text) == text


@pytest.mark.parametrize("text", ["lobby", "10000000deadbeef", "serial", "a.b_c-d"])
def test_a_device_id_stays_as_it_is(text: str) -> None:
    assert answers.device_id(text) == text


@pytest.mark.parametrize(
    ("ssid", "passphrase", "country", "said"),
    [
        ("", "12345678", "GB", "1 to 32 bytes"),
        ("ä" * 17, "12345678", "GB", "1 to 32 bytes"),
        ("net", "1234567", "GB", "8 to 63 ASCII characters"),
        ("net", "1" * 64, "GB", "8 to 63 ASCII characters"),
        ("net", "pässword1", "GB", "8 to 63 ASCII characters"),
        ("net", "12345678", "gb", "two capital letters"),
        ("net", "12345678", "GBR", "two capital letters"),
        ("net", "12345678", "ÄÖ", "two capital letters"),
        ("net", "1234567\t", "GB", "8 to 63 ASCII characters"),
        ("n\x07t", "12345678", "GB", "control character"),
        ("n\udcfft", "12345678", "GB", "is not UTF-8"),
    ],
)
def test_a_network_that_cannot_be_is_refused(
    ssid: str, passphrase: str, country: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        answers.wifi(ssid, passphrase, country)
    assert passphrase not in str(caught.value)


def test_a_key_and_a_password_are_in_no_representation() -> None:
    wifi = answers.wifi("net", "12345678", "GB")
    device = answers.Device("a", "u", {"password": b"hunter2"})
    whole = answers.Answers("a", "mqtt://b", files={"password": b"hunter2"}, fleet=(device,))
    assert wifi.key not in repr(wifi)
    assert "hunter2" not in repr(whole)


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("root", "ssh-ed25519 A", "neither root nor mien"),
        ("An na", "ssh-ed25519 A", "1 to 32 of a-z"),
        ("é", "ssh-ed25519 A", "1 to 32 of a-z"),
        ("a" * 33, "ssh-ed25519 A", "1 to 32 of a-z"),
        ("anna", "ssh-ed25519", "is no public key"),
        ("anna", "-----BEGIN OPENSSH PRIVATE KEY-----", "is no public key"),
        ("anna", "\n", "is empty"),
    ],
)
def test_an_admin_needs_a_name_and_a_public_key(name: str, keys: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        answers.admin(name, keys)


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2\r\nrest\n")
    assert answers.secret(file) == "hunter2"
    file.write_text("\n")
    with pytest.raises(MienError, match="is empty"):
        answers.secret(file)
    file.write_bytes(b"caf\xe9\n")
    with pytest.raises(MienError, match="secret: is not UTF-8"):
        answers.secret(file)
