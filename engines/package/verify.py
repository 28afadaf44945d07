"""Decide whether a package may be used, before anything in it is loaded.

Works on the folder and on the `.zip` alike; nothing is extracted.  Digests
say that a package is as it was made; the id says which one it is.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from engines.errors import PackageError
from engines.package.manifest import Manifest, Variant, read
from engines.package.sums import (
    AGAIN,
    MANIFEST,
    SUMS,
    changed,
    compare,
    digest,
    directory_hash,
    identity,
    parse,
    safe,
    walk,
)

Open = Callable[[str], AbstractContextManager[IO[bytes]]]

_SMALL = 64 << 20
"""Bytes that `SHA256SUMS` or the manifest may have."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A package whose every byte is as it was made."""

    id: str
    manifest: Manifest
    files: int
    bytes: int
    notes: tuple[str, ...]
    """What a person should know before trusting it."""


def verify(package: Path) -> Verified:
    """Check a package folder or `.zip`.

    Raises:
        PackageError: one sentence; the package must not be used.
    """
    if package.is_symlink():
        raise PackageError(f"{package} is a symbolic link; give the package itself.")
    try:
        if package.is_dir():
            return _verify(
                {name: (package / name).stat().st_size for name in walk(package)}, _opener(package)
            )
        if package.is_file():
            with zipfile.ZipFile(package) as archive:
                members = _members(archive)
                return _verify(
                    {name: info.file_size for name, info in members.items()},
                    lambda name: archive.open(members[name]),
                )
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise PackageError(f"{package.name} is no readable zip ({error}); {AGAIN}.") from None
    except OSError as error:
        raise PackageError(
            f"{package} cannot be read ({error.strerror or error}); check its permissions."
        ) from None
    raise PackageError(f"There is no package {package}; give its folder or its .zip.")


def _opener(folder: Path) -> Open:
    return lambda name: (folder / name).open("rb")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Files of a zip by path below the package's folder.

    Raises:
        PackageError: unsafe, repeated, encrypted or linked entries, or not one package.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for info in archive.infolist():
        # zipfile itself rewrites `\\` and cuts names at NUL; the name as stored is what counts.
        name = safe(info.orig_filename.rstrip("/") if info.is_dir() else info.orig_filename)
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise PackageError(f"{name} in the zip is a link or no ordinary file; {AGAIN}.")
        if info.flag_bits & 0x1:
            raise PackageError(f"{name} in the zip is encrypted; give a package without a password.")
        if info.is_dir():
            continue
        if name.casefold() in folded:
            raise PackageError(f"{name} is in the zip twice; {AGAIN}.")
        folded.add(name.casefold())
        found[name] = info
    if SUMS in found:
        return found
    tops = {PurePosixPath(name).parts[0] for name in found}
    if len(tops) != 1:
        raise PackageError(f"The zip holds no {SUMS}; give the .zip of a package.")
    top = f"{tops.pop()}/"
    return {name.removeprefix(top): info for name, info in found.items()}


def _verify(sizes: dict[str, int], open_file: Open) -> Verified:
    for name in (SUMS, MANIFEST):
        if name not in sizes:
            raise PackageError(f"{name} is missing; give the folder or the .zip of a package.")
        if sizes[name] > _SMALL:
            raise PackageError(f"{name} is impossibly large; {AGAIN}.")
    with open_file(SUMS) as file:
        try:
            text = file.read(_SMALL).decode()
        except UnicodeDecodeError:
            raise PackageError(f"{SUMS} is not text; {AGAIN}.") from None
    listed = parse(text)
    compare(listed, sizes)
    for name, expected in listed.items():
        try:
            with open_file(name) as file:
                found = digest(file)
        except zipfile.BadZipFile:
            raise changed(name) from None
        if found != expected:
            raise changed(name)
    with open_file(MANIFEST) as file:
        manifest = read(file.read(_SMALL))
    for component, body in manifest.components.items():
        for variant in body.variants.values():
            _check_variant(component, variant, listed, sizes)
    facts = manifest.additional_metadata
    needed = [facts.golden.image, "run.py", "requirements.txt", *facts.tokenizers.values()]
    needed += [facts.tokenizer] if facts.tokenizer else []
    if facts.cascade is not None:
        light = facts.cascade.light
        needed += [light.golden.image, *light.tokenizers.values(), *filter(None, [light.tokenizer])]
        if "discriminator" not in manifest.components:
            raise PackageError(f"The manifest is of a cascade and names no discriminator; {AGAIN}.")
    for name in needed:
        if name not in listed:
            raise PackageError(f"The manifest needs {name}, which the package lacks; {AGAIN}.")
    return Verified(identity(text), manifest, len(listed) + 1, sum(sizes.values()), tuple(_notes(manifest)))


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


def _notes(manifest: Manifest) -> list[str]:
    facts = manifest.additional_metadata
    notes = ["Not signed: the digests say it is unchanged, its id says which package it is, not who made it."]
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
