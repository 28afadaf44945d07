"""What a package says of where its model came from: names and digests, no folder of this machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engines.errors import ModelError
from engines.models import safetensors_file
from engines.models.hub import HUB_ID, commit_of
from engines.models.licence import licence_of
from engines.package.manifest import File
from engines.students import KINDS
from studio.record.sources import STUDENT, TINY_DECODER, WITH

_LONGEST: Final = 80
_UNPORTABLE: Final = re.compile(r"[^\w.+-]+")


def public(source: str) -> str:
    """`MODEL + LORA + student=FILE` with the name of each file or folder only; hub ids stay whole."""
    return WITH.join(option + _name(value) + kind for option, value, kind in _parts(source))


def added(source: str) -> tuple[File, ...]:
    """The files that were given beside the model, by their contents; hub ids have none."""
    return tuple(found for found, _ in _added(source))


def added_licences(source: str) -> dict[str, str]:
    """By file of `added`, the licence that it or its repository states; without files that state none."""
    return {found.path: licence for found, path in _added(source) if (licence := _licence(path))}


def _added(source: str) -> list[tuple[File, Path]]:
    found: dict[str, tuple[File, Path]] = {}
    for _, value, _ in list(_parts(source))[1:]:
        place = Path(value).expanduser()
        files = [place] if place.is_file() else sorted(place.glob("*")) if place.is_dir() else []
        for path in files:
            if path.is_file():
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                # Contents tell apart files of one name; a package's paths hold no sign that a system forbids.
                name = f"{content[:12]}/{_UNPORTABLE.sub('_', path.name).rstrip('.')}"
                found[name] = (File(path=name, sha256=content, bytes=path.stat().st_size), path)
    return list(found.values())


def _licence(path: Path) -> str:
    """What a weights file says of itself, else the card of the hub's repository that it was fetched from.

    A card that merely lies in the same folder may be of anything.
    """
    if path.suffix != ".safetensors":
        return ""
    try:
        said = safetensors_file.metadata(path)
    except ModelError:
        said = {}
    named = said.get("modelspec.license") or said.get("license") or ""
    folder = _of_hub(path)
    return named[:_LONGEST] or (licence_of(folder[0]) if folder is not None else "")


def _of_hub(path: Path) -> tuple[Path, str] | None:
    """The snapshot that a path of the hub's cache lies in, and its repository's id."""
    for folder in (path, *path.parents):
        if commit_of(folder):
            return folder, folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return None


def _parts(source: str) -> Iterator[tuple[str, str, str]]:
    """Of each half what stands before its file (`student=`), the file, and what stands behind (`:KIND`)."""
    whole = Path(source).expanduser().exists()  # a folder may be called "a + b"
    for text in [source] if whole else source.split(WITH):
        option = next((one for one in (STUDENT, TINY_DECODER) if text.startswith(one)), "")
        value, kind = text.removeprefix(option), ""
        head, sign, tail = value.rpartition(":")
        if option == STUDENT and head and tail in KINDS:
            value, kind = head, sign + tail
        yield option, value, kind


def _name(value: str) -> str:
    path = Path(value).expanduser()
    if HUB_ID.fullmatch(value) and not path.exists() and path.suffix != ".safetensors":
        return value
    fetched = _of_hub(path.absolute())
    return path.name or value if fetched is None else fetched[1]
