"""Authorities and makers for tests of signatures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Maker:
    key: Path
    certificate: Path
    authority: Path


def maker(folder: Path, name: str = "Maker", *, first_day: int = -1, days: int = 10) -> Maker:
    """A key, a certificate for it, and that of the authority which gave it; days are counted from today."""
    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    authority = _certificate(f"{name}'s authority", f"{name}'s authority", root, root, -400, 4000, signs=True)
    given = _certificate(name, f"{name}'s authority", own, root, first_day, days, signs=False)
    folder.mkdir(exist_ok=True)
    found = Maker(folder / "key.pem", folder / "maker.pem", folder / "authority.pem")
    found.key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    found.certificate.write_bytes(given.public_bytes(Encoding.PEM))
    found.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    return found


def locked_key(path: Path, password: str) -> Path:
    own = ec.generate_private_key(ec.SECP256R1())
    secret = BestAvailableEncryption(password.encode())
    path.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    return path


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    first_day: int,
    days: int,
    *,
    signs: bool,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=first_day))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
