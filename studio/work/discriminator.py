"""Train the discriminator of a cascade on the user's own pair, and say what each threshold is worth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from studio.errors import CascadeError
from studio.plan.cascade import Cascade
from studio.plan.guarantee import RATE, guarantees
from studio.plan.learning import Epoch
from studio.record.sides import Pair, mismatch, pair_of
from studio.record.votes import votes
from studio.work.cascade.files import NETWORK, REAL, read, write
from studio.work.cascade.labels import cheap_light, check, labels, measured, practice
from studio.work.cascade.learned import Seen, Target, Task, learn, told
from studio.work.cascade.models import both_read, opened_both
from studio.work.cascade.pictures import Album, Easel, make_pictures, practise
from studio.work.cascade.prompts import PRACTICE, Asked, ask, other_prompts, practice_prompts
from studio.work.consent import agree
from studio.work.job import Job

if TYPE_CHECKING:
    from studio.work.cascade.network import Practice

COUNT: Final = 240
MARGIN: Final = 0.05
"""Adherence by which heavy must be better: less than one attribute of any caption."""
REAL_SEEDS: Final = 1 << 44

OnProgress = Callable[[int, int, str], None]
OnEpoch = Callable[[Epoch], None]


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
    rate: float = RATE,
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `discriminator`; the same request is answered at once the second time.

    Args:
        run: id or folder of a run.
        light: candidate that answers first; `heavy`: candidate that the rest is deferred to; one of them may
            belong to another run: `OTHER_RUN/CANDIDATE`.
        prompts: the user's own; empty: the run's, or held-out captions, half of them hard.
        count: how many pairs; given prompts are used in turn with other seeds.
        margin: quality by which the heavy picture must be better to count as better.
        target: what decides: `better`, whether heavy beats light by more than the margin; `votes`, the same,
            and your own blind votes where there are any; `real`, real against generated (DiffServe's).
        real: folder with real pictures, for models whose prompts the renderer cannot draw.
        rate: share of poor pictures among the kept that `guarded` holds under, with 95 % confidence.
        without_walls: the user's word, where candidates would run though nothing limits them (`consent`).

    Returns:
        `run`, `network` (the saved weights, relative to the run folder) and `cascade`
        (`Cascade.to_json()`); `studio.plan.cascade.Cascade.from_json` reads the whole.

    Raises:
        CascadeError: a pair or prompts from which nothing can be learned.
        RunError, JournalError: no such run or candidate.
        ModelError: the model of one of them is no longer there.
    """
    agree(without_walls=without_walls)
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
        rate=rate,
        home=job.home,
        on_progress=job.progress,
        on_epoch=lambda epoch: job.point(
            epoch.stage, epoch.number, {"learned": epoch.learned, "held": epoch.held}
        ),
    )
    return {"run": folder.name, "network": f"{found.folder}/{NETWORK}", "cascade": found.to_json()}


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
    rate: float = RATE,
    home: Path | None = None,
    on_progress: OnProgress = lambda _done, _total, _doing: None,
    on_epoch: OnEpoch = lambda _epoch: None,
) -> Cascade:
    """See `discriminator`; `home`: where other runs lie; `on_epoch` hears how training goes."""
    on_progress(0, 0, "Reading the run")
    pair = _fit(pair_of(run_folder, light, heavy, home), prompts)
    models = opened_both(pair)
    model = models[0] if pair.own is pair.light else models[1]
    asked = ask(pair.own.started, model, prompts, count, seed)
    own = votes(run_folder, pair.light.name, pair.heavy.name) if target == "votes" else {}
    wanted = [target, sorted(map(str, own.items())), _fingerprint(real)]
    key = _key(pair, asked, margin, seed, wanted)
    if (known := _known(pair, key)) is not None:
        return _guarded(known, rate, pair, key)
    pictures = 2 * len(asked.prompts)
    total = pictures + pictures // 2

    def tell(doing: str) -> None:
        on_progress(pictures, total, doing)

    with Easel(pair) as easel:
        albums = make_pictures(
            easel,
            asked.prompts,
            asked.seeds,
            lambda done, doing: on_progress(done, total, doing),
        )
        tell("Measuring quality")
        quality = measured(model, asked, albums, readable=both_read(models))
        defer, margin, voted = labels(asked, quality, margin, own)
        check(defer)
        practised = None
        if cheap_light(asked, albums, quality):
            extra = practice_prompts(asked, seed)
            images = practise(easel, pair.light, *extra, lambda _done, doing: tell(doing))
            practised = practice(model, asked, quality, extra[0], images, margin)
        seen = _real_or_not(easel, asked, albums, practised, real, seed, tell, on_epoch)
    if seen is None and target == "real":
        raise CascadeError(
            "Real against generated needs real pictures; give a folder with some "
            "(Real pictures in the window, --real on the command line)."
        )
    made = learn(
        Task(asked, albums, quality, defer, margin, seed, target, voted),
        practised,
        seen,
        lambda share, doing: on_progress(pictures + int(share * (total - pictures)), total, doing),
        on_epoch,
    )
    pair.place.mkdir(parents=True, exist_ok=True)
    made.save(pair.place / NETWORK)
    made.save_real(pair.place / REAL)
    found = made.cascade(pair, rate)
    write(pair, key, found)
    on_progress(total, total, "Done")
    return found


def _fit(pair: Pair, prompts: Sequence[str] | None) -> Pair:
    """The same pair, if something can be learned from it."""
    for side in pair:
        verdict = side.candidate.verdict
        if verdict is None or verdict.state == "failed":
            raise CascadeError(f"{side.name} has not passed; choose candidates that did.")
    if pair.other is not None and (said := mismatch(pair.own, pair.other, prompts=bool(prompts))):
        raise CascadeError(said)
    return pair


def _key(pair: Pair, asked: Asked, margin: float, seed: int, wanted: Sequence[object]) -> str:
    scripts = [hashlib.sha256(side.script).hexdigest() for side in pair]
    own, other = pair.own.started, pair.other
    facts = [4, own.model.hash, own.workload, scripts, asked.prompts, asked.seeds, margin, seed]
    facts += wanted
    if other is not None:
        facts += [other.started.model.hash, other.started.workload]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _known(pair: Pair, key: str) -> Cascade | None:
    found = read(pair)
    return found[1] if found is not None and found[0] == key and (pair.place / NETWORK).is_file() else None


def _guarded(known: Cascade, rate: float, pair: Pair, key: str) -> Cascade:
    """The same with another guarantee, which takes no training."""
    if known.guarded_rate == rate:
        return known
    promised = guarantees(known.pairs.scores, [sample.defer for sample in known.samples], rate)
    safe = next(one.threshold for one in promised if one.rate == rate)
    found = replace(known, guarded=safe, guarded_rate=rate, guarantees=promised)
    write(pair, key, found)
    return found


def _fingerprint(real: str) -> str:
    if not real:
        return ""
    from studio.work.cascade.real import fingerprint

    return fingerprint(real)


def _real_or_not(
    easel: Easel,
    asked: Asked,
    albums: tuple[Album, Album],
    practised: Practice | None,
    folder: str,
    seed: int,
    tell: Callable[[str], None],
    on_epoch: OnEpoch,
) -> Seen | None:
    """Real against generated, and P(real) of the light pictures; `None` without real ones."""
    if not asked.scenes and not folder:
        return None
    from studio.work.cascade import real

    count = min(real.MOST, PRACTICE * len(asked.prompts))
    if practised is not None:
        fakes, prompts = [practised.images[:count]], list(practised.prompts)
    else:
        prompts = other_prompts(asked, seed, min(count, len(asked.prompts)))
        seeds = tuple(REAL_SEEDS + seed * 100_000 + at for at in range(len(prompts)))
        made = practise(easel, easel.pair.light, prompts, seeds, lambda _done, doing: tell(doing))
        fakes = [made]
    few = prompts[: max(1, len(asked.prompts) // real.HEAVY_SHARE)]
    seeds = tuple(REAL_SEEDS + seed * 100_000 + at for at in range(len(few)))
    fakes.append(practise(easel, easel.pair.heavy, few, seeds, lambda _done, doing: tell(doing)))
    generated = np.concatenate(fakes)
    height, width = albums[0].images.shape[1:3]
    without = {*asked.prompts, *prompts}
    shown = (
        real.read(folder, len(generated), (height, width), seed)
        if folder
        else real.rendered(len(generated), (height, width), REAL_SEEDS + seed, without)
    )
    history: list[Epoch] = []

    def learned(done: int, epochs: int, epoch: Epoch | None) -> None:
        tell(told(done, epochs, epoch))
        if epoch is not None:
            history.append(epoch)
            on_epoch(epoch)

    network = real.learn(shown, generated, seed, learned)
    return Seen(network, real.probability(network, albums[0].images), tuple(history))
