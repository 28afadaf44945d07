"""Command `diff`: what differs between two packages."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.package.difference import difference
from engines.package.verify import verify
from studio.work.job import Job


def diff(_job: Job, a: str, b: str) -> dict[str, Any]:
    """Command `diff`; both packages are verified first.

    Returns:
        `same`, `a` and `b` ({`name`, `id`, `bytes`}), `recipe`, `facts`, `numbers`, `variants` and `wheels`
        ([{`name`, `a`, `b`}...], `None` where one has none), `added`, `removed` and `changed` (files).

    Raises:
        PackageError: one of them is no package or was changed.
    """
    one, two = (verify(Path(path).expanduser()) for path in (a, b))
    found = difference(one, two)
    ids = [{"name": each.manifest.package_name, "id": each.id, "bytes": each.bytes} for each in (one, two)]
    return {"same": found.same, "a": ids[0], "b": ids[1], **asdict(found)}
