"""Train the ways to decide on a pair's pictures, and put what was found into one value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from studio.errors import CascadeError
from studio.plan.cascade import Cascade, Sample, Scorer
from studio.plan.deferral import Pairs, curve
from studio.plan.discrimination import brier, reliability, roc_auc, roc_curve
from studio.plan.guarantee import RATE, guarantees
from studio.plan.learning import Epoch
from studio.plan.worth import worth
from studio.record.sides import Pair
from studio.work.cascade.labels import Quality
from studio.work.cascade.pictures import Album
from studio.work.cascade.prompts import Asked

if TYPE_CHECKING:
    from studio.work.cascade.network import Network, Practice, Trained

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Target = Literal["better", "votes", "real"]

ITSELF: Final = "adherence itself"
"""The light picture's own adherence as a score: what labels the pairs, so a bound and no rule to ship."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learned: the pairs and their labels."""

    asked: Asked
    albums: tuple[Album, Album]
    quality: Quality
    defer: Bools
    margin: float
    seed: int
    target: Target
    voted: int


@dataclass(frozen=True, eq=False)
class Seen:
    """A network of real against generated, what it says of the light pictures, and how it learned."""

    network: Network
    scores: Floats
    """P(real), (N,)."""
    history: tuple[Epoch, ...]


@dataclass(frozen=True, eq=False)
class Learned:
    """Everything that training found, before it is given its place."""

    task: Task
    trained: Trained
    seconds: float
    others: dict[str, Floats]
    """Scores (N,) of the other ways to decide, by name."""
    history: tuple[Epoch, ...]
    real: Trained | None = None
    """Real against generated as it would be shipped, where it was trained."""

    def save(self, path: Path) -> None:
        from studio.work.cascade.network import save

        save(self.trained, path)

    def save_real(self, path: Path) -> None:
        from studio.work.cascade.network import save

        path.unlink(missing_ok=True)
        if self.real is not None:
            save(self.real, path)

    def cascade(self, pair: Pair, rate: float = RATE) -> Cascade:
        """All of it as the value that is kept and shown."""
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
        good = ~self.task.defer
        promised = guarantees(scores, self.task.defer, rate)
        scorers = self._scorers(good)
        return Cascade(
            light=pair.light.name,
            heavy=pair.heavy.name,
            light_title=pair.title(pair.light),
            heavy_title=pair.title(pair.heavy),
            metric=self.task.quality.metric,
            margin=self.task.margin,
            samples=self._samples(),
            curve=curve(pairs, seed=self.task.seed),
            scorers=scorers,
            reliability=reliability(good, scores),
            brier=brier(good, scores),
            discriminator_seconds=self.trained.seconds,
            guarded=next(one.threshold for one in promised if one.rate == rate),
            guarded_rate=rate,
            seed=self.task.seed,
            trained_seconds=self.seconds,
            folder=pair.place.relative_to(pair.run).as_posix(),
            notes=(*self.task.quality.notes, *self._notes(pair, good, scorers[0])),
            target=self.task.target,
            votes=self.task.voted,
            guarantees=promised,
            training=self.history,
            models=pair.models,
            likeness=self.task.quality.likeness,
        )

    def _samples(self) -> tuple[Sample, ...]:
        asked, quality, (light, heavy) = self.task.asked, self.task.quality, self.task.albums
        return tuple(
            Sample(
                prompt=asked.prompts[at],
                seed=asked.seeds[at],
                score=float(self.trained.scores[at]),
                defer=bool(self.task.defer[at]),
                light_quality=float(quality.light[at]),
                heavy_quality=float(quality.heavy[at]),
                light_image=light.files[at],
                heavy_image=heavy.files[at],
                light_seconds=float(light.seconds[at]),
                heavy_seconds=float(heavy.seconds[at]),
                hard=asked.hard[at],
            )
            for at in range(len(self.trained.scores))
        )

    def _scorers(self, good: Bools) -> tuple[Scorer, ...]:
        task = self.task
        length = -np.array([len(prompt.split()) for prompt in task.asked.prompts], dtype=np.float64)
        chance = np.random.default_rng(task.seed).random(len(good))
        found = {"discriminator": self.trained.scores, **self.others, "words alone": self.trained.words}
        if task.quality.metric == "adherence":
            found[ITSELF] = task.quality.light
        found |= {"caption length": length, "random": chance}
        return tuple(
            Scorer(
                name,
                roc_auc(good, scores, seed=task.seed),
                worth(scores, task.quality.light, task.quality.heavy, seed=task.seed),
                roc_curve(good, scores),
            )
            for name, scores in found.items()
        )

    def _notes(self, pair: Pair, good: Bools, own: Scorer) -> list[str]:
        task, better = self.task, int((~good).sum())
        notes = [
            f"With the heavy model {better} of {len(good)} prompts are better by more than the margin.",
            "Every score comes from a network that did not see the prompt.",
        ]
        if pair.two_models:
            light, heavy, own_model = (side.started.model.name for side in (pair.light, pair.heavy, pair.own))
            by = f"; the reader of {own_model} reads the adherence of both"
            notes.append(
                f"Light is of the model {light}, heavy of {heavy}, each drawn with its own"
                f"{by if task.quality.metric == 'adherence' else ''}."
            )
        if task.quality.metric == "adherence":
            notes.append(
                f"{ITSELF.capitalize()} is what labels the pairs: a bound for comparison, not a rule to ship."
            )
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
        if own.auc is not None and own.auc.low <= 0.5:
            notes.append("The discriminator is not shown to be better than chance; ask for more prompts.")
        return notes


def learn(
    task: Task,
    practice: Practice | None,
    seen: Seen | None,
    on_progress: Callable[[float, str], None],
    on_epoch: Callable[[Epoch], None],
) -> Learned:
    """Train what the task asks for; `on_progress` hears the share that is done.

    Raises:
        CascadeError: it came to nothing.
    """
    from studio.work.cascade.network import train

    def tell(done: int, total: int, epoch: Epoch | None) -> None:
        on_progress(done / total, told(done, total, epoch))
        if epoch is not None:
            on_epoch(epoch)

    start = time.perf_counter()
    trained = train(
        task.albums[0].images,
        task.asked.prompts,
        task.defer,
        seed=task.seed,
        practice=practice,
        on_epoch=tell,
    )
    history = trained.history if seen is None else (*seen.history, *trained.history)
    others: dict[str, Floats] = {}
    decider = None
    if seen is not None:
        from studio.work.cascade.real import as_decider

        others = {"real against generated": seen.scores}
        decider = as_decider(seen.network, seen.scores, trained)
    if task.target == "real" and decider is not None:
        others, trained = {"heavy beats light": trained.scores}, decider
    if not np.isfinite(trained.scores).all():
        raise CascadeError("Training came to scores that are no numbers; train again with another seed.")
    return Learned(task, trained, time.perf_counter() - start, others, history, decider)


def told(done: int, total: int, epoch: Epoch | None) -> str:
    """How far training is, in words."""
    words = f"Training, epoch {done} of {total}"
    if epoch is None:
        return words
    held = "" if epoch.held is None else f", held out {epoch.held:.2f}"
    return f"{words}: {epoch.stage}, loss {epoch.learned:.2f}{held}"
