"""Where the MQTT broker is: the one reader of `mqtt://` addresses."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from edge.errors import ConfigError

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FORM = "write mqtt://HOST[:1883] or mqtts://HOST[:8883]"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


class Broker(NamedTuple):
    """A broker's address; `tls` says that the connection is encrypted and the broker proven."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether what is sent there stays on this machine.

        Names are not resolved: what they mean may change while the daemon runs.
        """
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def parse_url(url: str) -> Broker:
    """Read a broker's address.

    Raises
    ------
    ConfigError
        Anything but `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`. A URL that may hold a password
        is refused without being quoted.
    """
    if "@" in url:
        raise ConfigError(
            "the broker's URL holds a user or a password; write the user as [mqtt] username, and "
            "the password into a file that [mqtt] password_file names"
        )
    # A query may hold one too.
    shown = url.partition("?")[0]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"broker {shown!r}: not an address; {_FORM}") from None
    extra = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or extra or port == 0 or not is_host(host):
        raise ConfigError(f"broker {shown!r}: not an address; {_FORM}")
    return Broker(host, port or _PORTS[parts.scheme], tls=parts.scheme == "mqtts")


def is_host(text: str) -> bool:
    """Say whether a text can be the name of a host, or is an IP address."""
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            return False
        return True
    return len(text) <= 253 and _NAME.fullmatch(text) is not None  # noqa: PLR2004  # RFC 1035
