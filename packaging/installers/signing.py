"""Signatures: made where a certificate is configured, and said plainly where none is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from source import BuildError


def sign(path: Path, system: str) -> str:
    """Sign one artifact or `.app`; the sentence for the build's output.

    linux: `SIGN_GPG_KEY` (a key id) makes `PATH.asc`.
    windows: `SIGN_WINDOWS_PFX` and `SIGN_WINDOWS_PASSWORD` (a file) with osslsigncode.
    macos: `SIGN_MACOS_IDENTITY` with codesign, from the inside out, hardened runtime.

    Raises:
        BuildError: configured, and it did not work: what should be signed is never left unsigned.
    """
    match system:
        case "linux":
            key = os.environ.get("SIGN_GPG_KEY", "")
            if not key:
                return f"{path.name} is NOT SIGNED: SIGN_GPG_KEY is not set; publish SHA256SUMS with it."
            _run("gpg", "--batch", "--yes", "--local-user", key, "--armor", "--detach-sign", str(path))
        case "windows":
            pfx = os.environ.get("SIGN_WINDOWS_PFX", "")
            if not pfx:
                return f"{path.name} is NOT SIGNED: SIGN_WINDOWS_PFX is not set; Windows will warn."
            signed = path.with_suffix(".signed.exe")
            password = os.environ.get("SIGN_WINDOWS_PASSWORD", "")
            stamp = os.environ.get("SIGN_WINDOWS_TIMESTAMP", "")
            _run(
                "osslsigncode",
                "sign",
                "-pkcs12",
                pfx,
                *(["-readpass", password] if password else []),
                "-n",
                "Pareto Studio",
                "-h",
                "sha256",
                *(["-ts", stamp] if stamp else []),
                "-in",
                str(path),
                "-out",
                str(signed),
            )
            signed.replace(path)
        case "macos":
            identity = os.environ.get("SIGN_MACOS_IDENTITY", "")
            if not identity:
                return (
                    f"{path.name} is NOT SIGNED: SIGN_MACOS_IDENTITY is not set; it must be opened with "
                    "Control-click the first time."
                )
            inner = [one for one in sorted(path.rglob("*"), reverse=True) if _is_code(one)]
            for one in [*inner, path]:
                _run(
                    "codesign", "--force", "--timestamp", "--options", "runtime", "--sign", identity, str(one)
                )
    return f"{path.name} is signed."


def _is_code(path: Path) -> bool:
    if path.is_symlink():
        return False
    return path.suffix in {".dylib", ".so", ".framework"} or (
        path.is_file() and bool(path.stat().st_mode & 0o111)
    )


def _run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise BuildError(f"A certificate is configured, but {command[0]} is not installed.")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"Signing failed ({(done.stderr or done.stdout).strip().splitlines()[-1]}).")
