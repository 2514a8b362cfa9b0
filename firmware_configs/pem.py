"""Certificates and keys: what the daemon could not load is refused before it is on a card."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge.errors import UsageError

AUTHORITY, CERTIFICATE, KEY = "ca.pem", "client.pem", "client.key"
"""How they are named on the card."""


def check(files: Mapping[str, bytes], said: Mapping[str, str]) -> None:
    """See that certificates and keys are what they should be, by the library that will load them.

    `said` names each of the `files` as the person knows it.

    Raises
    ------
    UsageError
        One is no PEM of its kind, or a certificate has no key or another one's.
    """
    for name, other, what in ((CERTIFICATE, KEY, "key"), (KEY, CERTIFICATE, "certificate")):
        if name in files and other not in files:
            raise UsageError(f"{said[name]}: its {what} is missing; the two go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # OpenSSL reads files, and what was given may be a pipe, which is read once.
    with tempfile.TemporaryDirectory() as folder:
        for name in {AUTHORITY, CERTIFICATE, KEY} & set(files):
            Path(folder, name).write_bytes(files[name])
        for name in (AUTHORITY, CERTIFICATE):
            if name in files:
                _certificate(context, Path(folder, name), said[name])
        if KEY in files:
            try:
                # A key that is encrypted must not make this ask at a terminal.
                context.load_cert_chain(
                    Path(folder, CERTIFICATE), Path(folder, KEY), password=lambda: ""
                )
            except ssl.SSLError:
                raise UsageError(
                    f"{said[KEY]}: not the unencrypted PEM key of {said[CERTIFICATE]}"
                ) from None


def _certificate(context: ssl.SSLContext, file: Path, said: str) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        raise UsageError(f"{said}: holds no PEM certificate") from None
