"""Signed bundles: whose bundle it is, beside what is in it.

A bundle is signed by a `manifest.sig` beside its `manifest.json`: an Ed25519 signature (RFC 8032)
of `CONTEXT` and the manifest's bytes, as base64 in one line. The manifest holds the sha256 of
every file the device reads, so the signature covers those too. Ed25519 is deterministic: the
same manifest and key give the same file.

Where the setting `bundle_key` names a public key, `edge.bundle.load` verifies the manifest
before it parses it, and parses the very bytes that it verified; a file's bytes are hashed and
used from one read. Against somebody who can write a bundle's folder, but neither the
configuration nor the program, this means:

- no weights, labels, thresholds or golden vectors of theirs are ever used, and neither the JSON
  reader nor the TFLite runtime sees a byte of theirs;
- what the manifest does not name (MODEL_CARD.md, licences, a `frame_edgetpu.tflite` beside) is
  not covered, and, where a key is asked for, never loaded either: read it with that in mind. The
  only way from such a bundle to bytes is `Bundle.read`, which takes an entry of the manifest;
- they can put another bundle there that was signed with the same key, an older version too: a
  signature says who made a bundle, not that it is the newest. Events and `info` carry the
  bundle's name, version and hash; a new key shuts out everything signed before;
- they can make the daemon refuse to start, as anyone can who may delete its files.

This is the only module that imports `cryptography`, and only once there is a key to read.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, final

from edge.errors import BundleError, ConfigError, MienError, UsageError
from edge.files import read_at_most

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE = "manifest.sig"

CONTEXT = b"mien-bundle\0"
"""Stands before the manifest's bytes in what is signed, so that no signature which the same key
made for another purpose can pass for one of a bundle, nor the other way round."""

_LENGTH = 64
"""Bytes of an Ed25519 signature."""

_MOST_BYTES = 100_000
"""Of a signature or a public key, in whatever wrapping."""

_NO_PACKAGE = "bundle signatures need the package cryptography: pip install 'mien[signed]'"


@final
class PublicKey:
    """A key that tells whether its owner signed a bundle.

    Parameters
    ----------
    key
        The key itself.
    name
        How errors name it: the file it came from.
    """

    def __init__(self, key: Ed25519PublicKey, name: str) -> None:
        self._key = key
        self._name = name

    def verify(self, manifest: bytes, folder: Path) -> None:
        """Hold a bundle's `manifest.sig` against the manifest that was read from it.

        Parameters
        ----------
        manifest
            The bytes of manifest.json; only these have been verified, not the file.
        folder
            The bundle's.

        Raises
        ------
        BundleError
            The bundle is not signed, its signature is damaged, or it is not this key's signature
            of this manifest.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # optional

        file = folder / SIGNATURE
        try:
            text = read_at_most(file, _MOST_BYTES)
        except FileNotFoundError:
            raise BundleError(
                f"{folder}: the bundle is not signed (it has no {SIGNATURE}), and bundle_key asks "
                "for signatures; sign a copy: mien-convert sign BUNDLE --key KEY --out DIR"
            ) from None
        except OSError as exc:
            raise BundleError(f"{file}: {exc.strerror}; copy the whole bundle again") from exc
        try:
            self._key.verify(_decoded(text, file), CONTEXT + manifest)
        except InvalidSignature:
            raise BundleError(
                f"{file}: not a signature of this manifest by the key {self._name}; the bundle "
                "was altered or signed with another key: copy it again from whoever made it, or "
                "name their public key as bundle_key"
            ) from None


@final
class PrivateKey:
    """A key that signs bundles.

    Parameters
    ----------
    key
        The key itself.
    name
        How errors name its public key: the file it came from.
    """

    def __init__(self, key: Ed25519PrivateKey, name: str) -> None:
        self._key = key
        self._name = name

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self._key.public_key(), self._name)

    def sign(self, manifest: bytes) -> bytes:
        """Return the content of `manifest.sig` for the bytes of a manifest.json."""
        return _encoded(self._key.sign(CONTEXT + manifest))


def trusted_key(bundle_key: str | None) -> PublicKey | None:
    """Return the key that the setting `bundle_key` names, or None where it is not set.

    Raises
    ------
    ConfigError
        The file cannot be read or is not an Ed25519 public key in PEM, or `cryptography` is not
        installed.
    """
    return None if bundle_key is None else read_public_key(Path(bundle_key))


def read_public_key(file: Path) -> PublicKey:
    """Read a public key, as `openssl pkey -pubout` writes it.

    Raises
    ------
    ConfigError
        As `trusted_key`.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # optional
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # optional
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415  # optional
    except ImportError as exc:
        raise ConfigError(f"bundle_key: {_NO_PACKAGE}") from exc
    try:
        data = read_at_most(file, _MOST_BYTES)
    except OSError as exc:
        raise ConfigError(
            f"bundle_key: {file}: {exc.strerror}; name the PEM file of the public key"
        ) from exc
    if b"PRIVATE KEY-----" in data:
        raise ConfigError(
            f"bundle_key: {file}: a private key, which has no place on a device; name its public "
            "half: openssl pkey -in KEY -pubout"
        )
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ConfigError(
            f"bundle_key: {file}: not an Ed25519 public key in PEM; write one with "
            "openssl pkey -in KEY -pubout"
        )
    return PublicKey(key, str(file))


def read_private_key(file: Path) -> PrivateKey:
    """Read a private key, as `openssl genpkey -algorithm ed25519` writes it.

    Raises
    ------
    UsageError
        The file cannot be read, is encrypted, or is not an Ed25519 private key in PEM.
    MienError
        `cryptography` is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # optional
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # optional
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415  # optional
    except ImportError as exc:
        raise MienError(_NO_PACKAGE) from exc
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise UsageError(
            f"{file}: {exc.strerror}; name the PEM file of the private key to sign with"
        ) from exc
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise UsageError(
            f"{file}: the key is encrypted; sign with a copy that is not: "
            "openssl pkey -in KEY -out PLAIN"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(
            f"{file}: not an Ed25519 private key in PEM; make one with "
            "openssl genpkey -algorithm ed25519"
        )
    return PrivateKey(key, str(file))


def _encoded(signature: bytes) -> bytes:
    return base64.b64encode(signature) + b"\n"


def _decoded(text: bytes, file: Path) -> bytes:
    """Return the signature that a manifest.sig holds."""
    try:
        signature = base64.b64decode(text.rstrip(b"\n"), validate=True)
    except binascii.Error:
        signature = b""
    # base64 has spare bits and Python skips line ends: one signature has one spelling here.
    if len(signature) != _LENGTH or _encoded(signature) != text:
        raise BundleError(f"{file}: damaged, not a signature; copy the whole bundle again")
    return signature
