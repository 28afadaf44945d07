"""Sign a package with OpenSSF model signing; what is signed keeps its id.

Offline: with a key (elliptic curve, PEM), or with a key and the certificate
that an authority gave for it.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final

from engines.errors import PackageError
from engines.package.archive import members
from engines.package.place import sentences
from engines.package.signature import Listed, check_dates
from engines.package.sums import SIGNATURE
from engines.package.verify import Verified, verify
from engines.package.write import archive_entry

_CURVES: Final = "an elliptic curve key (P-256, P-384 or P-521)"


def sign(
    package: Path, key: Path, certificate: Path | None = None, chain: Sequence[Path] = (), password: str = ""
) -> Verified:
    """Put a signature into a package's folder or archive; an older one is replaced.

    Args:
        key: the private key, PEM.
        certificate: that an authority gave for it, PEM.
        chain: the certificates between it and the authority, PEM.
        password: of the key, where it has one.

    Raises:
        PackageError: the package is not as it was made, the key or certificate cannot be used, or the package
            cannot be written.
    """
    verified = verify(package)
    signer = _signer(key, certificate, chain, password)
    with tempfile.TemporaryDirectory(prefix="pareto-sign-") as room:
        made = Path(room) / SIGNATURE
        signer.set_hashing_config(Listed(verified.digests)).sign(PurePosixPath(package.stem), made)
        content = made.read_bytes()
    with sentences(package.parent, verified.bytes):
        (_into_zip if package.is_file() else _into_folder)(package, content)
    return verify(package)


def new_key(path: Path) -> tuple[Path, Path]:
    """Make a key pair: the private one at `path`, readable by its owner only, the public one beside it.

    Raises:
        PackageError: something is there already, or it cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    public = path.with_name(f"{path.name}.pub")
    made = ec.generate_private_key(ec.SECP256R1())
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    shown = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for place in (path, public):
        if place.exists():
            raise PackageError(f"{place} exists already; choose another place for the new key.")
    with sentences(path.parent, 0), ExitStack() as half:
        for place, content, mode in ((path, private, 0o600), (public, shown, 0o644)):
            file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            half.callback(place.unlink)  # half a key would be in the way of the next try
            with os.fdopen(file, "wb") as writing:
                writing.write(content)
        half.pop_all()
    return path, public


def _signer(key: Path, certificate: Path | None, chain: Sequence[Path], password: str) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    signing: Any = import_module("model_signing.signing")
    secret: Any = password.encode() or None  # model-signing says text and hands it on to what takes bytes
    try:
        loaded = load_pem_private_key(key.read_bytes(), secret)
    except OSError as error:
        raise PackageError(f"The key {key} cannot be read ({error.strerror or error}).") from None
    except TypeError:
        if secret is None:
            raise PackageError(
                f"The key {key} is locked; give its password (a command reads PARETO_STUDIO_KEY_PASSWORD)."
            ) from None
        raise PackageError(
            f"The key {key} has no password; give none (PARETO_STUDIO_KEY_PASSWORD must be empty)."
        ) from None
    except ValueError:
        why = f"is no private key in PEM that this password opens; give {_CURVES}"
        raise PackageError(
            f"{key} {why if secret else why.replace(' that this password opens', '')}."
        ) from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.curve.name not in (
        "secp256r1",
        "secp384r1",
        "secp521r1",
    ):
        raise PackageError(f"{key} is a key of another kind; give {_CURVES}.")
    config = signing.Config()
    if certificate is None:
        return config.use_elliptic_key_signer(private_key=key, password=secret)
    if secret is not None:
        raise PackageError("A key with a certificate is read without a password; give the key unlocked.")
    at = certificate
    try:
        for at in (certificate, *chain):
            check_dates(x509.load_pem_x509_certificate(at.read_bytes()))
    except OSError as error:
        raise PackageError(f"The certificate {at} cannot be read ({error.strerror or error}).") from None
    except ValueError:
        raise PackageError(f"{at} is no certificate in PEM.") from None
    try:
        # model-signing reads no empty chain; a certificate beside itself says nothing more.
        return config.use_certificate_signer(
            private_key=key, signing_certificate=certificate, certificate_chain=list(chain) or [certificate]
        )
    except ValueError:
        raise PackageError(
            f"The certificate {certificate} is not that of the key {key}; give the pair."
        ) from None


def _into_folder(package: Path, content: bytes) -> None:
    partial = package.with_name(f".{package.name}.{os.getpid()}.sig")
    try:
        partial.write_bytes(content)
        partial.replace(package / SIGNATURE)
    finally:
        partial.unlink(missing_ok=True)


def _into_zip(package: Path, content: bytes) -> None:
    """All entries anew, in the form that `pack` gives them, with the signature among them."""
    partial = package.with_name(f".{package.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(package) as old, zipfile.ZipFile(partial, "w") as new:
            found = members(old)
            first = next(iter(found.values())).filename
            top = f"{PurePosixPath(first).parts[0]}/" if first not in found else ""
            for name in sorted({*found, SIGNATURE}):
                with new.open(archive_entry(top + name), "w", force_zip64=True) as sink:
                    if name == SIGNATURE:
                        sink.write(content)
                        continue
                    with old.open(found[name]) as source:
                        shutil.copyfileobj(source, sink, 1 << 20)
        partial.chmod(stat.S_IMODE(package.stat().st_mode))
        partial.replace(package)
    finally:
        partial.unlink(missing_ok=True)
