"""Who we are to the broker and who it must be to us: certificates, keys, passwords."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import Authority, served
from realbroker import Mosquitto, eventually

from edge.access import read_access
from edge.backoff import Backoff
from edge.errors import ConfigError, MienError
from edge.mqtt import Publisher
from edge.settings import Mqtt
from edge.subscriber import Subscriber

BrokerMaker = Callable[..., Mosquitto]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture
def publishers() -> Iterator[Callable[[Mqtt], Publisher]]:
    made: list[Publisher] = []

    def make(settings: Mqtt) -> Publisher:
        backoff = Backoff(shortest_s=0.05, longest_s=0.1)
        made.append(Publisher(settings, "kiosk", ["door"], backoff=backoff))
        made[-1].start()
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


PublisherMaker = Callable[[Mqtt], Publisher]


def test_a_broker_of_our_own_authority_is_believed(
    authority: Authority, brokers: BrokerMaker, publishers: PublisherMaker
) -> None:
    broker = brokers(served(authority, authority.sign("broker", "IP:127.0.0.1")))
    publisher = publishers(
        Mqtt(url=f"mqtts://127.0.0.1:{broker.port}", ca_file=str(authority.certificate))
    )
    eventually(lambda: publisher.link().connected)
    assert publisher.link().protocol == "5"


@pytest.fixture
def asking(authority: Authority, brokers: BrokerMaker) -> Mosquitto:
    """A broker that asks who we are."""
    shown = authority.sign("broker", "DNS:localhost")
    return brokers(served(authority, shown, "require_certificate true\n"))


def shown_to(broker: Mosquitto, authority: Authority, ours: tuple[Path, Path] | None) -> Mqtt:
    return Mqtt(
        url=f"mqtts://localhost:{broker.port}",
        ca_file=str(authority.certificate),
        cert_file=str(ours[0]) if ours else None,
        key_file=str(ours[1]) if ours else None,
    )


def test_a_broker_that_asks_who_we_are_is_shown_our_certificate(
    authority: Authority, asking: Mosquitto, publishers: PublisherMaker
) -> None:
    publisher = publishers(shown_to(asking, authority, authority.sign("kiosk", "DNS:kiosk")))
    eventually(lambda: publisher.link().connected)


OURS = {
    "none": "it asks for a client certificate: set [mqtt] cert_file and key_file",
    "stranger's": "it refuses our certificate (unknown ca): [mqtt] cert_file must be valid, and of "
    "an authority that the broker trusts",
    "expired": "it refuses our certificate (certificate expired): [mqtt] cert_file must be valid, "
    "and of an authority that the broker trusts",
}


@pytest.fixture
def unfit(which: str, authority: Authority, stranger: Authority) -> tuple[Path, Path] | None:
    """A client certificate that no broker should take."""
    if which == "none":
        return None
    if which == "expired":
        return authority.expired("kiosk", "DNS:kiosk")
    return stranger.sign("kiosk", "DNS:kiosk")


@pytest.mark.parametrize("which", OURS)
def test_a_certificate_that_the_broker_refuses_is_told_in_one_line(
    *,
    which: str,
    unfit: tuple[Path, Path] | None,
    authority: Authority,
    asking: Mosquitto,
    publishers: PublisherMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher = publishers(shown_to(asking, authority, unfit))
    eventually(lambda: publisher.link().trouble is not None)
    assert publisher.link().trouble == OURS[which]
    assert not publisher.link().connected
    assert caplog.messages == [f"mqtt: localhost:{asking.port}: {OURS[which]}; trying again"]


@pytest.mark.parametrize("which", OURS)
def test_it_is_told_by_watch_too(
    which: str, unfit: tuple[Path, Path] | None, authority: Authority, asking: Mosquitto
) -> None:
    with pytest.raises(MienError) as raised:
        Subscriber(shown_to(asking, authority, unfit), "mien/#").__enter__()
    assert str(raised.value) == (
        f"broker localhost:{asking.port}: refused the connection: {OURS[which]}"
    )


@pytest.mark.parametrize(
    ("shown", "trusted", "complaint"),
    [
        ("another host's", "authority", "not valid for '127.0.0.1'"),
        ("expired", "authority", "certificate has expired"),
        ("right", "stranger", "certificate in certificate chain"),
        ("right", "the system's", "certificate in certificate chain"),
    ],
)
def test_an_impostor_is_refused_in_one_line(
    *,
    shown: str,
    trusted: str,
    complaint: str,
    authority: Authority,
    stranger: Authority,
    brokers: BrokerMaker,
    publishers: PublisherMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make = authority.expired if shown == "expired" else authority.sign
    certificate = make("broker", "DNS:b.lan" if shown.startswith("another") else "IP:127.0.0.1")
    broker = brokers(served(authority, certificate))
    known = {"authority": authority, "stranger": stranger}.get(trusted)
    settings = Mqtt(
        url=f"mqtts://127.0.0.1:{broker.port}", ca_file=str(known.certificate) if known else None
    )
    publisher = publishers(settings)
    eventually(lambda: publisher.link().trouble is not None)
    trouble = publisher.link().trouble
    assert trouble is not None
    assert trouble.startswith("its certificate is refused: ")
    assert complaint in trouble
    assert not publisher.link().connected
    assert "mien-kiosk" not in broker.log
    assert caplog.messages == [f"mqtt: 127.0.0.1:{broker.port}: {trouble}; trying again"]
    with pytest.raises(MienError, match=r"cannot be reached \(its certificate is refused: "):
        Subscriber(settings, "mien/#").__enter__()


def test_plain_mqtt_and_tls_do_not_mistake_each_other(
    authority: Authority, brokers: BrokerMaker, publishers: PublisherMaker
) -> None:
    encrypted = brokers(served(authority, authority.sign("broker", "IP:127.0.0.1")))
    plain = publishers(Mqtt(url=encrypted.url))
    eventually(lambda: plain.link().trouble is not None)
    assert not plain.link().connected


@pytest.mark.parametrize(
    ("setting", "content", "complaint"),
    [
        ("ca_file", None, "No such file"),
        ("ca_file", "no certificate", "holds no PEM certificate"),
        ("ca_file", b"\xff\x00", "not text"),
        ("cert_file", None, "No such file"),
        ("cert_file", "no certificate", "not a PEM certificate"),
        ("password_file", None, "No such file"),
        ("password_file", b"x" * (5 << 20), "larger than 4194304 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    setting: str, content: str | bytes | None, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "given"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    settings = Mqtt(url="mqtts://broker", **{setting: str(file)})
    with pytest.raises(ConfigError) as raised:
        read_access(settings, "kiosk")
    assert f"mqtt.{setting}: {file}: " in str(raised.value)
    assert complaint in str(raised.value)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_never_ends_is_no_password(make: Callable[[Path], None], tmp_path: Path) -> None:
    file = tmp_path / "given"
    make(file)
    settings = Mqtt(url="mqtts://broker", username="kiosk", password_file=str(file))
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: .*: not a regular file"):
        read_access(settings, "kiosk")


def test_there_is_no_tls_without_checks_nor_an_old_one(authority: Authority) -> None:
    given = Mqtt(url="mqtts://broker", ca_file=str(authority.certificate))
    for settings in (given, Mqtt(url="mqtts://broker")):
        context = read_access(settings, "kiosk").tls
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_an_encrypted_key_is_refused_rather_than_asked_about(authority: Authority) -> None:
    certificate, key = authority.sign("locked", "DNS:kiosk")
    locked = authority.encrypted(key)
    with pytest.raises(ConfigError, match="unencrypted PEM key"):
        read_access(
            Mqtt(url="mqtts://broker", cert_file=str(certificate), key_file=str(locked)), "kiosk"
        )


def test_the_password_is_the_files_text_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" pass word \n")
    access = read_access(
        Mqtt(url="mqtt://broker", username="kiosk", password_file=str(file)), "kiosk"
    )
    assert (access.username, access.password) == ("kiosk", " pass word ")
    assert "pass word" not in repr(access)
    assert access.client_id == "mien-kiosk"
    assert access.tls is None


@pytest.mark.parametrize(
    ("setting", "mode", "told"),
    [
        ("password_file", 0o644, True),
        ("password_file", 0o640, False),
        ("key_file", 0o604, True),
        ("key_file", 0o600, False),
        ("cert_file", 0o644, True),
        ("cert_file", 0o400, False),
    ],
)
def test_a_secret_that_every_user_can_read_is_told_of_once(
    *,
    setting: str,
    mode: int,
    told: bool,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    certificate, key = authority.sign("kiosk", "DNS:kiosk")
    both, password = tmp_path / "both", tmp_path / "password"
    both.write_text(certificate.read_text() + key.read_text())
    password.write_text("sesame")
    files = {
        "password_file": {"password_file": str(password)},
        "key_file": {"cert_file": str(certificate), "key_file": str(key)},
        "cert_file": {"cert_file": str(both)},
    }
    file = Path(files[setting][setting])
    file.chmod(mode)
    for _ in range(2):
        read_access(Mqtt(url="mqtts://broker", username="kiosk", **files[setting]), "kiosk")
    line = f"mqtt.{setting}: {file}: every user of this machine can read it: chmod o= it"
    assert caplog.messages == ([line] if told else [])
