"""Train the discriminator of a cascade on the user's own pair, and say what each threshold is worth."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from studio.errors import CascadeError
from studio.plan.cascade import Cascade, Sample, Scorer
from studio.plan.deferral import Pairs, curve, guarded_threshold, needed_sentence
from studio.plan.discrimination import brier, reliability, roc_auc
from studio.plan.worth import worth
from studio.record.events import RunStarted
from studio.record.journal import Journal
from studio.record.settings import write_atomically
from studio.record.state import CandidateState, RunState
from studio.record.votes import votes
from studio.work.cascade.files import NETWORK, REAL, RESULT, place_of
from studio.work.cascade.pictures import Album, Easel, make_pictures, practise
from studio.work.job import Job

if TYPE_CHECKING:
    from engines.models.model import Model

Floats = NDArray[np.float64]

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

REAL_SEEDS: Final = 1 << 44

Target = Literal["better", "votes", "real"]
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
    target: Target = "better",
    real: str = "",
) -> dict[str, Any]:
    """Command `discriminator`; the same request is answered at once the second time.

    Args:
        run: id or folder of a run.
        light: candidate that answers first; `heavy`: candidate that the rest is deferred to.
        prompts: the user's own; empty: the run's, or held-out captions, half of them hard.
        count: how many pairs; given prompts are used in turn with other seeds.
        margin: quality by which the heavy picture must be better to count as better.
        target: what decides: `better`, whether heavy beats light by more than the margin; `votes`, the same,
            and your own blind votes where there are any; `real`, real against generated (DiffServe's).
        real: folder with real pictures, for models whose prompts the renderer cannot draw.

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
        target=target,
        real=real,
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
    target: Target = "better",
    real: str = "",
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
    place = place_of(run_folder, *pair)
    own = votes(run_folder, light, heavy) if target == "votes" else {}
    wanted = [target, sorted(map(str, own.items())), _fingerprint(real)]
    key = _key(run_folder, started, pair, asked, margin, seed, wanted)
    if (known := _known(place, key)) is not None:
        return known
    pictures = 2 * len(asked.prompts)
    total = pictures + pictures // 2
    with Easel(run_folder, state) as easel:
        albums = make_pictures(
            easel,
            pair,
            asked.prompts,
            asked.seeds,
            lambda done, doing: on_progress(done, total, doing),
        )
        on_progress(pictures, total, "Measuring adherence")
        quality = _quality(model, asked, albums)
        defer, margin, voted = _labels(asked, quality, margin, own)
        _check_labels(defer)
        extra = _practice_prompts(asked, albums, quality, seed)
        practice = None
        if extra[0]:
            images = practise(
                easel, pair[0], *extra, lambda _done, doing: on_progress(pictures, total, doing)
            )
            practice = _practice(model, asked, quality, extra[0], images, margin)
        seen = _real_or_not(
            easel,
            pair,
            asked,
            albums,
            practice,
            real,
            seed,
            lambda doing: on_progress(pictures, total, doing),
        )
    if seen is None and target == "real":
        raise CascadeError(
            "Real against generated needs real pictures; give a folder with some (real=FOLDER)."
        )
    made = _learn(
        _Task(asked, albums, quality, defer, margin, seed, target, voted),
        practice,
        seen,
        lambda share, doing: on_progress(pictures + int(share * (total - pictures)), total, doing),
    )
    place.mkdir(parents=True, exist_ok=True)
    made.save(place / NETWORK)
    made.save_real(place / REAL)
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
    wanted: Sequence[object],
) -> str:
    scripts = []
    for one in pair:
        try:
            scripts.append(hashlib.sha256((folder / one.proposal.script).read_bytes()).hexdigest())
        except OSError:
            raise CascadeError(f"The script of {one.id} is gone from the run folder.") from None
    facts = [3, started.model.hash, started.workload, scripts, asked.prompts, asked.seeds, margin, seed]
    facts += wanted
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
class _Task:
    """What is to be learned: the pairs and their labels."""

    asked: _Asked
    albums: tuple[Album, Album]
    quality: _Quality
    defer: NDArray[np.bool_]
    margin: float
    seed: int
    target: Target
    voted: int


def _labels(
    asked: _Asked, quality: _Quality, margin: float, own: dict[tuple[str, int], bool | None]
) -> tuple[NDArray[np.bool_], float, int]:
    """Whether each prompt should be deferred (N,), the margin used, and how many labels are votes."""
    if quality.metric == "likeness":
        margin = float(1 - np.median(quality.light))
    defer = quality.heavy - quality.light > margin
    voted = 0
    for at, key in enumerate(zip(asked.prompts, asked.seeds, strict=True)):
        if key in own:
            # What cannot be told apart by eye is no reason to pay for the heavy picture.
            defer[at] = own[key] is True
            voted += 1
    return defer, margin, voted


def _check_labels(defer: NDArray[np.bool_]) -> None:
    few = int(min(defer.sum(), (~defer).sum()))
    if few < LEAST_OF_A_LABEL:
        which = "hardly ever" if defer.sum() < len(defer) / 2 else "nearly always"
        raise CascadeError(
            f"The heavy model is {which} better (on {int(defer.sum())} of {len(defer)} prompts; "
            f"{LEAST_OF_A_LABEL} of either kind are needed), so there is nothing to decide; choose another "
            "pair or more prompts."
        )


def _fingerprint(real: str) -> str:
    if not real:
        return ""
    from studio.work.cascade.real import fingerprint

    return fingerprint(real)


def _real_or_not(
    easel: Easel,
    pair: tuple[CandidateState, CandidateState],
    asked: _Asked,
    albums: tuple[Album, Album],
    practice: Any,
    folder: str,
    seed: int,
    tell: Callable[[str], None],
) -> tuple[Any, Floats] | None:
    """A network of real against generated and its P(real) of the light pictures; `None` without real ones."""
    scenes = None not in asked.hard
    if not scenes and not folder:
        return None
    from studio.work.cascade import real

    count = min(real.MOST, PRACTICE * len(asked.prompts))
    if practice is not None:
        fakes, prompts = [practice.images[:count]], list(practice.prompts)
    else:
        prompts = _other_prompts(asked, seed, min(count, len(asked.prompts)))
        seeds = tuple(REAL_SEEDS + seed * 100_000 + at for at in range(len(prompts)))
        made = practise(easel, pair[0], prompts, seeds, lambda _done, doing: tell(doing))
        fakes = [made]
    few = prompts[: max(1, len(asked.prompts) // real.HEAVY_SHARE)]
    seeds = tuple(REAL_SEEDS + seed * 100_000 + at for at in range(len(few)))
    fakes.append(practise(easel, pair[1], few, seeds, lambda _done, doing: tell(doing)))
    generated = np.concatenate(fakes)
    height, width = albums[0].images.shape[1:3]
    without = {*asked.prompts, *prompts}
    shown = (
        real.read(folder, len(generated), (height, width), seed)
        if folder
        else real.rendered(len(generated), (height, width), REAL_SEEDS + seed, without)
    )
    network = real.learn(
        shown,
        generated,
        seed,
        lambda done, total: tell(f"Training real against generated, epoch {done} of {total}"),
    )
    return network, real.probability(network, albums[0].images)


def _other_prompts(asked: _Asked, seed: int, count: int) -> list[str]:
    """Prompts that no pair has; the pairs' own, with other seeds, where the grammar has no say."""
    if None in asked.hard:
        return [asked.prompts[at % len(asked.prompts)] for at in range(count)]
    from engines.scenes.grammar import captions

    known = set(asked.prompts)
    return [text for text in captions(2 * count, CAPTIONS + seed + 900) if text not in known][:count]


@dataclass(frozen=True, eq=False)
class _Learned:
    """Everything that training found, before it is given its place."""

    task: _Task
    trained: Any
    seconds: float
    others: dict[str, Floats]
    """Scores (N,) of the other ways to decide, by name."""
    real: Any = None
    """Real against generated as it would be shipped, where it was trained."""

    def save(self, path: Path) -> None:
        from studio.work.cascade.network import save

        save(self.trained, path)

    def save_real(self, path: Path) -> None:
        from studio.work.cascade.network import save

        path.unlink(missing_ok=True)
        if self.real is not None:
            save(self.real, path)

    def cascade(self, pair: tuple[CandidateState, CandidateState], folder: str) -> Cascade:
        scores = self.trained.scores
        light, heavy = self.task.albums
        pairs = Pairs(
            scores,
            self.task.quality.light,
            self.task.quality.heavy,
            light.seconds,
            heavy.seconds,
            self.trained.seconds,
        )
        samples = tuple(
            Sample(
                prompt=self.task.asked.prompts[at],
                seed=self.task.asked.seeds[at],
                score=float(scores[at]),
                defer=bool(self.task.defer[at]),
                light_quality=float(self.task.quality.light[at]),
                heavy_quality=float(self.task.quality.heavy[at]),
                light_image=light.files[at],
                heavy_image=heavy.files[at],
                light_seconds=float(light.seconds[at]),
                heavy_seconds=float(heavy.seconds[at]),
                hard=self.task.asked.hard[at],
            )
            for at in range(len(scores))
        )
        good = ~self.task.defer
        return Cascade(
            light=pair[0].id,
            heavy=pair[1].id,
            light_title=pair[0].proposal.title,
            heavy_title=pair[1].proposal.title,
            metric=self.task.quality.metric,
            margin=self.task.margin,
            samples=samples,
            curve=curve(pairs, seed=self.task.seed),
            scorers=self._scorers(good),
            reliability=reliability(good, scores),
            brier=brier(good, scores),
            discriminator_seconds=self.trained.seconds,
            guarded=guarded_threshold(scores, self.task.defer, rate=GUARDED_RATE),
            guarded_rate=GUARDED_RATE,
            seed=self.task.seed,
            trained_seconds=self.seconds,
            folder=folder,
            notes=(*self.task.quality.notes, *self._notes(good)),
            target=self.task.target,
            votes=self.task.voted,
        )

    def _scorers(self, good: NDArray[np.bool_]) -> tuple[Scorer, ...]:
        task = self.task
        length = -np.array([len(prompt.split()) for prompt in task.asked.prompts], dtype=np.float64)
        chance = np.random.default_rng(task.seed).random(len(good))
        found = {
            "discriminator": self.trained.scores,
            **self.others,
            "words alone": self.trained.words,
            "caption length": length,
            "random": chance,
        }
        return tuple(
            Scorer(
                name,
                roc_auc(good, scores, seed=task.seed),
                worth(scores, task.quality.light, task.quality.heavy, seed=task.seed),
            )
            for name, scores in found.items()
        )

    def _notes(self, good: NDArray[np.bool_]) -> list[str]:
        task, better = self.task, int((~good).sum())
        notes = [
            f"With the heavy model {better} of {len(good)} prompts are better by more than the margin.",
            "Every score comes from a network that did not see the prompt.",
        ]
        if task.target == "real":
            notes.append(
                "Scores are the probability that a picture is real; they say nothing of the prompt, nor of "
                "what heavy would make of it."
            )
        if task.target == "votes":
            notes.append(f"{task.voted} of {len(good)} labels are your own blind votes.")
        if self.trained.practised is not None and self.trained.practised[0] < self.trained.practised[1]:
            kept, most = self.trained.practised
            notes.append(f"Early stop: of {most} epochs of practice the weights after {kept} were kept.")
        if guarded_threshold(self.trained.scores, task.defer, rate=GUARDED_RATE) is None:
            notes.append(needed_sentence(self.trained.scores, task.defer, rate=GUARDED_RATE))
        auc = self._scorers(good)[0].auc
        if auc is not None and auc.low <= 0.5:
            notes.append("The discriminator is not shown to be better than chance; ask for more prompts.")
        return notes


def _learn(
    task: _Task,
    practice: Any,
    seen: tuple[Any, Floats] | None,
    on_progress: Callable[[float, str], None],
) -> _Learned:
    defer = task.defer
    from studio.work.cascade.network import train as train_network

    start = time.perf_counter()
    trained = train_network(
        task.albums[0].images,
        task.asked.prompts,
        defer,
        seed=task.seed,
        practice=practice,
        on_epoch=lambda done, total: on_progress(done / total, f"Training, epoch {done} of {total}"),
    )
    others, decider = {}, None
    if seen is not None:
        from studio.work.cascade.real import as_decider

        others, decider = {"real against generated": seen[1]}, as_decider(*seen, trained)
    if task.target == "real" and decider is not None:
        others, trained = {"heavy beats light": trained.scores}, decider
    if not np.isfinite(trained.scores).all():
        raise CascadeError("Training came to scores that are no numbers; train again with another seed.")
    return _Learned(task, trained, time.perf_counter() - start, others, decider)
