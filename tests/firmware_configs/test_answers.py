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
        ("An na", "ssh-ed25519 A", "small letters"),
        ("anna", "-----BEGIN OPENSSH PRIVATE KEY-----", "is no public key"),
        ("anna", "\n", "is empty"),
    ],
)
def test_an_admin_needs_a_name_and_a_public_key(name: str, keys: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        answers.admin(name, keys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first line must name device_id"),
        ("device_id,colour\na,b\n", "the first line must name device_id"),
        ("username\nu\n", "the first line must name device_id"),
        ("device_id\n", "names no device"),
        ("device_id,username\na\n", "line 2: not as many columns"),
        ("device_id\na,b\n", "line 2: not as many columns"),
        ("device_id\na/b\n", "line 2: device id 'a/b'"),
        ("device_id\nserial\n", "line 2: a device in a table needs its own id"),
        ("device_id\na\na\n", "a is there twice"),
        ("device_id,cert\na,gone.pem\n", "gone.pem: No such file"),
    ],
)
def test_a_table_of_devices_that_is_not_right_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(text)
    with pytest.raises(MienError, match=said) as caught:
        answers.fleet(file)
    assert "\n" not in str(caught.value)


def test_a_table_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_bytes(b'\xef\xbb\xbfdevice_id,password\r\n"a","p,1"\r\n\r\nb, p2\r\n')
    first, second = answers.fleet(file)
    assert first.files == {"device-id": b"a\n", "password": b"p,1\n"}
    assert second.files == {"device-id": b"b\n", "password": b"p2\n"}


def test_a_fleet_may_be_a_folder_with_a_folder_for_each_device(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no folder of a device in it"):
        answers.fleet(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(f"of {name}\n")
        (tmp_path / name / "username").write_text("kiosk\n")
    first, second = answers.fleet(tmp_path)
    assert (first.device_id, first.username) == ("a", "kiosk")
    assert second.files["password"] == b"of b\n"
    assert second.files["device-id"] == b"b\n"
    (tmp_path / "b" / "passwort").touch()
    with pytest.raises(UsageError, match="b: 'passwort' is none of the names known here: client"):
        answers.fleet(tmp_path)
    (tmp_path / "b").rename(tmp_path / "b c")
    with pytest.raises(UsageError, match="b c: device id 'b c': cannot be a level of a topic"):
        answers.fleet(tmp_path)


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2\r\nrest\n")
    assert answers.secret(file) == "hunter2"
    file.write_text("\n")
    with pytest.raises(MienError, match="is empty"):
        answers.secret(file)
