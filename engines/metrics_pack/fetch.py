"""Fetching a network of the pack: resumed where it broke off, checked before it is used."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from engines.errors import MetricsError, ModelError
from engines.metrics_pack.contents import Entry
from engines.metrics_pack.place import Place, entry, find, home, record, sha256
from engines.models import hub_token
from engines.models.hub import OnProgress, explained, progress_bar

_CHUNK: Final = 1 << 20
_PATIENCE: Final = 30.0
"""Seconds without a byte after which a connection is given up."""


def get(name: str, on_progress: OnProgress) -> Place:
    """Download a network of the pack, unless it is here already.

    Raises:
        MetricsError: it cannot be fetched, or what came is not what was published.
    """
    wanted = entry(name)
    here = find(wanted.name)
    if here is not None and here.is_published:
        return here
    folder = home(wanted.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fetched = _from_hub if wanted.is_folder else _file
        path = fetched(wanted, folder, on_progress)
    except OSError as error:
        raise MetricsError(
            f"{wanted.title} cannot be written to {folder} ({error.strerror or error});"
            " free some space or set PARETO_STUDIO_CACHE, then try again: it goes on where it broke off."
        ) from error
    weights = path / wanted.weights if wanted.is_folder else path
    on_progress(wanted.size >> 20, wanted.size >> 20, f"Checking {wanted.weights}")
    content = sha256(weights)
    if content != wanted.sha256:
        weights.unlink()
        raise MetricsError(
            f"What came as {wanted.weights} is not what was published (SHA-256 {content[:16]}…, expected"
            f" {wanted.sha256[:16]}…), so it was removed; try again, or get it elsewhere and use"
            f" `metrics use {name} PATH`."
        )
    return record(wanted, path, "downloaded", content)


def _from_hub(wanted: Entry, folder: Path, on_progress: OnProgress) -> Path:
    import huggingface_hub

    def told(done: int, total: int, doing: str) -> None:
        on_progress(done, max(total, wanted.size >> 20), doing)

    try:
        with explained(wanted.source, f"use `pareto-studio metrics use {wanted.name} PATH`"):
            huggingface_hub.snapshot_download(
                wanted.source,
                revision=wanted.revision,
                allow_patterns=[wanted.weights, *wanted.settings],
                local_dir=folder,
                token=hub_token.find(),
                tqdm_class=progress_bar(told, wanted.source),
            )
    except ModelError as error:
        raise MetricsError(str(error)) from error
    if not (folder / wanted.weights).is_file():
        raise MetricsError(f"The hub's {wanted.source} holds no {wanted.weights}; try again later.")
    return folder


def _file(wanted: Entry, folder: Path, on_progress: OnProgress) -> Path:
    """One file from its address; a part that is here already is not fetched again."""
    path, part = folder / wanted.weights, folder / f"{wanted.weights}.part"
    start = part.stat().st_size if part.is_file() else 0
    if start < wanted.size:
        request = urllib.request.Request(wanted.source, headers={"User-Agent": "pareto-studio"})  # noqa: S310 - a fixed address
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - a fixed address
                _write(answer, part, wanted, on_progress)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise MetricsError(
                f"{wanted.weights} cannot be fetched from {wanted.source} ({reason}); connect to the network"
                f" and try again, it goes on where it broke off, or use `metrics use {wanted.name} PATH`."
            ) from error
    if part.stat().st_size < wanted.size:
        raise MetricsError(
            f"The connection ended after {part.stat().st_size >> 20} of {wanted.size >> 20} MiB of"
            f" {wanted.weights}; try again, it goes on where it broke off."
        )
    part.replace(path)
    return path


def _write(answer: Any, part: Path, wanted: Entry, on_progress: OnProgress) -> None:
    goes_on = answer.status == 206  # else the server sends all of it again
    with part.open("ab" if goes_on else "wb") as file:
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            on_progress(file.tell() >> 20, wanted.size >> 20, f"Downloading {wanted.weights}, MiB")
