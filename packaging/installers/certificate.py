"""A signing certificate looked at before it is used: what signs would also take one that has expired."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID
from source import BuildError


def password_in(variable: str, file: str) -> str:
    """The password in a file; its line end is none of it. Names the variable, never its value.

    Raises:
        BuildError: there is no such file, as where the password itself was given.
    """
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise BuildError(
            f"{variable} must name a file with the password, and none can be read there."
        ) from error


def ends(pfx: str, password_file: str) -> dt.date:
    """The last day of the certificate in a `.pfx` that can sign programs today.

    Raises:
        BuildError: no file, another password, damaged, no key, expired, not valid yet, or not for programs.
    """
    try:
        content = Path(pfx).read_bytes()
    except (OSError, ValueError) as error:
        # The value may be the secret itself, given where its path is wanted: it is not repeated.
        raise BuildError("SIGN_WINDOWS_PFX must name a .pfx file, and none can be read there.") from error
    password = password_in("SIGN_WINDOWS_PASSWORD", password_file) if password_file else ""
    try:
        key, found, _ = pkcs12.load_key_and_certificates(content, password.encode() or None)
    except ValueError as error:
        raise BuildError(
            f"The certificate in {Path(pfx).name} does not open: the password in SIGN_WINDOWS_PASSWORD is "
            "another, or the file is damaged."
        ) from error
    if key is None or found is None:
        raise BuildError(
            f"{Path(pfx).name} must hold a certificate and its private key; export both together."
        )
    now = dt.datetime.now(dt.UTC)
    last = found.not_valid_after_utc
    if last < now:
        raise BuildError(f"The certificate in {Path(pfx).name} expired on {last:%Y-%m-%d}; renew it.")
    if found.not_valid_before_utc > now:
        first = found.not_valid_before_utc
        raise BuildError(f"The certificate in {Path(pfx).name} is not valid before {first:%Y-%m-%d}.")
    try:
        uses = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    if ExtendedKeyUsageOID.CODE_SIGNING not in uses:
        raise BuildError(f"The certificate in {Path(pfx).name} is not one for signing programs.")
    return last.date()
