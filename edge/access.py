"""Who connects to the broker, and how it proves itself: secrets and certificates from files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge import credentials
from edge.broker import Broker, parse_url
from edge.errors import ConfigError
from edge.settings import Mqtt

FILES = ("password_file", "ca_file", "cert_file", "key_file")
"""The settings that name a file or a credential."""


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to connect. `tls` is None where the connection is not encrypted."""

    broker: Broker
    client_id: str
    keepalive_s: int
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None = field(repr=False)


def read_access(settings: Mqtt, device_id: str) -> Access:
    """Read the files that the settings name.

    Raises
    ------
    ConfigError
        A file cannot be read, or is not what it should be.
    """
    broker = parse_url(settings.url)
    settings = _located(settings)
    password = None
    if settings.password_file is not None:
        password = _text("password_file", settings.password_file).rstrip("\r\n")
    return Access(
        broker=broker,
        client_id=f"mien-{device_id}",
        keepalive_s=settings.keepalive_s,
        username=settings.username,
        password=password,
        tls=_context(settings) if broker.tls else None,
    )


class _TlsSocket(ssl.SSLSocket):
    """One that does not stay open when the handshake fails; paho would forget it so."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # ssl's signature
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _context(settings: Mqtt) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and host name; there is no other."""
    for name in ("ca_file", "cert_file", "key_file"):
        file = getattr(settings, name)
        if file is not None:
            _text(name, file)
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError as exc:
        raise ConfigError(
            f"mqtt.ca_file: {settings.ca_file}: holds no PEM certificate of an authority"
        ) from exc
    context.sslsocket_class = _TlsSocket
    if settings.cert_file is not None:
        try:
            # A key that is encrypted must not make a daemon ask at a terminal.
            context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
        except ssl.SSLError as exc:
            raise ConfigError(
                f"mqtt.cert_file: {settings.cert_file}: not a PEM certificate with an unencrypted "
                "PEM key that goes with it (in the same file, or in key_file)"
            ) from exc
    return context


def _located(settings: Mqtt) -> Mqtt:
    """Put in place of each credential the file that it is in."""
    files: dict[str, str] = {}
    for name in FILES:
        setting = getattr(settings, name)
        if setting is not None:
            try:
                files[name] = str(credentials.located(setting))
            except ConfigError as exc:
                raise ConfigError(f"mqtt.{name}: {exc}") from None
    return msgspec.structs.replace(settings, **files)


def _text(name: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"mqtt.{name}: {file}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"mqtt.{name}: {file}: not text") from exc
