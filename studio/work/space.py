"""The cache by command: what it holds, and emptying it."""

from __future__ import annotations

from typing import Any

from engines import kept
from engines.paths import cache_folder
from studio.work.job import Job


def space(job: Job) -> dict[str, Any]:
    """Command `space`: what the cache holds.

    Returns:
        `folder`, `free` (bytes), `kinds`: [{`name`, `title`, `loses`, `bytes`, `files`}].
    """
    del job
    kinds = [
        {
            "name": one.kind.name,
            "title": one.kind.title,
            "loses": one.kind.loses,
            "bytes": one.bytes,
            "files": one.files,
        }
        for one in kept.holdings()
        if one.kind is not kept.OTHER or one.files
    ]
    return {"folder": str(cache_folder()), "free": kept.free(), "kinds": kinds}


def empty(job: Job, kinds: list[str]) -> dict[str, Any]:
    """Command `empty`: remove these kinds from the cache; `all` for everything.

    Returns:
        `freed` (bytes), and what `space` says afterwards.

    Raises:
        EngineError: no such kind, or it cannot be removed.
    """
    job.progress(0, 1, "Emptying the cache")
    names = [kind.name for kind in (*kept.KINDS, kept.OTHER)] if kinds == ["all"] else kinds
    freed = kept.empty(names)
    return {"freed": freed, **space(job)}
