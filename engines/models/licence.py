"""What a model's own folder says of its licence: the head of its card, else its licence file."""

from __future__ import annotations

import importlib
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, Final

from engines.paths import link

CARD: Final = "README.md"
_STARTS: Final = ("license", "licence", "copying")
_LONGEST: Final = 80


def tells(path: PurePath) -> bool:
    """Whether a file at the top of a model's folder is its card or its licence."""
    return path.name == CARD or _is_licence(path)


def _is_licence(path: PurePath) -> bool:
    return path.name.lower().startswith(_STARTS) and path.suffix.lower() in ("", ".txt", ".md")


def licence_file(folder: Path) -> Path | None:
    """The text of the licence, where it lies beside the model."""
    return next((path for path in sorted(folder.glob("*")) if _is_licence(path) and path.is_file()), None)


def licence_of(folder: Path) -> str:
    """A name as the card gives it (`license`, or `license_name` of another), or the text's first line."""
    if name := _of_card(folder / CARD):
        return name
    path = licence_file(folder)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None else []
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.strip(" #*\t")[:_LONGEST] for line in lines if line.strip(" #*\t")), "")


def _of_card(card: Path) -> str:
    if not card.is_file():
        return ""
    from huggingface_hub import metadata_load

    parser: Any = importlib.import_module("yaml")  # the hub's own, which has no types

    try:
        found = metadata_load(card) or {}
    except (OSError, ValueError, parser.YAMLError):  # a card is anybody's text
        return ""
    said = found.get("license")
    if said == "other":
        said = found.get("license_name") or said
    names = said if isinstance(said, list) else [said]
    return ", ".join(str(name)[:_LONGEST] for name in names if name)


def link_texts(folder: Path, target: Path) -> None:
    """Let a model that is made from another one keep its card and licence."""
    for path in folder.glob("*"):
        if tells(path) and path.is_file() and not (target / path.name).exists():
            with suppress(OSError):  # a candidate's process may only read the cache
                link(path, target / path.name)
