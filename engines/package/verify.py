"""Decide whether a package may be used, before anything in it is loaded.

Works on the folder and on the archive alike; nothing is extracted.  Digests
say that a package is as it was made; the id says which one it is.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from engines.errors import PackageError
from engines.package.archive import members
from engines.package.manifest import Manifest, Variant, read
from engines.package.native import Open, is_pickle, native_files
from engines.package.runtimes import REQUIREMENTS, requirements_file
from engines.package.signature import Signature, Trust, unsigned
from engines.package.signature import check as check_signature
from engines.package.signature import read as read_signature
from engines.package.sums import (
    AGAIN,
    MANIFEST,
    SIGNATURE,
    SUMS,
    changed,
    compare,
    digest,
    directory_hash,
    distinct,
    identity,
    parse,
    walk,
)

_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises for archives that are none."""
_SMALL = 64 << 20
"""Bytes that `SHA256SUMS`, the manifest or the signature may have."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A package whose every byte is as it was made."""

    id: str
    manifest: Manifest
    files: int
    bytes: int
    notes: tuple[str, ...]
    """What a person should know before trusting it."""
    signature: Signature | None
    native: tuple[str, ...]
    """Files that are machine code."""
    digests: Mapping[str, str]
    """Path -> SHA-256 of every file but the signature."""


def verify(package: Path, trust: Trust | None = None) -> Verified:
    """Check a package's folder or archive.

    Args:
        trust: whose signature it must have; without it a signature is read and named, not checked.

    Raises:
        PackageError: one sentence; the package must not be used.
    """
    if package.is_symlink():
        raise PackageError(f"{package} is a symbolic link; give the package itself.")
    try:
        if package.is_dir():
            sizes = {name: (package / name).stat().st_size for name in walk(package)}
            return _verify(sizes, _opener(package), trust)
        if package.is_file():
            with zipfile.ZipFile(package) as archive:
                found = members(archive)
                sizes = {name: info.file_size for name, info in found.items()}
                return _verify(sizes, lambda name: archive.open(found[name]), trust)
    except _BROKEN as error:
        raise PackageError(f"{package.name} is no readable zip ({error}); {AGAIN}.") from None
    except OSError as error:
        raise PackageError(
            f"{package} cannot be read ({error.strerror or error}); check its permissions."
        ) from None
    raise PackageError(f"There is no package {package}; give its folder or its .pareto archive.")


def _opener(folder: Path) -> Open:
    return lambda name: (folder / name).open("rb")


def _verify(sizes: dict[str, int], open_file: Open, trust: Trust | None) -> Verified:
    distinct(sizes)
    for name in (SUMS, MANIFEST):
        if name not in sizes:
            raise PackageError(f"{name} is missing; give the folder or the archive of a package.")
    for name in (SUMS, MANIFEST, SIGNATURE):
        if sizes.get(name, 0) > _SMALL:
            raise PackageError(f"{name} is impossibly large; {AGAIN}.")
    try:
        text = _content(open_file, SUMS).decode()
    except UnicodeDecodeError:
        raise PackageError(f"{SUMS} is not text; {AGAIN}.") from None
    listed = parse(text)
    compare(listed, sizes)
    digests = listed | {SUMS: identity(text).removeprefix("sha256:")}
    signature = _signature(open_file, digests, trust) if SIGNATURE in sizes else None
    if trust is not None and signature is None:
        raise unsigned()
    for name, expected in listed.items():
        try:
            with open_file(name) as file:
                found = digest(file)
        except (zipfile.BadZipFile, zlib.error):
            raise changed(name) from None
        if found != expected:
            raise changed(name)
    manifest = read(_content(open_file, MANIFEST))
    native = _check_manifest(manifest, listed, sizes, open_file)
    return Verified(
        id=identity(text),
        manifest=manifest,
        files=len(sizes),
        bytes=sum(sizes.values()),
        notes=tuple(_notes(manifest, signature, native)),
        signature=signature,
        native=native,
        digests=digests,
    )


def _content(open_file: Open, name: str) -> bytes:
    with open_file(name) as file:
        return file.read(_SMALL)


def _signature(open_file: Open, digests: dict[str, str], trust: Trust | None) -> Signature:
    content = _content(open_file, SIGNATURE)
    return read_signature(content, digests) if trust is None else check_signature(content, digests, trust)


def _check_manifest(
    manifest: Manifest, listed: dict[str, str], sizes: dict[str, int], open_file: Open
) -> tuple[str, ...]:
    """Whether the manifest is of these files; returns those that are code for the processor."""
    if pickles := [name for name in listed if is_pickle(name)]:
        raise PackageError(
            f"{pickles[0]} is a pickle, which runs code when it is read; do not use the package."
        )
    native: dict[str, None] = {}
    for component, body in manifest.components.items():
        for variant in body.variants.values():
            _check_variant(component, variant, listed, sizes)
            folder = variant.variant_directory
            native |= dict.fromkeys(
                f"{folder}/{name}" for name in _check_native(component, variant, open_file)
            )
    facts = manifest.additional_metadata
    needed = [facts.golden.image, "run.py", REQUIREMENTS, *facts.tokenizers.values()]
    needed += [facts.tokenizer] if facts.tokenizer else []
    needed += [facts.sbom] if facts.sbom else []
    needed += [requirements_file(name) for name in facts.more_wheels]
    if facts.cascade is not None:
        light = facts.cascade.light
        needed += [light.golden.image, *light.tokenizers.values(), *filter(None, [light.tokenizer])]
        if "discriminator" not in manifest.components:
            raise PackageError(f"The manifest is of a cascade and names no discriminator; {AGAIN}.")
    for name in needed:
        if name not in listed:
            raise PackageError(f"The manifest needs {name}, which the package lacks; {AGAIN}.")
    return tuple(native)


def _check_variant(component: str, variant: Variant, listed: dict[str, str], sizes: dict[str, int]) -> None:
    folder = f"{variant.variant_directory}/"
    found = {name.removeprefix(folder): value for name, value in listed.items() if name.startswith(folder)}
    declared = {file.path: file.sha256 for file in variant.additional_metadata.files}
    if found != declared or any(
        sizes[folder + file.path] != file.bytes for file in variant.additional_metadata.files
    ):
        raise PackageError(f"The files of {component} are not those its manifest lists; {AGAIN}.")
    if PurePosixPath(variant.variant_directory).name != f"sha256-{directory_hash(found)}":
        raise PackageError(f"The folder of {component} is not named by its content; {AGAIN}.")
    if variant.executor_info.studio.model_file not in declared:
        raise PackageError(f"The model file of {component} is missing; {AGAIN}.")


def _check_native(component: str, variant: Variant, open_file: Open) -> tuple[str, ...]:
    """Raises `PackageError` where the manifest does not name all that is code for the processor."""
    engine, facts = variant.executor_info.studio, variant.additional_metadata
    found = native_files(
        engine.engine,
        engine.model_file,
        [file.path for file in facts.files],
        lambda name: open_file(f"{variant.variant_directory}/{name}"),
    )
    if found != facts.native_code:
        named = found[0] if found else facts.native_code[0]
        raise PackageError(
            f"The manifest of {component} says wrongly whether {named} is machine code; do not use it."
        )
    return found


def _notes(manifest: Manifest, signature: Signature | None, native: tuple[str, ...]) -> list[str]:
    facts = manifest.additional_metadata
    unsigned = (
        "Not signed: the digests say it is unchanged, its id says which package it is, not who made it."
    )
    notes = [unsigned if signature is None else str(signature)]
    if native:
        names = ", ".join(sorted({PurePosixPath(name).name for name in native}))
        notes.append(
            f"Holds machine code ({names}): its runner loads that only with --key or --certificate, or with "
            "--allow-native."
        )
    if not facts.verified_on:
        notes.append(
            f"Built for {facts.built_for.device} ({facts.built_for.engine}), not yet verified on any device."
        )
    elif not any(check.fresh_environment for check in facts.verified_on):
        notes.append("Not verified in a fresh environment.")
    verified = {check.target.device for check in facts.verified_on} | {facts.built_for.device}
    built = {
        variant.executor_info.studio.device
        for component in manifest.components.values()
        for variant in component.variants.values()
    }
    if others := sorted(built - verified):
        notes.append(f"Built for {' and '.join(others)} too, not verified on device.")
    return notes
