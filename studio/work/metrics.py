"""The metrics pack by command: what is here, fetch one, point to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.metrics_pack import encoders, fetch, place
from engines.metrics_pack.contents import ENTRIES, Entry
from studio.work.job import Job


def metrics(job: Job) -> dict[str, Any]:
    """Command `metrics`: every network of the pack; fetches nothing."""
    del job
    return {"networks": [_facts(one) for one in ENTRIES.values()]}


def metrics_get(job: Job, name: str) -> dict[str, Any]:
    """Command `metrics_get`: download a network, once; whoever calls has the user's consent.

    Raises:
        MetricsError: it cannot be fetched, or is not what was published.
    """

    def progress(done: int, total: int, doing: str) -> None:
        job.check()
        job.progress(done, total, doing)

    return _facts(fetch.get(name, progress).entry)


def metrics_use(job: Job, name: str, path: str) -> dict[str, Any]:
    """Command `metrics_use`: point to a network's file or folder on disk.

    Raises:
        MetricsError: there is none, or it is not whole.
    """
    del job
    return _facts(place.use(name, Path(path), encoders.check).entry)


def _facts(entry: Entry) -> dict[str, Any]:
    found = place.find(entry.name)
    facts = {
        "name": entry.name,
        "title": entry.title,
        "gives": entry.gives,
        "licence": entry.licence,
        "source": entry.source,
        "weights": entry.weights,
        "size": entry.size,
        "sha256": entry.sha256,
        "present": found is not None,
    }
    if found is None:
        return {**facts, "text": place.missing(entry.name)}
    words = {"downloaded": "downloaded", "pointed": "pointed to", "torch hub": "torchvision's own copy"}
    text = f"{words[found.origin]}: {found.path}"
    if not found.is_published:
        text += " (not the published weights: figures compare with nobody else's)"
    here = {"path": str(found.path), "published": found.is_published, "text": text}
    return {**facts, **here, "size": found.size, "sha256": found.sha256}
