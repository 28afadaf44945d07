"""A prior and the pipeline that is told it, a folder each, as the one folder of their joined pipeline.

Stable Cascade is shipped so.  The names are those of diffusers' combined
pipelines: what the prior's folder holds begins with `prior_`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from engines.errors import ModelError
from engines.models.layout import INDEX, JOINED, SECOND, read_json_file
from engines.models.licence import link_texts
from engines.paths import cache_folder, digest, link, locked, new_folder

SUFFIXES: Final = (".json", ".txt", ".model", ".safetensors")


def joined_folder(second: Path, prior: Path) -> Path:
    """A folder in the cache with links to both, once for each state of their files.

    Raises:
        ModelError: one of them is no such half.
    """
    indices = [read_json_file(folder / INDEX) for folder in (second, prior)]
    if not set(SECOND) <= set(indices[0]) or "prior" not in indices[1]:
        raise ModelError(
            f"{second} and {prior} are not the two halves of a model ({' and '.join(SECOND)}, and a prior);"
            " give `PIPELINE + PRIOR`, or one model alone."
        )
    stamps = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for folder in (second, prior)
        for path in _files(folder)
    ]
    place = cache_folder("joined") / digest(1, stamps)
    with locked(place):
        if not place.is_dir():
            with new_folder(place) as fresh:
                for folder, prefix in ((second, ""), (prior, JOINED)):
                    for path in _files(folder):
                        target = fresh / f"{prefix}{path.parent.name}" / path.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        link(path, target)
                (fresh / INDEX).write_text(json.dumps(_index(*indices), indent=2) + "\n", encoding="utf-8")
        link_texts(second, place)
    return place


def _files(folder: Path) -> list[Path]:
    """Settings and weights of the parts."""
    return sorted(path for path in folder.glob("*/*") if path.suffix in SUFFIXES)


def _index(second: dict[str, Any], prior: dict[str, Any]) -> dict[str, Any]:
    whole = str(second.get("_class_name", "")).replace("DecoderPipeline", "CombinedPipeline")
    parts = {name: entry for name, entry in second.items() if isinstance(entry, list)}
    parts |= {f"{JOINED}{name}": entry for name, entry in prior.items() if isinstance(entry, list)}
    return {"_class_name": whole, **parts}
