"""Who we are to the broker and who it must be to us: certificates, keys, passwords."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from realbroker import Mosquitto, eventually, program

from edge.access import read_access
from edge.backoff import Backoff
from edge.errors import ConfigError
from edge.mqtt import Publisher
from edge.settings import Mqtt

BrokerMaker = Callable[..., Mosquitto]


class Authority:
    """Signs certificates for the names it is asked for."""

    def __init__(self, folder: Path, name: str) -> None:
        self._openssl = program("openssl", "openssl")
        self.folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        self._run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
            "-keyout", self._key, "-out", self.certificate, "-days", "2", "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def sign(self, name: str, subject: str) -> tuple[Path, Path]:
        """A certificate for a subject such as `DNS:localhost`, and its key."""
        certificate, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        self._run(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
            "-keyout", key, "-out", request, "-subj", f"/CN={name}",
        )  # fmt: skip
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={subject}\nauthorityKeyIdentifier=keyid\n")
        self._run(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
            "-CAcreateserial", "-out", certificate, "-days", "2", "-extfile", extensions,
        )  # fmt: skip
        return certificate, key

    def encrypted(self, key: Path) -> Path:
        locked = key.with_suffix(".locked")
        self._run("ec", "-aes128", "-passout", "pass:x", "-in", key, "-out", locked)
        return locked

    def _run(self, *arguments: object) -> None:
        subprocess.run(
            [self._openssl, *map(str, arguments)], check=True, capture_output=True, text=True
        )


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


def tls(authority: Authority, subject: str, more: str = "") -> str:
    certificate, key = authority.sign("broker", subject)
    return (
        f"allow_anonymous true\ncafile {authority.certificate}\n"
        f"certfile {certificate}\nkeyfile {key}\n{more}"
    )


PublisherMaker = Callable[[Mqtt], Publisher]


def test_a_broker_of_our_own_authority_is_believed(
    authority: Authority, brokers: BrokerMaker, publishers: PublisherMaker
) -> None:
    broker = brokers(tls(authority, "IP:127.0.0.1"))
    publisher = publishers(
        Mqtt(url=f"mqtts://127.0.0.1:{broker.port}", ca_file=str(authority.certificate))
    )
    eventually(lambda: publisher.link().connected)
    assert publisher.link().protocol == "5"


def test_a_broker_can_ask_who_we_are(
    authority: Authority, brokers: BrokerMaker, publishers: PublisherMaker
) -> None:
    broker = brokers(tls(authority, "DNS:localhost", "require_certificate true\n"))
    certificate, key = authority.sign("kiosk", "DNS:kiosk")
    nobody = Mqtt(url=f"mqtts://localhost:{broker.port}", ca_file=str(authority.certificate))
    refused = publishers(nobody)
    eventually(lambda: refused.link().trouble is not None)
    assert not refused.link().connected
    known = publishers(
        Mqtt(
            url=nobody.url,
            ca_file=str(authority.certificate),
            cert_file=str(certificate),
            key_file=str(key),
        )
    )
    eventually(lambda: known.link().connected)


@pytest.mark.parametrize(
    ("signer", "subject", "complaint"),
    [
        ("authority", "DNS:another.host", "not valid for '127.0.0.1'"),
        ("stranger", "IP:127.0.0.1", "its certificate is refused: "),
        ("nobody", "IP:127.0.0.1", "its certificate is refused: "),
    ],
)
def test_an_impostor_is_refused(
    *,
    signer: str,
    subject: str,
    complaint: str,
    authority: Authority,
    stranger: Authority,
    brokers: BrokerMaker,
    publishers: PublisherMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = brokers(tls(authority, subject))
    trusted = {"authority": authority, "stranger": stranger}.get(signer)
    ca_file = str(trusted.certificate) if trusted else None
    publisher = publishers(Mqtt(url=f"mqtts://127.0.0.1:{broker.port}", ca_file=ca_file))
    eventually(lambda: publisher.link().trouble is not None)
    trouble = publisher.link().trouble
    assert trouble is not None
    assert complaint in trouble
    assert not publisher.link().connected
    assert "mien-kiosk" not in broker.log
    assert sum(complaint in line for line in caplog.messages) == 1


def test_plain_mqtt_and_tls_do_not_mistake_each_other(
    authority: Authority, brokers: BrokerMaker, publishers: PublisherMaker
) -> None:
    encrypted = brokers(tls(authority, "IP:127.0.0.1"))
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
