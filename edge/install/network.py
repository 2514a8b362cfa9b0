"""Whom the daemon may speak to: the addresses of its broker and of its network cameras.

The unit denies every address but this machine's. systemd filters by address, not by name, and an
address that a name had on the day of the installation is no promise for the year after; so an
address is allowed as it stands, and a name by where it may lead:

- one of a local network (no dot in it, or an ending that is never public) to every private address,
- any other to anywhere, which is no filter; said aloud, with the two ways to have one.

`--allow` replaces what names open. Where there are names, name servers are allowed as well.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge.broker import parse_url
from edge.errors import UsageError
from edge.settings import Settings

PRIVATE = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
)
"""RFC 1918, RFC 3927, RFC 4193, RFC 4291: addresses that no public host has."""

ANYWHERE = "any"

_LOCAL_NAME = re.compile(r"[^.]+|.+\.(local|lan|home|internal|home\.arpa)")
"""RFC 6762, RFC 8375, and the endings that routers hand out and that are in no public zone."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Addresses in systemd's notation, in a few words what they are for, and which were told."""

    addresses: tuple[str, ...]
    why: str
    told: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether every address is allowed."""
        return ANYWHERE in self.addresses


def reach(settings: Settings, *, allow: Sequence[str] = (), resolv_conf: str = "") -> Reach:
    """Return whom a configuration has to reach, beside this machine.

    Parameters
    ----------
    settings
        Their broker and cameras.
    allow
        Networks that hold every host that is configured by name.
    resolv_conf
        The text of /etc/resolv.conf.

    Raises
    ------
    UsageError
        One of `allow` is no network.
    """
    told = [_network(each) for each in allow]
    hosts = list(dict.fromkeys(filter(None, _hosts(settings))))
    exact = [host for host in hosts if _is_address(host)]
    names = [host for host in hosts if not _is_address(host) and host != "localhost"]
    addresses = [each for each in exact if not ipaddress.ip_address(each).is_loopback] + told
    if names and not told:
        public = [name for name in names if not _LOCAL_NAME.fullmatch(name.rstrip("."))]
        addresses += [ANYWHERE] if public else PRIVATE
    if names:
        addresses += _name_servers(resolv_conf)
    if ANYWHERE in addresses:
        addresses = [ANYWHERE]
    return Reach(tuple(dict.fromkeys(addresses)), ", ".join(hosts), tuple(told))


def _hosts(settings: Settings) -> list[str]:
    cameras = [
        camera.uri for camera in settings.camera if camera.scheme in {"rtsp", "http", "https"}
    ]
    return [parse_url(settings.mqtt.url).host, *(urlsplit(uri).hostname or "" for uri in cameras)]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise UsageError(
            f"--allow {text}: not an address; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
        ) from None


def _name_servers(resolv_conf: str) -> list[str]:
    words = [line.split() for line in resolv_conf.splitlines()]
    servers = [
        line[1].partition("%")[0] for line in words if line[:1] == ["nameserver"] and line[1:]
    ]
    return [
        each for each in servers if _is_address(each) and not ipaddress.ip_address(each).is_loopback
    ]
