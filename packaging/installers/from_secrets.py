"""`from_secrets.py linux|windows|macos FOLDER`: a workflow's secrets as the files that signing names.

A workflow has secrets as text in variables, certificates among them in base64; `signing` takes files.  They
are written below FOLDER for this user alone, and the variables that name them are added to the file that
`GITHUB_ENV` names.  No secret is printed, nor given to another program but by a file; only macOS' `security`
takes passwords no other way.

linux     `SECRET_GPG_KEY` (base64), `SECRET_GPG_PASSWORD`
windows   `SECRET_WINDOWS_PFX` (base64), `SECRET_WINDOWS_PASSWORD`
macos     `SECRET_MACOS_P12` (base64), `SECRET_MACOS_PASSWORD`; for the notary `SECRET_MACOS_NOTARY_KEY`
          (base64 of the `.p8`), `MACOS_NOTARY_KEY_ID`, `MACOS_NOTARY_ISSUER`.  Not verified on device.
"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

from source import BuildError

ASKS = {"linux": "SECRET_GPG_KEY", "windows": "SECRET_WINDOWS_PFX", "macos": "SECRET_MACOS_P12"}
"""The secret without which nothing is signed, by system."""


def prepare(system: str, folder: Path) -> dict[str, str]:
    """Write the files; the variables for `signing`, none where no certificate is configured.

    Raises:
        BuildError: a secret is not what it should be; it is named and not shown.
    """
    if not os.environ.get(ASKS[system]):
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    match system:
        case "linux":
            return _gpg(folder)
        case "windows":
            return {
                "SIGN_WINDOWS_PFX": _decoded("SECRET_WINDOWS_PFX", folder / "signing.pfx"),
                **_password("SECRET_WINDOWS_PASSWORD", "SIGN_WINDOWS_PASSWORD", folder),
            }
    return _keychain(folder)


def _decoded(secret: str, file: Path) -> str:
    try:
        content = base64.b64decode("".join(os.environ.get(secret, "").split()), validate=True)
    except ValueError as error:
        raise BuildError(
            f"The secret {secret} is not base64; make it with: base64 < FILE, and set it again."
        ) from error
    _write(file, content)
    return str(file)


def _password(secret: str, variable: str, folder: Path) -> dict[str, str]:
    password = os.environ.get(secret, "")
    if not password:
        return {}
    file = folder / "password"
    _write(file, password.encode())
    return {variable: str(file)}


def _write(file: Path, content: bytes) -> None:
    file.touch(0o600)
    file.write_bytes(content)


def _gpg(folder: Path) -> dict[str, str]:
    """A key ring of its own, in which the key is the only one."""
    home = folder / "gnupg"
    home.mkdir(0o700, exist_ok=True)
    key = _decoded("SECRET_GPG_KEY", folder / "signing.key")
    _run("SECRET_GPG_KEY", "gpg", "--homedir", str(home), "--batch", "--import", key)
    Path(key).unlink()
    listed = _run(
        "SECRET_GPG_KEY", "gpg", "--homedir", str(home), "--batch", "--with-colons", "--list-secret-keys"
    )
    found = next((line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")), "")
    if not found:
        raise BuildError(
            "The secret SECRET_GPG_KEY holds no secret key; export it with --export-secret-keys."
        )
    return {
        "GNUPGHOME": str(home),
        "SIGN_GPG_KEY": found,
        **_password("SECRET_GPG_PASSWORD", "SIGN_GPG_PASSWORD", folder),
    }


def _keychain(folder: Path) -> dict[str, str]:
    """A keychain of its own that `codesign` and `notarytool` may use without asking."""
    chain, password = str(folder / "signing.keychain-db"), secrets.token_hex(16)
    p12 = _decoded("SECRET_MACOS_P12", folder / "signing.p12")
    own = os.environ.get("SECRET_MACOS_PASSWORD", "")
    for command in (
        ["create-keychain", "-p", password, chain],
        ["set-keychain-settings", "-lut", "21600", chain],
        ["unlock-keychain", "-p", password, chain],
        ["import", p12, "-k", chain, "-P", own, "-T", "/usr/bin/codesign", "-T", "/usr/bin/security"],
        ["set-key-partition-list", "-S", "apple-tool:,apple:", "-s", "-k", password, chain],
        ["list-keychains", "-d", "user", "-s", chain],
    ):
        _run("SECRET_MACOS_P12", "security", *command)
    Path(p12).unlink()
    listed = _run("SECRET_MACOS_P12", "security", "find-identity", "-v", "-p", "codesigning", chain)
    found = next((line.split('"')[1] for line in listed.splitlines() if '"' in line), "")
    if not found:
        raise BuildError(
            "The secret SECRET_MACOS_P12 holds no identity valid for signing programs; renew it."
        )
    if not os.environ.get("SECRET_MACOS_NOTARY_KEY"):
        return {"SIGN_MACOS_IDENTITY": found}
    key = _decoded("SECRET_MACOS_NOTARY_KEY", folder / "notary.p8")
    asked = ["--key-id", os.environ.get("MACOS_NOTARY_KEY_ID", "")]
    asked += ["--issuer", os.environ.get("MACOS_NOTARY_ISSUER", ""), "--keychain", chain]
    store = ["notarytool", "store-credentials", "pareto-studio", "--key", key]
    _run("SECRET_MACOS_NOTARY_KEY", "xcrun", *store, *asked)
    Path(key).unlink()
    return {"SIGN_MACOS_IDENTITY": found, "SIGN_MACOS_NOTARY": "pareto-studio"}


def _run(secret: str, *command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"The secret {secret} cannot be used: {command[0]} refused it; set it again.")
    return done.stdout


def main(system: str, folder: str) -> int:
    """The exit status."""
    try:
        made = prepare(system, Path(folder))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    if not made:
        print(f"{ASKS[system]} is not set: what is built for {system} will not be signed.")
        return 0
    with Path(os.environ["GITHUB_ENV"]).open("a", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in made.items())
    print(f"What is built for {system} will be signed.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
