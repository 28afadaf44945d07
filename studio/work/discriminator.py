"""Train the discriminator of a cascade on the user's own pair, and say what each threshold is worth."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import CascadeError
from studio.plan.cascade import Cascade, Sample, Scorer
from studio.plan.deferral import Pairs, curve, guarded_threshold
from studio.plan.discrimination import brier, reliability, roc_auc
from studio.record.events import RunStarted
from studio.record.journal import Journal
from studio.record.settings import write_atomically
from studio.record.state import CandidateState, RunState
from studio.work.cascade.pictures import Album, make_pictures, practise
from studio.work.job import Job

if TYPE_CHECKING:
    from engines.models.model import Model

Floats = NDArray[np.float64]

FOLDER: Final = "cascade"
RESULT: Final = "cascade.json"
NETWORK: Final = "discriminator.safetensors"
READER: Final = "reader.safetensors"
COUNT: Final = 240
PRACTICE: Final = 4
"""Pictures of the light candidate alone, for each pair."""
SPARED: Final = 4
"""How many times as long heavy must take for light pictures to be cheap."""
LEAST_PROMPTS: Final = 24
LEAST_OF_A_LABEL: Final = 6
MARGIN: Final = 0.05
"""Adherence by which heavy must be better: less than one attribute of any caption."""
GUARDED_RATE: Final = 0.1
SEEDS: Final = 1 << 41
"""Seeds and captions of their own: no prompt decides here that was judged on elsewhere with the same seed."""
PRACTICE_SEEDS: Final = 1 << 43
CAPTIONS: Final = 41_000

OnProgress = Callable[[int, int, str], None]


def discriminator(
    job: Job,
    run: str,
    light: str,
    heavy: str,
    prompts: list[str] | None = None,
    count: int = COUNT,
    margin: float = MARGIN,
    seed: int = 0,
) -> dict[str, Any]:
    """Command `discriminator`; the same request is answered at once the second time.

    Args:
        run: id or folder of a run.
        light: candidate that answers first; `heavy`: candidate that the rest is deferred to.
        prompts: the user's own; empty: the run's, or held-out captions, half of them hard.
        count: how many pairs; given prompts are used in turn with other seeds.
        margin: quality by which the heavy picture must be better to count as better.

    Returns:
        `run`, `network` (the saved weights, relative to the run folder) and `cascade`
        (`Cascade.to_json()`); `studio.plan.cascade.Cascade.from_json` reads the whole.

    Raises:
        CascadeError: a pair or prompts from which nothing can be learned.
        RunError, JournalError: no such run or candidate.
    """
    folder = job.run_folder(run)
    found = train(
        folder,
        light,
        heavy,
        prompts=prompts,
        count=count,
        margin=margin,
        seed=seed,
        on_progress=job.progress,
    )
    return {"run": folder.name, "network": f"{found.folder}/{NETWORK}", "cascade": found.to_json()}


@dataclass(frozen=True, eq=False)
class _Asked:
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    hard: tuple[bool | None, ...]


def train(
    run_folder: Path,
    light: str,
    heavy: str,
    *,
    prompts: Sequence[str] | None = None,
    count: int = COUNT,
    margin: float = MARGIN,
    seed: int = 0,
    on_progress: OnProgress = lambda _done, _total, _doing: None,
) -> Cascade:
    """See `discriminator`."""
    from engines.models.load import open_model

    on_progress(0, 0, "Reading the run")
    state = RunState.replay(Journal.read(run_folder))
    pair = _pair(state, light, heavy)
    started = state.started
    assert started is not None
    model = open_model(started.model.source)
    if model.hash != started.model.hash:
        raise CascadeError(
            f"The model {started.model.name} was changed after the run; put the old one back or run again."
        )
    asked = _ask(started, model, prompts, count, seed)
    place = run_folder / FOLDER / f"{pair[0].id}-{pair[1].id}"
    key = _key(run_folder, started, pair, asked, margin, seed)
    if (known := _known(place, key)) is not None:
        return known
    pictures = 2 * len(asked.prompts)
    total = pictures + pictures // 2
    albums = make_pictures(
        run_folder,
        state,
        pair,
        asked.prompts,
        asked.seeds,
        lambda done, doing: on_progress(done, total, doing),
    )
    on_progress(pictures, total, "Measuring adherence")
    quality = _quality(model, asked, albums)
    extra = _practice_prompts(asked, albums, quality, seed)
    practice = None
    if extra[0]:
        images = practise(
            run_folder, state, pair[0], *extra, lambda _done, doing: on_progress(pictures, total, doing)
        )
        practice = _practice(model, asked, quality, extra[0], images, margin)
    made = _learn(
        asked,
        albums,
        quality,
        margin,
        seed,
        practice,
        lambda share, doing: on_progress(pictures + int(share * (total - pictures)), total, doing),
    )
    place.mkdir(parents=True, exist_ok=True)
    made.save(place / NETWORK)
    found = made.cascade(pair, place.relative_to(run_folder).as_posix())
    write_atomically(place / RESULT, json.dumps({"key": key, "cascade": found.to_json()}))
    on_progress(total, total, "Done")
    return found


def _pair(state: RunState, light: str, heavy: str) -> tuple[CandidateState, CandidateState]:
    pair = (state.candidate(light), state.candidate(heavy))
    if pair[0].id == pair[1].id:
        raise CascadeError("Light and heavy are the same candidate; choose two.")
    for one in pair:
        if one.verdict is None or one.verdict.state == "failed":
            raise CascadeError(f"{one.id} has not passed; choose candidates that did.")
    return pair


def _ask(started: RunStarted, model: Model, prompts: Sequence[str] | None, count: int, seed: int) -> _Asked:
    """Prompts, their seeds, and whether they are hard, where the grammar says so."""
    if not LEAST_PROMPTS <= count <= 5000:
        raise CascadeError(f"{count} pairs cannot be used; ask for {LEAST_PROMPTS} to 5000.")
    seeds = tuple(SEEDS + seed * 10_000 + at for at in range(count))
    given = tuple(text.strip() for text in prompts or started.workload.get("prompts") or () if text.strip())
    if given:
        if len(set(given)) < 8:
            raise CascadeError("A discriminator needs at least 8 different prompts; give more.")
        return _Asked(tuple(given[at % len(given)] for at in range(count)), seeds, (None,) * count)
    if model.prompt_source != "scenes":
        raise CascadeError(f"{model.name} has no prompts of its own; give a file with your prompts.")
    from engines.scenes.grammar import captions

    easy = captions(count - count // 2, CAPTIONS + seed, hard=False)
    hard = captions(count // 2, CAPTIONS + seed, hard=True)
    mixed = [text for both in zip(easy, hard, strict=False) for text in both] + easy[len(hard) :]
    is_hard = set(hard)
    return _Asked(tuple(mixed), seeds, tuple(text in is_hard for text in mixed))


def _practice_prompts(
    asked: _Asked, albums: tuple[Album, Album], quality: _Quality, seed: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Captions for pictures of the light candidate alone; none where they are dear or cannot be judged."""
    cheap = SPARED * float(np.median(albums[0].seconds)) < float(np.median(albums[1].seconds))
    if not cheap or quality.metric != "adherence" or None in asked.hard:
        return (), ()
    from engines.scenes.grammar import captions

    count = PRACTICE * len(asked.prompts)
    drawn = captions(count // 2, CAPTIONS + seed + 500, hard=False)
    drawn += captions(count - count // 2, CAPTIONS + seed + 500, hard=True)
    known = set(asked.prompts)
    prompts = tuple(text for text in dict.fromkeys(drawn) if text not in known)
    return prompts, tuple(PRACTICE_SEEDS + seed * 100_000 + at for at in range(len(prompts)))


def _practice(
    model: Model, asked: _Asked, quality: _Quality, prompts: tuple[str, ...], images: Any, margin: float
) -> Any:
    """Light pictures with a guess of their label: heavy is as good as it is on the pairs' kind of caption."""
    from engines.scenes.grammar import parse
    from engines.scenes.reader import load_reader
    from studio.work.cascade.network import Practice

    own = load_reader(model.path / READER).adherence(images, prompts)
    groups = [parse(prompt).groups for prompt in prompts]
    many = np.array([len(each) > 1 or each[0].count > 1 for each in groups])
    hard = np.array([bool(one) for one in asked.hard])
    usual = [
        float(quality.heavy[hard == kind].mean()) if (hard == kind).any() else 1.0 for kind in (False, True)
    ]
    return Practice(images, prompts, np.where(many, usual[1], usual[0]) - own > margin)


def _key(
    folder: Path,
    started: RunStarted,
    pair: tuple[CandidateState, CandidateState],
    asked: _Asked,
    margin: float,
    seed: int,
) -> str:
    scripts = []
    for one in pair:
        try:
            scripts.append(hashlib.sha256((folder / one.proposal.script).read_bytes()).hexdigest())
        except OSError:
            raise CascadeError(f"The script of {one.id} is gone from the run folder.") from None
    facts = [2, started.model.hash, started.workload, scripts, asked.prompts, asked.seeds, margin, seed]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _known(place: Path, key: str) -> Cascade | None:
    try:
        data = json.loads((place / RESULT).read_text(encoding="utf-8"))
        if data["key"] == key and (place / NETWORK).is_file():
            return Cascade.from_json(data["cascade"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


@dataclass(frozen=True, eq=False)
class _Quality:
    """Of light and heavy, (N,) each, and what it means."""

    metric: str
    light: Floats
    heavy: Floats
    notes: tuple[str, ...] = ()


def _quality(model: Model, asked: _Asked, albums: tuple[Album, Album]) -> _Quality:
    """Adherence where the reader can say something of every prompt, else likeness to the heavy picture."""
    path = model.path / READER
    if path.is_file():
        from engines.scenes.reader import load_reader

        reader = load_reader(path)
        light, heavy = (reader.adherence(album.images, asked.prompts) for album in albums)
        if np.isfinite(light).all():
            return _Quality("adherence", light, heavy)
    from engines.measure.images import haarpsi

    light = haarpsi(albums[0].images, albums[1].images)
    if not np.isfinite(light).all():
        raise CascadeError("The pictures are too small to be compared; choose another pair.")
    note = (
        "Adherence cannot be read for these prompts: quality is the likeness to the heavy picture (HaarPSI), "
        "which measures difference and not worth."
    )
    return _Quality("likeness", light, np.ones_like(light), (note,))


@dataclass(frozen=True, eq=False)
class _Learned:
    """Everything that training found, before it is given its place."""

    asked: _Asked
    albums: tuple[Album, Album]
    quality: _Quality
    defer: NDArray[np.bool_]
    margin: float
    seed: int
    trained: Any
    seconds: float

    def save(self, path: Path) -> None:
        from studio.work.cascade.network import save

        save(self.trained, path)

    def cascade(self, pair: tuple[CandidateState, CandidateState], folder: str) -> Cascade:
        scores = self.trained.scores
        light, heavy = self.albums
        pairs = Pairs(
            scores, self.quality.light, self.quality.heavy, light.seconds, heavy.seconds, self.trained.seconds
        )
        samples = tuple(
            Sample(
                prompt=self.asked.prompts[at],
                seed=self.asked.seeds[at],
                score=float(scores[at]),
                defer=bool(self.defer[at]),
                light_quality=float(self.quality.light[at]),
                heavy_quality=float(self.quality.heavy[at]),
                light_image=light.files[at],
                heavy_image=heavy.files[at],
                light_seconds=float(light.seconds[at]),
                heavy_seconds=float(heavy.seconds[at]),
                hard=self.asked.hard[at],
            )
            for at in range(len(scores))
        )
        good = ~self.defer
        return Cascade(
            light=pair[0].id,
            heavy=pair[1].id,
            light_title=pair[0].proposal.title,
            heavy_title=pair[1].proposal.title,
            metric=self.quality.metric,
            margin=self.margin,
            samples=samples,
            curve=curve(pairs, seed=self.seed),
            scorers=self._scorers(good),
            reliability=reliability(good, scores),
            brier=brier(good, scores),
            discriminator_seconds=self.trained.seconds,
            guarded=guarded_threshold(scores, self.defer, rate=GUARDED_RATE),
            guarded_rate=GUARDED_RATE,
            seed=self.seed,
            trained_seconds=self.seconds,
            folder=folder,
            notes=(*self.quality.notes, *self._notes(good)),
        )

    def _scorers(self, good: NDArray[np.bool_]) -> tuple[Scorer, ...]:
        length = -np.array([len(prompt.split()) for prompt in self.asked.prompts], dtype=np.float64)
        chance = np.random.default_rng(self.seed).random(len(good))
        found = {
            "discriminator": self.trained.scores,
            "words alone": self.trained.words,
            "caption length": length,
            "random": chance,
        }
        return tuple(Scorer(name, roc_auc(good, scores, seed=self.seed)) for name, scores in found.items())

    def _notes(self, good: NDArray[np.bool_]) -> list[str]:
        better = int((~good).sum())
        notes = [
            f"With the heavy model {better} of {len(good)} prompts are better by more than the margin.",
            "Every score comes from a network that did not see the prompt.",
        ]
        auc = self._scorers(good)[0].auc
        if auc is not None and auc.low <= 0.5:
            notes.append("The discriminator is not shown to be better than chance; ask for more prompts.")
        return notes


def _learn(
    asked: _Asked,
    albums: tuple[Album, Album],
    quality: _Quality,
    margin: float,
    seed: int,
    practice: Any,
    on_progress: Callable[[float, str], None],
) -> _Learned:
    if quality.metric == "likeness":
        margin = float(1 - np.median(quality.light))
    defer = quality.heavy - quality.light > margin
    few = int(min(defer.sum(), (~defer).sum()))
    if few < LEAST_OF_A_LABEL:
        which = "hardly ever" if defer.sum() < len(defer) / 2 else "nearly always"
        raise CascadeError(
            f"The heavy model is {which} better (on {int(defer.sum())} of {len(defer)} prompts), so there is "
            "nothing to decide; choose another pair or more prompts."
        )
    from studio.work.cascade.network import train as train_network

    start = time.perf_counter()
    trained = train_network(
        albums[0].images,
        asked.prompts,
        defer,
        seed=seed,
        practice=practice,
        on_epoch=lambda done, total: on_progress(done / total, f"Training, epoch {done} of {total}"),
    )
    return _Learned(asked, albums, quality, defer, margin, seed, trained, time.perf_counter() - start)
