"""Whom a package comes from: verify and sign."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from engines.errors import PackageError
from engines.package.archive import beside
from engines.package.evidence import Verification
from engines.package.likeness import EQUAL
from engines.package.manifest import Manifest
from engines.package.sign import new_key
from engines.package.sign import sign as sign_package
from engines.package.signature import trust
from engines.package.verify import Verified
from engines.package.verify import verify as verify_package
from engines.package.write import pack
from studio.errors import ExportError
from studio.work.job import Job
from studio.work.usage import command, obstacles

PASSWORD: Final = "PARETO_STUDIO_KEY_PASSWORD"  # noqa: S105 - the name of a variable
"""The variable that holds the password of a locked key; never a command's argument, which others can read."""


def verify(_job: Job, package: str, key: str = "", certificates: Sequence[str] = ()) -> dict[str, Any]:
    """Command `verify`.

    Args:
        package: folder or archive.
        key: a public key, PEM: the package must be signed with it.
        certificates: of authorities, PEM: one of them must vouch for who signed it.

    Returns:
        `ok`, `text`, `id`, `signature` ({`kind`, `signer`, `checked`} or `None`), `native` (files that are
        machine code), `checks`: [{`name`, `ok`, `text`}...], `variants`: [{`name`, `device`, `components`,
        `verified`, `obstacle` (why this machine cannot run it, or empty)}...] in the order in which the
        runner tries them, `info`: {...}, `command` (lines for a terminal that make a picture with it).
    """
    try:
        asked = trust(_path(key), [Path(one).expanduser() for one in certificates])
        found = verify_package(Path(package).expanduser(), asked)
    except PackageError as error:
        check = {"name": "integrity", "ok": False, "text": str(error)}
        return {
            "ok": False, "text": str(error), "id": "", "signature": None, "native": [], "checks": [check],
            "variants": [], "info": {}, "command": "",
        }  # fmt: skip
    facts = found.manifest.additional_metadata
    checks = [
        _good("integrity", f"All {found.files} files are as they were when the package was made."),
        _good("schema", f"The manifest fits schema {found.manifest.schema_version}."),
        *(_good(name, text) for name, text in told(found)),
        *(_good("verified", verified_sentence(check)) for check in facts.verified_on),
    ]
    info = {
        "name": found.manifest.package_name,
        "title": facts.title,
        "model": facts.source_model.name,
        "source": facts.source_model.source,
        "licence": facts.source_model.licence,
        "device": facts.built_for.device,
        "engine": f"{facts.built_for.engine} {facts.built_for.engine_version}",
        "created": facts.created.isoformat(),
        "bytes": found.bytes,
        "files": found.files,
        "sbom": facts.sbom,
    }
    against = obstacles(found.manifest)
    rows = [row | {"obstacle": against[row["name"]]} for row in variants(found.manifest)]
    text = f"{found.manifest.package_name} is as it was when it was made ({found.id[:19]})."
    return {
        "ok": True, "text": text, "id": found.id, "signature": _signature(found),
        "native": list(found.native), "checks": checks, "variants": rows, "info": info,
        "command": command(Path(package).expanduser(), found.manifest, key, certificates),
    }  # fmt: skip


def sign(
    _job: Job,
    package: str = "",
    key: str = "",
    certificate: str = "",
    chain: Sequence[str] = (),
    new: str = "",
    password: str = "",
) -> dict[str, Any]:
    """Command `sign`: put a signature into a package, and into the archive beside its folder.

    Args:
        key: the private key, PEM.
        certificate: that an authority gave for the key, PEM.
        chain: the certificates between it and the authority.
        new: make this key first, and its public half beside it; without a package that is all.
        password: of a locked key; else the one in `PARETO_STUDIO_KEY_PASSWORD`.

    Returns:
        `package`, `id`, `signature`, `text`, and `key` and `public` where a key was made.

    Raises:
        PackageError: see `engines.package.sign.sign`.
        ExportError: nothing to do.
    """
    result: dict[str, Any] = {"text": ""}
    private = _path(key)
    if new:
        if key or certificate:
            raise ExportError("Give a key that is there, or the place of a new one; not both.")
        private, public = new_key(Path(new).expanduser())
        result |= {"key": str(private), "public": str(public)}
        result["text"] = f"The new key is {private}; keep it to yourself, and give {public} to who verifies."
    if not package:
        if not new:
            raise ExportError("Say which package to sign.")
        return result
    if private is None:
        raise ExportError("Say whose signature: --key FILE, or --new-key FILE to make one.")
    place = Path(package).expanduser()
    found = sign_package(
        place,
        private,
        _path(certificate),
        [Path(one).expanduser() for one in chain],
        password or os.environ.get(PASSWORD, ""),
    )
    if place.is_dir():
        for archive in beside(place):
            pack(place, archive)
    assert found.signature is not None
    kind = "key" if found.signature.kind == "key" else "certificate of"
    text = f"{place.name} is signed with the {kind} {found.signature.signer}; its id stays {found.id[:19]}."
    text = f"{result['text']} {text}".strip()
    return result | {
        "package": str(place),
        "id": found.id,
        "signature": _signature(found),
        "text": text,
    }


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def _good(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "ok": True, "text": text}


def _signature(found: Verified) -> dict[str, Any] | None:
    if found.signature is None:
        return None
    one = found.signature
    return {"kind": one.kind, "signer": one.signer, "checked": one.trusted}


def variants(manifest: Manifest) -> list[dict[str, Any]]:
    """The variants of a package in the order in which its runner tries them, each with its components."""
    verified = _verified(manifest)
    found: dict[str, dict[str, Any]] = {}
    for name, component in manifest.components.items():
        for variant in component.additional_metadata.order:
            engine = component.variants[variant].executor_info.studio
            row = found.setdefault(
                variant,
                {
                    "name": variant,
                    "device": engine.device,
                    "components": [],
                    "verified": True,
                },
            )
            row["components"].append(name)
            row["verified"] = row["verified"] and (name, variant) in verified
    return list(found.values())


def _verified(manifest: Manifest) -> set[tuple[str, str]]:
    """Component and variant of all that made the golden picture."""
    facts = manifest.additional_metadata
    found: set[tuple[str, str]] = set()
    for check in facts.verified_on:
        found |= set(check.variants.items())
        if check.variants:
            continue
        for name, component in manifest.components.items():  # not said: what a runner takes first there
            for variant in component.additional_metadata.order:
                engine = component.variants[variant].executor_info.studio
                if (engine.device, engine.engine) == (check.target.device, check.target.engine):
                    found.add((name, variant))
                    break
    return found


def told(found: Verified) -> list[tuple[str, str]]:
    """What is worth knowing of a package that is as it was made: (kind, sentence)."""
    sbom = found.manifest.additional_metadata.sbom
    return [
        *(("note", note) for note in found.notes),
        *(("variant", _variant_sentence(one)) for one in variants(found.manifest)),
        *([("bill of materials", f"What it is made of is listed in {sbom} (CycloneDX).")] if sbom else []),
    ]


def _variant_sentence(row: dict[str, Any]) -> str:
    state = "verified" if row["verified"] else "built, not verified on device"
    return f"Variant {row['name']}: {', '.join(row['components'])}; {state}."


def verified_sentence(check: Verification) -> str:
    """Where and how a package made its picture."""
    where = check.target.processor or check.target.machine
    equal = "equal" if check.psnr >= EQUAL else f"alike ({check.psnr:.1f} dB)"
    how = "in a fresh environment" if check.fresh_environment else "not in a fresh environment"
    return (
        f"Verified on {where} with {check.target.engine} {check.target.engine_version}, {how}: "
        f"its picture and the Studio's own are {equal}."
    )
