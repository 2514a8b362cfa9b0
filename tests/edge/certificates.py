"""An authority of our own, and what it signs: for brokers and devices on loopback."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from realbroker import program


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

    def expired(self, name: str, subject: str) -> tuple[Path, Path]:
        """The same, whose time was over yesterday."""
        file, key = self.sign(name, subject)
        valid = x509.load_pem_x509_certificate(file.read_bytes())
        signer = serialization.load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        today = datetime.now(timezone.utc)
        late = x509.CertificateBuilder(
            issuer_name=valid.issuer,
            subject_name=valid.subject,
            public_key=valid.public_key(),
            serial_number=valid.serial_number,
            not_valid_before=today - timedelta(days=2),
            not_valid_after=today - timedelta(days=1),
            extensions=list(valid.extensions),
        ).sign(signer, hashes.SHA256())
        file.write_bytes(late.public_bytes(serialization.Encoding.PEM))
        return file, key

    def encrypted(self, key: Path) -> Path:
        locked = key.with_suffix(".locked")
        self._run("ec", "-aes128", "-passout", "pass:x", "-in", key, "-out", locked)
        return locked

    def _run(self, *arguments: object) -> None:
        subprocess.run(
            [self._openssl, *map(str, arguments)], check=True, capture_output=True, text=True
        )


def served(authority: Authority, certificate: tuple[Path, Path], more: str = "") -> str:
    """The lines of a mosquitto that shows `certificate`, and trusts `authority` about others'."""
    file, key = certificate
    return (
        f"allow_anonymous true\ncafile {authority.certificate}\n"
        f"certfile {file}\nkeyfile {key}\n{more}"
    )
