"""Two candidates over the same prompts and seeds: pictures side by side, and numbers for each pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from studio.record.journal import Journal
from studio.record.settings import write_atomically
from studio.record.state import RunState
from studio.work.convert import finite_metrics
from studio.work.job import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from agent.evaluate.prompts import Asked
    from studio.work.drawing import Drawing

    Pixels = NDArray[np.uint8]

FOLDER: Final = "compare"
FORMAT: Final = 1
AT_ONCE: Final = 4


def compare(job: Job, run: str, a: str, b: str, count: int = 16) -> dict[str, Any]:
    """Command `compare`; `count` pictures of each, those of the gate first.

    Raises:
        RunError, JournalError: no such run or candidate, or a script that fails.
        EngineError: the run's model is no longer there.
    """
    folder = job.run_folder(run)
    state = RunState.replay(Journal.read(folder))
    first, second = state.candidate(a).id, state.candidate(b).id
    path = folder / FOLDER / f"{first}--{second}-{count}.json"
    found = _cached(path, folder)
    if found is None:
        found = _make(job, folder, state, first, second, count)
        write_atomically(path, json.dumps({"format": FORMAT, **found}))
    return {"run": folder.name, "folder": str(folder), **found}


def _cached(path: Path, folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        complete = all((folder / row[side]).is_file() for row in found["rows"] for side in ("a", "b"))
        return found if complete and found.pop("format") == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(job: Job, folder: Path, state: RunState, a: str, b: str, count: int) -> dict[str, Any]:
    import numpy as np

    from agent.evaluate.prompts import Prompts
    from engines.measure.quality import choose
    from studio.work.drawing import Drawing

    assert state.started is not None
    asked = Prompts(tuple(state.started.workload.get("prompts", ()))).gate(count)
    with Drawing(folder, state) as drawing:
        names = {name: _pictures(job, drawing, state, name, asked) for name in (a, b)}
        model = drawing.model.path
    job.progress(count, count, "measuring")
    pixels = {name: np.stack([_read(folder / file) for file in names[name]]) for name in (a, b)}
    quality = choose(model, asked.prompts)
    values = quality.values(pixels[a], pixels[b], asked.prompts)
    if "adherence" in values and quality.reader is not None:
        values["adherence_a"] = values.pop("adherence")
        values["adherence_b"] = quality.reader.adherence(pixels[b], asked.prompts)
    rows: list[dict[str, Any]] = []
    for index, (prompt, seed) in enumerate(zip(asked.prompts, asked.seeds, strict=True)):
        metrics = finite_metrics({name: float(found[index]) for name, found in values.items()})
        rows.append(
            {
                "prompt": prompt,
                "seed": seed,
                "a": names[a][index],
                "b": names[b][index],
                "metrics": metrics,
            }
        )
    rows.sort(key=_worst)
    mean = {
        name: float(np.mean([row["metrics"][name] for row in rows if name in row["metrics"]]))
        for name in values
    }
    return {"a": a, "b": b, "metrics": list(values), "mean": mean, "rows": rows}


def _worst(row: dict[str, Any]) -> float:
    metrics = row["metrics"]
    found: float = (
        -metrics["lpips"] if "lpips" in metrics else metrics.get("haarpsi", metrics.get("psnr", 0.0))
    )
    return found


def _pictures(job: Job, drawing: Drawing, state: RunState, name: str, asked: Asked) -> list[str]:
    """PNG names inside the run's folder: the gate's where prompt and seed are the same, else drawn."""
    verdict = state.candidate(name).verdict
    known = {(sample.prompt, sample.seed): sample.image for sample in (verdict.samples if verdict else ())}
    files: list[str] = []
    missing: list[int] = []
    for index, wanted in enumerate(zip(asked.prompts, asked.seeds, strict=True)):
        file = known.get(wanted, f"{FOLDER}/{name}/{index:03d}.png")
        files.append(file)
        if not (drawing.folder / file).is_file():
            missing.append(index)
    for start in range(0, len(missing), AT_ONCE):
        part = missing[start : start + AT_ONCE]
        job.progress(len(asked) - len(missing) + start, len(asked), f"drawing with {name}")
        answer = drawing.draw(name, [asked.prompts[i] for i in part], [asked.seeds[i] for i in part])
        for index, image in zip(part, answer.images, strict=True):
            save_picture(drawing.folder / files[index], image)
    return files


def save_picture(path: Path, image: Pixels) -> None:
    """Write a PNG (H, W, 3) under a temporary name, then rename it."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    Image.fromarray(image).save(fresh, format="PNG")
    fresh.replace(path)


def _read(path: Path) -> Pixels:
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)
