"""Keep a real run as test data: its events as JSON lines, and small pictures.

    python tests/data/record_run.py RUN_FOLDER [tests/data/recorded-run]

Each candidate keeps its first pictures only, and paths of the machine are taken out.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from studio.record.events import Event
from studio.record.journal import Journal

PICTURES = 8
LARGEST = 2_000_000
"""Bytes, all in all."""


def reduced(event: Event) -> Event:
    """Without the pictures that are not kept and without this machine's paths."""
    data: dict[str, Any] = dict(event.data)
    if event.type == "candidate.judged":
        verdict = dict(data["verdict"])
        verdict["samples"] = verdict["samples"][:PICTURES]
        data["verdict"] = verdict
    if event.type == "run.started":
        data["folder"] = ""
        data["model"] = {**data["model"], "source": "tiny-scenes"}
    return event.model_copy(update={"data": data, "run": "recorded-run"})


def record(folder: Path, target: Path) -> int:
    """Write `events.jsonl` and the pictures; the bytes written."""
    events = [reduced(event) for event in Journal.read(folder)]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "events.jsonl").write_text(
        "".join(event.model_dump_json() + "\n" for event in events), encoding="utf-8"
    )
    for event in events:
        if event.type == "candidate.judged":
            for sample in event.data["verdict"]["samples"]:
                picture = target / sample["image"]
                picture.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / sample["image"], picture)
        if event.type == "candidate.proposed":
            script = target / event.data["script"]
            script.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / event.data["script"], script)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


if __name__ == "__main__":
    size = record(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "tests/data/recorded-run"))
    print(f"{size} bytes")
    sys.exit(0 if size <= LARGEST else f"More than {LARGEST} bytes; keep fewer pictures.")
