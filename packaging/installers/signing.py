"""Signatures: made where a certificate is configured, and said plainly where none is.

linux     `SIGN_GPG_KEY` (a key's id), `SIGN_GPG_PASSWORD` (a file): gpg makes `PATH.asc`.
windows   `SIGN_WINDOWS_PFX`, `SIGN_WINDOWS_PASSWORD` (files), `SIGN_WINDOWS_TIMESTAMP` (an address):
          osslsigncode signs the installer, its uninstaller, and the programs inside that nobody has signed.
macos     `SIGN_MACOS_IDENTITY`, `SIGN_MACOS_NOTARY` (a keychain profile): codesign, from the inside out,
          hardened runtime, then Apple's notary.  Without them an `.app` is sealed by no name (ad hoc):
          Apple silicon calls one damaged whose seal is broken or missing.  Not verified on device.

`python signing.py windows FILE` signs one file; the installer's compiler calls it for the uninstaller.
"""

from __future__ import annotations

import os
import plistlib
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import certificate
from source import BuildError

MACH = (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
"""First bytes of a Mac program or library: for one processor, for several."""
ENTITLEMENTS = {"com.apple.security.cs.allow-unsigned-executable-memory": True}
"""What the hardened runtime would refuse Python: the callbacks that ctypes makes."""


NAMES = {"linux": "SIGN_GPG_KEY", "windows": "SIGN_WINDOWS_PFX", "macos": "SIGN_MACOS_IDENTITY"}
"""The variable that asks for signatures, by system."""


def configured(system: str) -> bool:
    return bool(os.environ.get(NAMES[system]))


def sign(path: Path, system: str) -> str:
    """Sign one artifact or `.app`; the sentence for the build's output.

    Raises:
        BuildError: configured, and it did not work: what should be signed is never left unsigned.
    """
    match system:
        case "linux":
            return _with_gpg(path)
        case "windows":
            return _with_osslsigncode(path)
        case "macos":
            return _with_codesign(path)
    raise ValueError(system)


def sign_inside(tree: Path) -> list[str]:
    """Sign the Windows programs below a folder that nobody has signed, where there is a certificate."""
    if not configured("windows"):
        return []
    unsigned = [path for path in sorted(tree.rglob("*")) if path.is_file() and is_unsigned_program(path)]
    for path in unsigned:
        _with_osslsigncode(path)
    return [f"{len(unsigned)} programs and libraries inside are signed."]


def is_unsigned_program(path: Path) -> bool:
    """Whether a file is a Windows program or library whose certificate table (PE format) is empty."""
    with path.open("rb") as file:
        head = file.read(0x40)
        if len(head) < 0x40 or head[:2] != b"MZ":
            return False
        file.seek(struct.unpack_from("<I", head, 0x3C)[0])
        head = file.read(24 + 112 + 5 * 8)
    if head[:4] != b"PE\0\0" or len(head) < 24 + 112 + 5 * 8:
        return False
    directories = 24 + (112 if head[24:26] == b"\x0b\x02" else 96)
    return bool(struct.unpack_from("<I", head, directories + 4 * 8 + 4)[0] == 0)


def _with_gpg(path: Path) -> str:
    key = os.environ.get("SIGN_GPG_KEY", "")
    if not key:
        return f"{path.name} is NOT SIGNED: SIGN_GPG_KEY is not set; publish SHA256SUMS with it."
    _there("gpg")
    listed = subprocess.run(
        ["gpg", "--batch", "--with-colons", "--list-secret-keys", key],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    state = next((line.split(":")[1] for line in listed.splitlines() if line.startswith("sec:")), "-none-")
    if state == "-none-":
        raise BuildError("gpg has no secret key of the id in SIGN_GPG_KEY; import it, or unset the variable.")
    if state in {"e", "r", "d"}:
        what = {"e": "has expired", "r": "was revoked", "d": "is disabled"}[state]
        raise BuildError(f"The key in SIGN_GPG_KEY {what}; renew it, or name another.")
    password = os.environ.get("SIGN_GPG_PASSWORD", "")
    if password:
        certificate.password_in("SIGN_GPG_PASSWORD", password)
    given = ["--passphrase-file", password] if password else ["--passphrase", ""]
    _run(
        "gpg", "--batch", "--yes", "--pinentry-mode", "loopback", *given,
        "--local-user", key, "--armor", "--detach-sign", str(path),
        signs={"passphrase": "the password in SIGN_GPG_PASSWORD is not that of the key in SIGN_GPG_KEY"},
    )  # fmt: skip
    return f"{path.name} is signed: {path.name}.asc."


def _with_osslsigncode(path: Path) -> str:
    pfx = os.environ.get("SIGN_WINDOWS_PFX", "")
    if not pfx:
        return f"{path.name} is NOT SIGNED: SIGN_WINDOWS_PFX is not set; Windows will warn."
    password = os.environ.get("SIGN_WINDOWS_PASSWORD", "")
    stamp = os.environ.get("SIGN_WINDOWS_TIMESTAMP", "")
    last = certificate.ends(pfx, password)
    # Beside it first: a signature that fails leaves the file as it was.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        signed = Path(folder) / path.name
        _run(
            "osslsigncode", "sign", "-pkcs12", pfx, *(["-readpass", password] if password else []),
            "-n", "Pareto Studio", "-h", "sha256", *(["-ts", stamp] if stamp else []),
            "-in", str(path), "-out", str(signed),
            signs={"timestamp": "SIGN_WINDOWS_TIMESTAMP gave no time stamp; try again or name another"},
        )  # fmt: skip
        signed.replace(path)
    if not stamp:
        return (
            f"{path.name} is signed until {last}: SIGN_WINDOWS_TIMESTAMP is not set, so the signature ends "
            "with the certificate."
        )
    return f"{path.name} is signed."


def _with_codesign(path: Path) -> str:
    identity = os.environ.get("SIGN_MACOS_IDENTITY", "")
    if not identity:
        if path.suffix == ".app" and shutil.which("codesign"):
            _run("codesign", "--force", "--deep", "--sign", "-", str(path))
            verify(path)
        return (
            f"{path.name} is NOT SIGNED: SIGN_MACOS_IDENTITY is not set; after the first try to open it, "
            "allow it with System Settings > Privacy & Security > Open Anyway."
        )
    _there("codesign")
    valid = subprocess.run(
        ["security", "find-identity", "-v", "-p", "codesigning"], capture_output=True, text=True, check=False
    ).stdout
    if identity not in valid:
        raise BuildError(
            "No keychain here has the identity in SIGN_MACOS_IDENTITY valid for signing programs; "
            "import it, or renew it where it has expired."
        )
    with tempfile.TemporaryDirectory() as folder:
        rights = Path(folder) / "entitlements.plist"
        rights.write_bytes(plistlib.dumps(ENTITLEMENTS))
        for one in code_inside(path) if path.is_dir() else []:
            _run("codesign", "--force", "--timestamp", "--options", "runtime", "--sign", identity, str(one))
        more = ["--options", "runtime", "--entitlements", str(rights)] if path.is_dir() else []
        _run("codesign", "--force", "--timestamp", *more, "--sign", identity, str(path))
    verify(path)
    return f"{path.name} is signed."


def verify(path: Path) -> None:
    """Have codesign look at the seal of an `.app` or `.dmg`.

    Raises:
        BuildError: something was changed after it was signed.
    """
    _run("codesign", "--verify", "--deep", "--strict", str(path))


def code_inside(app: Path) -> list[Path]:
    """What must be signed before the `.app` around it, the innermost first.

    Mac programs and libraries by their first bytes, whatever their rights, and the folders of frameworks;
    links lead to what is signed in its own place.
    """
    inner = [path for path in app.rglob("*") if not path.is_symlink() and _is_code(path)]
    return sorted(inner, key=lambda path: (-len(path.parts), path.as_posix()))


def _is_code(path: Path) -> bool:
    if path.is_dir():
        return path.suffix == ".framework"
    with path.open("rb") as file:
        return file.read(4) in MACH


def notarise(path: Path) -> str:
    """Have Apple look at a signed `.app` or `.dmg`, and staple the answer to it.

    Raises:
        BuildError: Apple refused it, or could not be asked.
    """
    profile = os.environ.get("SIGN_MACOS_NOTARY", "")
    if not profile or not configured("macos"):
        return f"{path.name} is NOT NOTARISED: SIGN_MACOS_NOTARY is not set; macOS will warn."
    with tempfile.TemporaryDirectory() as folder:
        sent = path
        if path.suffix == ".app":
            sent = Path(folder) / f"{path.stem}.zip"
            _run("ditto", "-c", "-k", "--keepParent", str(path), str(sent))
        _run("xcrun", "notarytool", "submit", str(sent), "--keychain-profile", profile, "--wait")
    _run("xcrun", "stapler", "staple", str(path))
    return f"{path.name} is notarised."


def _there(tool: str) -> None:
    if shutil.which(tool) is None:
        raise BuildError(f"A certificate is configured, but {tool} is not installed.")


def _run(*command: str, signs: dict[str, str] | None = None) -> None:
    _there(command[0])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        known = next((sentence for word, sentence in (signs or {}).items() if word in said.lower()), "")
        last = (said.splitlines() or [f"{command[0]} said nothing"])[-1]
        raise BuildError(f"Signing failed: {known or last}.")


if __name__ == "__main__":
    try:
        print(sign(Path(sys.argv[2]), sys.argv[1]))
    except BuildError as error:
        sys.exit(str(error))
