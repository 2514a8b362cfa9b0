"""`credential:NAME` in a setting: what systemd hands over, and what is said where it did not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import config, credentials
from edge.access import read_access
from edge.errors import ConfigError
from edge.settings import Mqtt

HANDED_OVER = "credential:mqtt_password"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_credential_is_a_file_of_the_folder_that_systemd_made(folder: Path) -> None:
    (folder / "mqtt_password").write_text("s3cret\n")
    assert credentials.located("credential:mqtt_password") == folder / "mqtt_password"


def test_any_other_setting_is_the_name_of_a_file() -> None:
    assert credentials.located("/etc/mien/mqtt.password", {}) == Path("/etc/mien/mqtt.password")


def test_the_password_may_be_a_credential(folder: Path) -> None:
    (folder / "mqtt_password").write_text("s3cret\n")
    mqtt = Mqtt(username="kiosk", password_file=HANDED_OVER)
    assert repr(read_access(mqtt, "lobby").password) == "'s3cret'"


@pytest.mark.parametrize("setting", ["ca_file", "cert_file"])
def test_so_may_the_certificates(folder: Path, setting: str) -> None:
    (folder / "mqtt_it.pem").write_text("no certificate")
    mqtt = Mqtt(url="mqtts://broker", **{setting: "credential:mqtt_it.pem"})
    with pytest.raises(ConfigError, match=rf"mqtt.{setting}: {folder}/mqtt_it.pem: .*PEM"):
        read_access(mqtt, "lobby")


def test_one_that_was_not_handed_over_is_named_with_those_that_were(folder: Path) -> None:
    (folder / "mqtt_ca.pem").touch()
    mqtt = Mqtt(username="kiosk", password_file=HANDED_OVER)
    with pytest.raises(ConfigError) as caught:
        read_access(mqtt, "lobby")
    assert str(caught.value) == (
        "mqtt.password_file: credential:mqtt_password: not among the credentials that the unit was "
        "started with (mqtt_ca.pem); put it where the unit's LoadCredential= looks, and restart"
    )


def test_a_program_started_by_hand_is_told_why_it_has_none() -> None:
    with pytest.raises(ConfigError, match="started by hand needs the name of a file"):
        credentials.located("credential:mqtt_password", {})


@pytest.mark.parametrize("name", ["", ".", "..", "../mqtt_password", "/etc/shadow"])
def test_a_name_that_leads_elsewhere_is_refused_with_the_configuration(name: str) -> None:
    table = {"mqtt": {"username": "kiosk", "password_file": f"credential:{name}"}}
    with pytest.raises(ConfigError, match=r"mqtt.password_file: credential:.* names no credential"):
        config.parse(table, source="mien.toml")
