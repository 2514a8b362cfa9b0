"""Many devices at once: which tables and folders of them are taken, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Authority

from edge.errors import MienError, UsageError
from firmware_configs.fleet import fleet


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
        ("device_id\nserial\n", "line 2: a device of a fleet needs its own id"),
        ("device_id\nfleet\n", "line 2: device id 'fleet': stands for a whole fleet"),
        ("device_id\na\na\n", "a is there twice"),
        ("device_id,username\na,\n", "line 2: username: is empty; fill it in"),
        ("device_id,password\na,p\nb,\n", "line 3: password: is empty; fill it in"),
        ('device_id,username\n"a,u\n', "line 2: unexpected end of data; look at its quotes"),
        ('device_id,"username\na,u\n', "unexpected end of data; look at its quotes"),
        ('device_id,password\na,"p\nq"\n', "line 3: password: must be one line"),
        ("device_id,password\na,p\0q\n", "line 2: "),
        (b"device_id,password\na,caf\xe9\n", "devices.csv: is not UTF-8"),
        ("device_id,cert\na,gone.pem\n", "gone.pem: No such file"),
    ],
)
def test_a_table_of_devices_that_is_not_right_is_refused(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    file = tmp_path / "devices.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MienError, match=said) as caught:
        fleet(file)
    assert "\n" not in str(caught.value)


def test_a_table_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_bytes(b'\xef\xbb\xbfdevice_id,password\r\n"a","p,1"\r\n\r\nb, p2\r\n')
    first, second = fleet(file)
    assert first.files == {"device-id": b"a\n", "password": b"p,1\n"}
    assert second.files == {"device-id": b"b\n", "password": b"p2\n"}


def test_a_fleet_may_be_a_folder_with_a_folder_for_each_device(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no folder of a device in it"):
        fleet(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(f"of {name}\n")
        (tmp_path / name / "username").write_text("kiosk\n")
    first, second = fleet(tmp_path)
    assert (first.device_id, first.username) == ("a", "kiosk")
    assert second.files["password"] == b"of b\n"
    assert second.files["device-id"] == b"b\n"


@pytest.mark.parametrize(
    ("place", "data", "said"),
    [
        ("b/passwort", b"p\n", "b: 'passwort' is none of the names known here: client"),
        ("b/username", b"\n", "b/username: is empty; fill it in"),
        ("b/password", b" \n", "b/password: is empty; fill it in"),
        ("b/username", b"\xff\xfe", "b/username: is not UTF-8"),
        ("b/password", b"p\nq\n", "b/password: must be one line"),
        ("b c/username", b"u\n", "b c: device id 'b c': cannot be a level of a topic"),
        ("serial/username", b"u\n", "serial: a device of a fleet needs its own id, not serial"),
        ("fleet/username", b"u\n", "fleet: device id 'fleet': stands for a whole fleet"),
        ("b/client.pem", b"C", "b/client.pem: its key is missing; the two go together"),
        ("b/client.key", b"K", "b/client.key: its certificate is missing; the two go together"),
    ],
)
def test_a_folder_of_devices_that_is_not_right_is_refused(
    tmp_path: Path, place: str, data: bytes, said: str
) -> None:
    file = tmp_path / place
    file.parent.mkdir()
    file.write_bytes(data)
    with pytest.raises(MienError, match=said) as caught:
        fleet(tmp_path)
    assert "\n" not in str(caught.value)


def test_each_device_needs_the_key_of_its_own_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    authority.sign("a", "DNS:a")
    authority.sign("b", "DNS:b")
    table = tmp_path / "devices.csv"
    table.write_text("device_id,cert,key\na,a.pem,a.key\nb,b.pem,b.key\n")
    assert [device.device_id for device in fleet(table)] == ["a", "b"]
    table.write_text("device_id,cert,key\na,a.pem,a.key\nb,b.pem,a.key\n")
    with pytest.raises(UsageError, match=r"line 3: a\.key: not the unencrypted PEM key of"):
        fleet(table)
    table.write_text("device_id,cert\na,a.pem\n")
    with pytest.raises(UsageError, match=r"line 2: a\.pem: its key is missing"):
        fleet(table)
