"""Two candidates over the same prompts and seeds: pictures side by side, and numbers for each pair."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from studio.record.journal import Journal
from studio.record.settings import write_atomically
from studio.record.state import RunState
from studio.work.consent import agree
from studio.work.convert import finite_metrics
from studio.work.job import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from agent.evaluate.prompts import Asked
    from engines.measure.quality import Quality
    from studio.work.drawing import Drawing

    Pixels = NDArray[np.uint8]

FOLDER: Final = "compare"
FORMAT: Final = 2
AT_ONCE: Final = 4


def compare(
    job: Job, run: str, a: str, b: str, count: int = 16, without_walls: bool = False
) -> dict[str, Any]:
    """Command `compare`; `count` pictures of each, those of the gate first.

    Raises:
        RunError, JournalError: no such run or candidate, or a script that fails.
        EngineError: the run's model is no longer there.
    """
    agree(without_walls=without_walls)
    folder = job.run_folder(run)
    state = RunState.replay(Journal.read(folder))
    first, second = state.candidate(a).id, state.candidate(b).id
    path = folder / FOLDER / f"{first}--{second}-{count}.json"
    found = _cached(path, folder)
    if found is None:
        found = _make(job, folder, state, first, second, count)
        write_atomically(path, json.dumps({"format": _format(), **found}))
    parity = {name: words for name in (first, second) if (words := _parity(state, name))}
    return {"run": folder.name, "folder": str(folder), **found, "parity": parity}


def _cached(path: Path, folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        complete = all((folder / row[side]).is_file() for row in found["rows"] for side in ("a", "b"))
        return found if complete and found.pop("format") == _format() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _format() -> list[Any]:
    """What a kept comparison has to be: measured by what the metrics pack has now."""
    from engines.metrics_pack import place
    from engines.metrics_pack.contents import ENTRIES

    here = [place.find(name) for name in ENTRIES]
    return [FORMAT, *(None if one is None else one.sha256 for one in here)]


def _make(job: Job, folder: Path, state: RunState, a: str, b: str, count: int) -> dict[str, Any]:
    import numpy as np

    from agent.evaluate.prompts import Prompts
    from agent.evaluate.reference import read_picture
    from engines.measure.enlargement import small_side
    from engines.measure.quality import choose
    from engines.workload import Workload
    from studio.work.drawing import Drawing

    assert state.started is not None
    asked = Prompts(tuple(state.started.workload.get("prompts", ()))).gate(count)
    with Drawing(folder, state) as drawing:
        names = {name: _pictures(job, drawing, state, name, asked) for name in (a, b)}
        model = drawing.model
    job.progress(count, count, "measuring")
    frames = _frames(state, b)
    pixels = {
        name: np.stack([read_picture(folder / file, frames) for file in names[name]]) for name in (a, b)
    }
    side = small_side(model, Workload.model_validate(state.started.workload))
    quality = choose(model.path, asked.prompts, small=side, everything=True)
    curves = quality.curves(pixels[a], pixels[b])
    values = quality.values(pixels[a], pixels[b], asked.prompts, curves)
    values = _of_either(values, quality, pixels[b], asked.prompts)
    given = _keep_given(folder, asked.prompts, side)
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
                "frames": frames,
                "curves": {name: [float(value) for value in found[index]] for name, found in curves.items()},
                "given": given[index] if given else "",
            }
        )
    rows.sort(key=_worst)
    mean = {
        name: float(np.mean([row["metrics"][name] for row in rows if name in row["metrics"]]))
        for name in values
    }
    found = {"a": a, "b": b, "metrics": list(values), "mean": mean, "rows": rows}
    return {**found, **of_sets(pixels[a], pixels[b], pairs=True)}


def of_sets(ours: Pixels, theirs: Pixels, *, pairs: bool) -> dict[str, Any]:
    """How far two sets of pictures or clips are apart as sets, by what the metrics pack has.

    `sets`: name, title, value, low and high (95 %) of each; `sets_note`: what is not given, and why.
    """
    from engines.measure import sets
    from engines.measure.encoded import features
    from engines.metrics_pack import encoders, place

    found: list[dict[str, Any]] = []
    notes: list[str] = []
    least = min(len(ours), len(theirs))

    def add(name: str, title: str, kernel: sets.Kernel, one: sets.Features, other: sets.Features) -> None:
        interval = sets.discrepancy(kernel, one, other, pairs=pairs)
        fact = {"name": name, "title": title, "value": interval.value}
        found.append({**fact, "low": interval.low, "high": interval.high})

    if place.find("clip") is None:
        notes.append(place.missing("clip"))
    else:
        encode = encoders.clip().images
        add("cmmd", "CMMD (CLIP)", sets.gaussian, features(encode, ours), features(encode, theirs))
    if place.find("dino") is None:
        notes.append(place.missing("dino"))
    else:
        encode = encoders.dino().images
        one, other = features(encode, ours), features(encode, theirs)
        add("kid", "KID (DINOv2)", sets.cubic, one, other)
        if least >= sets.LEAST_FOR_FRECHET:
            value = sets.frechet(one, other)
            found.append({"name": "fd", "title": "Fréchet distance (DINOv2)", "value": value})
    if least < sets.LEAST_FOR_FRECHET:
        notes.append(sets.why_no_frechet(least))
    return {"sets": found, "sets_note": " ".join(notes)}


def _parity(state: RunState, name: str) -> str:
    """How near to eager a candidate's engines are, by the worst one; empty where that is not known."""
    verdict = state.candidate(name).verdict
    worst = verdict.parity if verdict is not None else None
    return f"{worst.likeness} ({worst.component})" if worst is not None else ""


def _frames(state: RunState, name: str) -> int:
    """Frames of a candidate's clips; 0 where it draws pictures."""
    verdict = state.candidate(name).verdict
    return verdict.samples[0].frames if verdict is not None and verdict.samples else 0


def _of_either(
    values: dict[str, Any], quality: Quality, theirs: Pixels, prompts: Sequence[str]
) -> dict[str, Any]:
    """What is said of one picture and not of a pair, for either side: `adherence_a`, `adherence_b`..."""
    from engines.measure.encoded import clip_score

    found = {name: value for name, value in values.items() if name not in ("cmmd", "clip_loss")}
    others: dict[str, Callable[[], Any]] = {
        "consistency": lambda: quality.consistency(theirs, prompts),
        "clip": lambda: clip_score(theirs, prompts),
    }
    reader = quality.reader
    if reader is not None:
        others["adherence"] = lambda: reader.adherence(theirs, prompts)
    for name, other in others.items():
        if name in found:
            found[f"{name}_a"] = found.pop(name)
            found[f"{name}_b"] = other()
    return found


def _keep_given(folder: Path, prompts: Sequence[str], side: int) -> list[str]:
    """The small pictures that the model makes larger, kept in the run; nothing for other models."""
    from engines.measure.enlargement import given

    if not side:
        return []
    names = [f"{FOLDER}/given/{index:03d}.png" for index in range(len(prompts))]
    for name, picture in zip(names, given(prompts, (side, side)), strict=True):
        save_picture(folder / name, picture)
    return names


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
    end = "/000.png" if _frames(state, name) else ".png"
    files: list[str] = []
    missing: list[int] = []
    for index, wanted in enumerate(zip(asked.prompts, asked.seeds, strict=True)):
        file = known.get(wanted, f"{FOLDER}/{name}/{index:03d}{end}")
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
    """Write a PNG (H, W, 3) under a temporary name, then rename it; a clip's frames beside its first."""
    from PIL import Image

    from agent.evaluate.reference import frame

    if image.ndim == 4:
        for number in reversed(range(len(image))):  # the first one last: where it is, all are
            save_picture(frame(path, number), image[number])
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    Image.fromarray(image).save(fresh, format="PNG")
    fresh.replace(path)
