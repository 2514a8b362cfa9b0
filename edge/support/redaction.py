"""Takes out of text who and where: what is known to identify, and what looks as if it did.

Known values (a device's name, its users, its broker) are replaced wherever they stand, each by the
same pseudonym throughout, so that a reader still sees that two lines speak of one thing. What
nobody could tell beforehand is found by its form: addresses, URLs, serial numbers in device links,
folders of people, whatever follows `password=`.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, final
from urllib.parse import unquote, urlsplit

Kind = Literal[
    "device", "camera", "host", "user", "address", "mac", "serial", "network", "path", "text"
]

GONE = "***"
"""What stands for a secret, and for what need not be told apart."""

_SHORTEST = 3
"""Shorter values identify nobody, and replacing them would make text unreadable."""

_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
"""Not within a word; an underscore ends one."""

_QUOTES = "\"'"
_LOCAL_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost"}

_HOMES = "/(?:home|root|Users|var/home)/"

# Where a part may repeat, its length is bounded: a line of nothing but letters must not take long.
_FORMS = {
    "key": r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)",
    "url": r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"'<>`]+",
    "word": r"(?<![A-Za-z0-9])(?:password|passwd|pwd|passphrase|secret|token|psk|api[_-]?key"
    r"|authorization)[\"']?\s*[=:]\s*(?!unknown key)(?:bearer\s+|basic\s+)?"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s,;]+)",
    "ssid": r"\bssid[\"']?[\s=:]+(?:\"[^\"]*\"|'[^']*'|[^\s,;]+)",
    "home": rf"(?<=\"){_HOMES}[^\"\n]+|(?<='){_HOMES}[^'\n]+|{_HOMES}[^\s\"',;:)]+",
    "link": r"/dev/(?:v4l|disk|serial)/by-[a-z]+/[^\s\"',;)]+",
    "mac": r"(?<![0-9A-Fa-f:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:-])",
    "ipv4": r"(?<![\w.])(?:::ffff:)?\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)",
    "ipv6": r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?!\.\d)(?:%\w+)?",
    "interface": r"\b(?:enx|wlx)[0-9a-f]{12}\b",
    "broker": r"(?<=mqtt: )[^\s:]+(?=:\d)|(?<=broker )[^\s:]+(?=:\d)"
    r"|(?<![\w.-])[\w-]+\.(?:local|lan|home|internal|localdomain)(?![\w-])",
    "camera": r"(?<=camera )[A-Za-z0-9][\w.-]*(?=: )",
    "device": r"(?<=mien/)[^\s/]+(?=/[a-z])",
    "email": r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[A-Za-z]{2,}",
}


@final
class Redactor:
    """Replaces what identifies, the same each time.

    Parameters
    ----------
    safe
        Words that identify nobody, such as the defaults of settings: they are left as they are.
    """

    def __init__(self, safe: Iterable[str] = ()) -> None:
        self._safe = {each.casefold() for each in safe}
        self._names: dict[str, str] = {}
        self._known: set[str] = set()
        self._counts: Counter[Kind] = Counter()
        self._secrets: set[str] = set()
        self._handlers: dict[str, Callable[[str], str]] = {
            "url": self.url,
            "word": _after_the_sign,
            "ssid": self._network,
            "broker": self.host,
            # Names of before the configuration was last changed; those of now are known.
            "camera": lambda text: self.hide("camera", text),
            "device": lambda text: self.hide("device", text),
            "mac": lambda text: self.hide("mac", text),
            "ipv6": self._address,
            "ipv4": self._address,
            "interface": lambda text: self.hide("mac", text),
        }

    def hide(self, kind: Kind, value: str) -> str:
        """Note a value that identifies; return the pseudonym that stands for it from now on.

        >>> redactor = Redactor(safe=["mien"])
        >>> redactor.hide("device", "lobby"), redactor.hide("host", "Lobby")
        ('device-1', 'device-1')
        >>> redactor.hide("device", "mien")
        'mien'
        """
        value = value.strip()
        key = value.casefold()
        if len(key) < _SHORTEST or key in self._safe or key in _LOCAL_NAMES:
            return value
        if key not in self._names:
            self._counts[kind] += 1
            self._names[key] = f"{kind}-{self._counts[kind]}"
            self._known.add(value)
        return self._names[key]

    def secret(self, value: str) -> str:
        """Note a secret, which is replaced even within words; return what stands for it."""
        for form in (value, unquote(value)):
            if len(form) >= _SHORTEST:
                self._secrets.add(form)
        return GONE

    def url(self, url: str) -> str:
        """Return a URL without user, password, path and query, its host replaced.

        >>> Redactor().url("rtsp://admin:hunter2@cam.example:554/live?token=1")
        'rtsp://***@host-1:554/***'
        """
        bare = url.rstrip(").,;:]}")
        scheme, _, rest = bare.partition("://")
        # The last @, though it may stand in the path: a password may hold a / that is not escaped.
        _, at, place = rest.rpartition("@")
        tail = url[len(bare) :]
        try:
            parts = urlsplit(f"{scheme}://{place}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return f"{scheme}://{GONE}{tail}"
        user = GONE + at if at else ""
        door = "" if port is None else f":{port}"
        path = f"/{GONE}" if parts.path.strip("/") or parts.query or parts.fragment else ""
        return f"{scheme}://{user}{self.host(host)}{door}{path}{tail}"

    def host(self, host: str) -> str:
        """Return what stands for a host's name or address."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return self.hide("host", host)
        shown = self._address(host)
        return f"[{shown}]" if ":" in shown else shown

    def text(self, text: str) -> str:
        """Return a text in which everything that identifies is replaced."""
        secrets = "|".join(_longest_first(self._secrets))
        known = "|".join(_longest_first(self._known))
        forms = [
            *([f"(?P<secret>{secrets})"] if secrets else []),
            *(f"(?P<{name}>{_FORMS[name]})" for name in ("key", "url")),
            *([f"(?P<known>{_START}(?:{known}){_END})"] if known else []),
            *(f"(?P<{name}>{form})" for name, form in _FORMS.items() if name not in ("key", "url")),
        ]
        # In one pass, so that no pseudonym is taken for a name and replaced in turn.
        return re.sub("|".join(forms), self._replaced, text, flags=re.IGNORECASE | re.DOTALL)

    def within(self, value: Any) -> Any:  # noqa: ANN401  # JSON has no better type
        """Return JSON whose strings and keys are redacted."""
        if isinstance(value, dict):
            return {self.text(key): self.within(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.within(each) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def _replaced(self, match: re.Match[str]) -> str:
        found, form = match[0], match.lastgroup
        if form == "known":
            return self._names.get(found.casefold(), GONE)
        handler = self._handlers.get(form or "")
        return handler(found) if handler else _gone(form, found)

    def _address(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return text
        if address.is_loopback or address.is_unspecified:
            return text
        return self.hide("address", text)

    def _network(self, text: str) -> str:
        label, name = re.split(r"[\"']?[\s=:]+", text, maxsplit=1)
        return f"{label}={self.hide('network', name.strip(_QUOTES))}"


def _gone(form: str | None, found: str) -> str:
    """Return what stands for a thing that has no pseudonym; folders keep their beginning."""
    if form == "home":
        return re.sub(rf"({_HOMES}).*", rf"\1{GONE}", found, flags=re.IGNORECASE)
    return re.sub(r"(/by-[a-z]+/).*", rf"\1{GONE}", found) if form == "link" else GONE


def _after_the_sign(text: str) -> str:
    """Keep the name of a secret and drop its value.

    >>> _after_the_sign("password = hunter2")
    'password = ***'
    """
    return re.sub(r"([=:]\s*).*", rf"\1{GONE}", text, count=1, flags=re.DOTALL)


def _longest_first(values: Iterable[str]) -> list[str]:
    return [re.escape(each) for each in sorted(values, key=len, reverse=True)]
