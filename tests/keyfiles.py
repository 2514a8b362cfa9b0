"""Keys to sign bundles with, made for one test and thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

Key: TypeAlias = Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey


@dataclass(frozen=True)
class KeyFiles:
    """The two PEM files of a key, as openssl writes them."""

    private: Path
    public: Path


def key_files(folder: Path, name: str = "key", key: Key | None = None) -> KeyFiles:
    """Write a key of any kind, Ed25519 unless given."""
    key = key or Ed25519PrivateKey.generate()
    files = KeyFiles(folder / f"{name}.pem", folder / f"{name}.pub.pem")
    files.private.write_bytes(private_pem(key))
    files.public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return files


def private_pem(key: Key, password: bytes | None = None) -> bytes:
    cipher = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher)
