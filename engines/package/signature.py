"""Who made a package; travels inside it (standard library, and `model-signing` where a key is given).

The signature is OpenSSF model signing's: a Sigstore bundle around an in-toto
statement that lists every file with its digest.  Its own program checks it too:
`model_signing verify key PACKAGE --signature PACKAGE/package.sig --public_key FILE`.

What the standard library can do is read the statement and compare it with the
files.  Whether the one who signed is the one who is trusted takes a key or a
certificate from outside the package and the wheel `model-signing`.  No network
is asked for either.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final

from engines.errors import PackageError, SignatureRefused
from engines.package.sums import AGAIN, SIGNATURE

LARGEST: Final = 64 << 20
"""Bytes that a signature may have."""
_WHEEL: Final = "python -m pip install model-signing pyopenssl"
_OTHER: Final = f"{SIGNATURE} signs another package or another state of this one; {AGAIN}."


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signature is asked for: one of the two."""

    key: Path | None = None
    """A public key, PEM."""
    certificates: tuple[Path, ...] = ()
    """Of the authorities that are trusted, PEM."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a package's signature says, and whether that was checked."""

    kind: str
    """`key` or `certificate`."""
    signer: str
    """The certificate's subject, or the first digits of the key's digest."""
    trusted: bool
    """Checked with the key or certificate that was given."""

    def __str__(self) -> str:
        by = f"{self.signer}" if self.kind == "certificate" else f"the key {self.signer}"
        if self.trusted:
            return f"Signed by {by}: checked."
        return f"Signed, it says by {by}; its maker's --key or an authority's --certificate checks that."


def read(content: bytes, digests: Mapping[str, str]) -> Signature:
    """Read a signature and compare its statement with the files; who signed is not checked here.

    Args:
        content: of `package.sig`.
        digests: path -> SHA-256 of every other file, `SHA256SUMS` included.

    Raises:
        SignatureRefused: no signature, or one of other files.
    """
    try:
        bundle = json.loads(content)
        material = bundle["verificationMaterial"]
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
        stated = {
            str(one["name"]): (str(one["algorithm"]), str(one["digest"]))
            for one in statement["predicate"]["resources"]
        }
        chain = material.get("x509CertificateChain")
        kind = "key" if chain is None else "certificate"
        signer = str(material["publicKey"]["hint"])[:16] if chain is None else _subject(chain)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise SignatureRefused(f"{SIGNATURE} is no readable signature; {AGAIN}.") from None
    if stated != {path: ("sha256", value) for path, value in digests.items()}:
        raise SignatureRefused(_OTHER)
    return Signature(kind, signer, trusted=False)


def _subject(chain: Any) -> str:
    """The subject's common name, found in the certificate's bytes: enough to name it, not to trust it."""
    raw = base64.b64decode(chain["certificates"][0]["rawBytes"], validate=True)
    mark = b"\x06\x03\x55\x04\x03"  # the object identifier of common names; the subject's is the last
    at = raw.rindex(mark) + len(mark)
    return raw[at + 2 : at + 2 + raw[at + 1]].decode(errors="replace")


def check(content: bytes, digests: Mapping[str, str], trust: Trust) -> Signature:
    """As `read`, and check that it was made by whom `trust` names.

    Raises:
        SignatureRefused: another key, an unknown or expired certificate, or other files.
    """
    found = read(content, digests)
    asked = "key" if trust.key is not None else "certificate"
    if asked != found.kind:
        raise SignatureRefused(
            f"The package is signed with a {found.kind}, not with a {asked}; give --{found.kind}."
        )
    try:
        verifying: Any = import_module("model_signing.verifying")
    except ImportError:
        raise PackageError(
            f"Checking a signature needs model-signing, which is not here; run `{_WHEEL}`."
        ) from None
    config = verifying.Config()
    try:
        if trust.key is not None:
            config.use_elliptic_key_verifier(public_key=trust.key)
        else:
            config.use_certificate_verifier(certificate_chain=list(trust.certificates))
    except OSError as error:
        raise PackageError(f"{error.filename} cannot be read ({error.strerror or error}).") from None
    except (ValueError, TypeError, AttributeError):
        given = trust.key or trust.certificates[0]
        wanted = "public key (elliptic curve P-256, P-384 or P-521)" if trust.key else "certificate"
        raise PackageError(f"{given} is no {wanted} in PEM; ask the package's maker for it.") from None
    signer = found.signer if found.kind == "key" else _valid_today(content)
    with tempfile.TemporaryDirectory(prefix="pareto-signature-") as folder:
        place = Path(folder) / SIGNATURE
        place.write_bytes(content)
        try:
            config.set_hashing_config(Listed(digests)).verify(PurePosixPath("package"), place)
        except Exception as error:
            why = _reason(error)
            raise SignatureRefused(
                f"The signature was not made by {given_name(trust)}{why}; do not use the package."
            ) from error
    return Signature(found.kind, signer, trusted=True)


def of_folder(folder: Path, digests: Mapping[str, str], trust: Trust | None) -> Signature | None:
    """The signature of a package's folder; `None` where there is none and none was asked for.

    Raises:
        SignatureRefused: none, where one is asked for; or as `read` and `check`.
    """
    place = folder / SIGNATURE
    if not place.is_file():
        if trust is not None:
            raise unsigned()
        return None
    if place.stat().st_size > LARGEST:
        raise SignatureRefused(f"{SIGNATURE} is impossibly large; {AGAIN}.")
    content = place.read_bytes()
    return read(content, digests) if trust is None else check(content, digests, trust)


def unsigned() -> SignatureRefused:
    """The error where a signature is asked for and there is none."""
    return SignatureRefused(f"The package is not signed; {AGAIN}, signed.")


def given_name(trust: Trust) -> str:
    """What was given, as a sentence names it."""
    if trust.key is not None:
        return f"the key in {trust.key.name}"
    return f"anyone whom {' and '.join(one.name for one in trust.certificates)} vouches for"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200].rstrip(".")
    return f" ({text})" if text else ""


class Listed:
    """A hashing configuration of `model-signing` that takes digests which were computed already.

    The library's own reads every file once more, and none inside a zip.
    """

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = digests

    def add_ignored_paths(self, *, model_path: Any, paths: Any) -> None:
        """What a signature leaves out was read from it before: the signature alone."""

    def hash(self, model_path: PurePosixPath, *, files_to_hash: Any = None) -> Any:  # noqa: ARG002
        """The library's manifest of the files."""
        manifest: Any = import_module("model_signing.manifest")
        digest: Any = import_module("model_signing._hashing.hashing").Digest
        kind = manifest.SerializationType.from_args(
            {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
        )
        items = [
            kind.new_item(path, digest("sha256", bytes.fromhex(value)))
            for path, value in self._digests.items()
        ]
        return manifest.Manifest(model_path.name, items, kind)


def _valid_today(content: bytes) -> str:
    """The subject of who signed, whose certificates are valid now.

    Model signing looks at them as on the first day of one, for it knows no time; today counts here.

    Raises:
        SignatureRefused: it has expired, or is not valid yet.
    """
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    chain = json.loads(content)["verificationMaterial"]["x509CertificateChain"]["certificates"]
    try:
        found = [x509.load_der_x509_certificate(base64.b64decode(one["rawBytes"])) for one in chain]
    except (ValueError, KeyError, TypeError):
        raise SignatureRefused(f"{SIGNATURE} holds no readable certificate; {AGAIN}.") from None
    for certificate in found:
        check_dates(certificate)
    names = found[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else found[0].subject.rfc4514_string()


def check_dates(certificate: Any) -> None:
    """Raises `SignatureRefused` for a certificate that is not valid today."""
    now = datetime.now(UTC)
    name = certificate.subject.rfc4514_string()
    if certificate.not_valid_after_utc < now:
        raise SignatureRefused(
            f"The certificate of {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; "
            "ask the package's maker to sign it again."
        )
    if certificate.not_valid_before_utc > now:
        raise SignatureRefused(
            f"The certificate of {name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} only; "
            "check this machine's date."
        )


def trust(key: Path | None, certificates: Sequence[Path]) -> Trust | None:
    """What a command line asks for; `None` where it names neither.

    Raises:
        PackageError: both.
    """
    if key is not None and certificates:
        raise PackageError("A package is signed with a key or with a certificate; give one of the two.")
    return Trust(key, tuple(certificates)) if key is not None or certificates else None
