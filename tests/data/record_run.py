"""Keep a real run as test data: its events as JSON lines, small pictures, and what the worker answered.

    python tests/data/record_run.py RUN_FOLDER [tests/data/recorded-run]

The answers are those of the worker's own commands on that run, asked here:
`devices`, `compare` and `export` of the winner; and, where the run holds a
trained pair of a cascade (the Cascade step or `studio.work.cascade.benchmark`
make one), that pair.  Each candidate keeps its first pictures only, the cascade
those about its threshold, and paths of the machine are taken out.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from studio.plan.cascade import Cascade
from studio.plan.deferral import mistakes
from studio.record.events import Event
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.commands import perform
from studio.work.job import Job

PICTURES = 8
FEW = 2
"""Pictures of a candidate that is neither on the front nor the baseline."""
ABOUT = 24
"""Prompts of the cascade whose pictures are kept: those nearest to the threshold that is shown first."""
LARGEST = 3_000_000
"""Bytes, all in all."""
ANSWERS = "answers.json"
RUN = "recorded-run"


def reduced(event: Event, shown: frozenset[str]) -> Event:
    """Without the pictures that are not kept and without this machine's paths."""
    data: dict[str, Any] = dict(event.data)
    if event.type == "candidate.judged":
        verdict = dict(data["verdict"])
        verdict["samples"] = verdict["samples"][: PICTURES if data["id"] in shown else FEW]
        data["verdict"] = verdict
    if event.type == "run.started":
        data["folder"] = ""
        data["model"] = {**data["model"], "source": "tiny-scenes"}
    return event.model_copy(update={"data": data, "run": RUN})


def keep(folder: Path, target: Path, *names: str) -> None:
    """Copy files that are named relative to the run's folder."""
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, place)


def trained_pair(folder: Path) -> Cascade | None:
    """The pair that was trained last."""
    found = sorted(folder.glob("cascade/*/cascade.json"), key=lambda path: path.stat().st_mtime)
    return Cascade.from_json(json.loads(found[-1].read_text(encoding="utf-8"))["cascade"]) if found else None


def keep_pair(folder: Path, target: Path, pair: Cascade) -> None:
    """The pair's figures whole, and the pictures on both sides of where its slider stands first."""
    place = f"{pair.folder}/cascade.json"
    keep(folder, target, place)
    near = pair.guarded
    if near is None:
        near = min(pair.curve, key=lambda one: abs(one.share - 0.3)).threshold
    shown = sorted(range(len(pair.samples)), key=lambda at: abs(pair.samples[at].score - near))[:ABOUT]
    scores, gains, defer = (
        [one.score for one in pair.samples],
        [one.heavy_quality - one.light_quality for one in pair.samples],
        [one.defer for one in pair.samples],
    )
    worst = mistakes(scores, gains, defer, near, PICTURES)
    for at in {*shown, *worst[0], *worst[1]}:
        keep(folder, target, pair.samples[at].light_image, pair.samples[at].heavy_image)


def answers(folder: Path, target: Path, winner: str) -> dict[str, Any]:
    """Ask the worker's commands, keep the pictures that their answers name."""
    job = Job(folder.parent.parent)
    found: dict[str, Any] = {"devices": perform("devices", job, {})}
    with tempfile.TemporaryDirectory() as base:
        out = Path(base) / "tiny-scenes-fast"
        exported = perform("export", job, {"run": str(folder), "candidate": winner, "out": str(out)})
    proof = exported["proof"]
    keep(folder, target, *(proof[name] for name in ("own", "package", "difference")))
    compared = perform("compare", job, {"run": str(folder), "a": "c000", "b": winner})
    rows = compared["rows"][:PICTURES]
    keep(folder, target, *(row[side] for row in rows for side in ("a", "b")))
    text = json.dumps({**found, "export": exported, "compare": {**compared, "rows": rows}}, indent=1)
    for path, instead in ((str(out.parent), "packages"), (str(folder), ""), (folder.name, RUN)):
        text = text.replace(path, instead)
    told: dict[str, Any] = json.loads(text)
    return told


def record(folder: Path, target: Path) -> int:
    """Write events, scripts, pictures and answers; the bytes written."""
    events = list(Journal.read(folder))
    state = RunState.replay(events)
    shown = frozenset(("c000", *state.front, *(one.id for one in state.certified)))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    kept = [reduced(event, shown) for event in events]
    (target / "events.jsonl").write_text(
        "".join(event.model_dump_json() + "\n" for event in kept), encoding="utf-8"
    )
    for event in kept:
        if event.type == "candidate.judged":
            keep(folder, target, *(sample["image"] for sample in event.data["verdict"]["samples"]))
        if event.type == "candidate.proposed":
            keep(folder, target, event.data["script"])
    found = answers(folder, target, state.winner or state.front[0])
    (target / ANSWERS).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if (pair := trained_pair(folder)) is not None:
        keep_pair(folder, target, pair)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


if __name__ == "__main__":
    size = record(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "tests/data/recorded-run"))
    print(f"{size} bytes")
    sys.exit(0 if size <= LARGEST else f"More than {LARGEST} bytes; keep fewer pictures.")
