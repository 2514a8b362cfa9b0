"""Who connects to the broker, and how it proves itself: secrets and certificates from files."""

from __future__ import annotations

import logging
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from edge import credentials
from edge.broker import Broker, parse_url
from edge.errors import ConfigError
from edge.files import read_at_most
from edge.settings import Mqtt

_log = logging.getLogger(__name__)

FILES = ("password_file", "ca_file", "cert_file", "key_file")
"""The settings that name a file or a credential."""

_LARGEST_FILE = 4 << 20
"""Bytes: several times what all authorities of an operating system take."""


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
        _warn_of_readers("password_file", settings.password_file)
    return Access(
        broker=broker,
        client_id=f"mien-{device_id}",
        keepalive_s=settings.keepalive_s,
        username=settings.username,
        password=password,
        tls=_context(settings) if broker.tls else None,
    )


def why_unconnected(error: OSError) -> str:
    """Return what an error of the network says, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _alerted(error.reason) or f"TLS fails: {error.reason or error}"
    return error.strerror or str(error) or type(error).__name__


def why_hung_up(connected: object) -> str | None:
    """Return why a broker refused our certificate; None where it did not.

    With TLS 1.3 it looks at our certificate after our side of the handshake is over, so what it
    thinks of it comes instead of the first answer.
    """
    return _alerted(connected.alert) if isinstance(connected, _TlsSocket) else None


class _TlsSocket(ssl.SSLSocket):
    """One that paho may forget: it closes itself, and keeps the reason why the broker did."""

    alert: str | None = None

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # ssl's signature
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as exc:
            self.alert = exc.reason
            raise

    def send(self, data: Any, flags: int = 0) -> int:  # noqa: ANN401  # ssl's signature
        try:
            return super().send(data, flags)
        except (ssl.SSLEOFError, ConnectionError):
            # It hung up before this, and what it said before can still be read. Which of the two it
            # is depends on the version of Python.
            with suppress(OSError):
                self.recv()
            raise


def _alerted(reason: str | None) -> str | None:
    """Put into words what OpenSSL calls an alert about our certificate (RFC 8446, section 6.2)."""
    alert = (reason or "").rpartition("ALERT_")[2]
    if alert == "CERTIFICATE_REQUIRED":
        return "it asks for a client certificate: set [mqtt] cert_file and key_file"
    if "CERTIFICATE" in alert or alert == "UNKNOWN_CA":
        return (
            f"it refuses our certificate ({alert.lower().replace('_', ' ')}): [mqtt] cert_file "
            "must be valid, and of an authority that the broker trusts"
        )
    return None


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
        name = "key_file" if settings.key_file is not None else "cert_file"
        _warn_of_readers(name, settings.key_file or settings.cert_file)
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


def _warn_of_readers(name: str, file: str) -> None:
    """Tell of a secret that it is none."""
    with suppress(OSError):
        if Path(file).stat().st_mode & stat.S_IROTH:
            _warn_once(f"mqtt.{name}: {file}: every user of this machine can read it: chmod o= it")


@cache
def _warn_once(text: str) -> None:
    # Files are read anew at every connection.
    _log.warning("%s", text)


def _text(name: str, file: str) -> str:
    try:
        return read_at_most(Path(file), _LARGEST_FILE).decode()
    except OSError as exc:
        raise ConfigError(f"mqtt.{name}: {file}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"mqtt.{name}: {file}: not text") from exc
