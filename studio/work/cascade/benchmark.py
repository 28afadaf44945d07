"""The tables that show what a cascade is worth, for `docs/benchmarks`.

    python -m studio.work.cascade.benchmark RUN LIGHT HEAVY --captions 1200 [--pairs 600] [--out FILE]

The discriminator is trained on `--pairs` prompts; its threshold is chosen on
them.  Then `--captions` fresh captions, which nothing was trained or chosen on,
are drawn by both candidates in turns; on them every way to decide is compared,
and the claim "within one point of heavy's adherence" is certified by a
one-sided 95 % paired bound.  With `--option` the claim is also made, with a
threshold of its own, for deferred prompts that get something else than heavy
from the start: `strength:0.5` (heavy from the light latent, noised to that
strength) or `best` (the strength that `--reuse` recommends).
Pictures are kept in the run folder: an interrupted job goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import CascadeError, StudioError
from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval, Pairs
from studio.plan.discrimination import roc_auc
from studio.plan.worth import SHARES, deferred, interval, worth
from studio.record.sides import Pair, pair_of
from studio.work.cascade.claim import CERTIFIED_ON, Claim, Option, certify, choose, kept_sentence, percent
from studio.work.cascade.models import opened

if TYPE_CHECKING:
    from engines.models.model import Model

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

CAPTIONS: Final = 47_000
SEEDS: Final = 1 << 45
IN_ONE_PROCESS: Final = (
    "All times of this claim are those of one process that hands latents over. Served packages start "
    "deferred prompts from the beginning; `Loop.generate(..., start=latents)` does it otherwise."
)


@dataclass(frozen=True, eq=False)
class Trial:
    """Fresh captions, drawn by both and scored by every way to decide."""

    prompts: tuple[str, ...]
    pairs: Pairs
    scores: dict[str, Floats]
    option: Option | None = None


def rows(trial: Trial, margin: float) -> list[str]:
    """Markdown: each way to decide, its ROC area and its adherence at each deferred share."""
    pairs = trial.pairs
    good = pairs.heavy_quality - pairs.light_quality <= margin
    head = " | ".join(f"{share:.0%} deferred" for share in SHARES)
    found = [f"| Decides | ROC area | {head} |", f"|---|---|{'---|' * len(SHARES)}"]
    for name, scores in trial.scores.items():
        area = roc_auc(good, scores)
        cells = [percent(at.quality) for at in worth(scores, pairs.light_quality, pairs.heavy_quality)]
        shown = "one class only" if area is None else f"{area.value:.2f} ({area.low:.2f} to {area.high:.2f})"
        found.append(f"| {name} | {shown} | {' | '.join(cells)} |")
    learned = trial.scores["discriminator"]
    cells = [_points(at.gain) for at in worth(learned, pairs.light_quality, pairs.heavy_quality)]
    found.append(f"| discriminator against deferring as many at random, points | | {' | '.join(cells)} |")
    if (other := trial.scores.get("real against generated")) is not None:
        cells = []
        for share in SHARES:
            chosen = [
                np.where(deferred(each, share), pairs.heavy_quality, pairs.light_quality)
                for each in (learned, other)
            ]
            cells.append(_points(interval(chosen[0] - chosen[1])))
        found.append(f"| discriminator against real against generated, points | | {' | '.join(cells)} |")
    return found


def report(cascade: Cascade, trial: Trial, claims: Sequence[Claim], machine: str) -> str:
    """The whole as Markdown; each claim has its own threshold, all are tried on the same captions."""
    first = claims[0]
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    made = (
        f"{today}, {machine}. Trained on {len(cascade.samples)} pairs; {len(trial.prompts)} fresh captions, "
        "half of them hard; light and heavy in turns at batch 1. Adherence with bootstrap 95 % intervals "
        "over captions."
    )
    light_time = f"{trial.pairs.light_seconds.sum() / trial.pairs.heavy_seconds.sum():.1%}"
    lines = [
        f"# The cascade {cascade.light} ({cascade.light_title}) and {cascade.heavy} ({cascade.heavy_title})",
        "",
        made,
        "",
        *rows(trial, cascade.margin),
        "",
        "## End to end",
        "",
        "| | Adherence | Share of heavy's time |",
        "|---|---|---|",
        f"| light alone | {percent(first.light)} | {light_time} |",
        *(
            f"| cascade, {one.share:.0%} deferred, heavy {one.option or 'from the start'} | "
            f"{percent(one.cascade)} | {percent(one.time)} |"
            for one in claims
        ),
        f"| heavy alone | {percent(first.heavy)} | 100% |",
    ]
    for one in claims:
        lines += ["", f"Cascade minus heavy: {_points(one.difference)} points. {one.sentence()}"]
    if trial.option is not None:
        lines += [
            "",
            IN_ONE_PROCESS,
        ]
    if cascade.guarded is not None:
        lines += ["", kept_sentence(trial.pairs, cascade.guarded, cascade.margin)]
    if cascade.reuse is not None:
        lines += ["", "## A deferred prompt", ""]
        lines += ["| Option | Steps | Further time | Adherence | Against its pair |", "|---|---|---|---|---|"]
        lines += [
            f"| {arm.title} | {arm.steps} | {arm.seconds.value * 1000:.3g} ms | {percent(arm.quality)} | "
            f"{_points(arm.against)} |"
            for arm in cascade.reuse.arms
        ]
        lines += ["", cascade.reuse.verdict(cascade.margin), *cascade.reuse.notes]
    return "\n".join(lines)


def _points(found: Interval) -> str:
    return f"{found.value * 100:+.2f} ({found.low * 100:+.2f} to {found.high * 100:+.2f})"


def _fresh(cascade: Cascade, count: int, seed: int) -> list[str]:
    """Captions that no pair has, half of them hard."""
    from engines.scenes.grammar import captions

    known = {sample.prompt for sample in cascade.samples}
    found = []
    for hard in (False, True):
        drawn = captions(count, CAPTIONS + seed, hard=hard)
        found.append([text for text in drawn if text not in known][: count - count // 2])
    return [text for both in zip(*found, strict=True) for text in both][:count]


def try_out(run: Path, cascade: Cascade, count: int, seed: int = 0, strength: float | None = None) -> Trial:
    """Draw and score `count` fresh captions; with `strength` deferred ones also from the light latent.

    Raises:
        CascadeError: the run's model has no captions of its own, or a candidate cannot draw any more.
    """
    from studio.work.cascade.files import NETWORK, REAL
    from studio.work.cascade.learned import ITSELF
    from studio.work.cascade.network import load

    pair, model = _opened(run, cascade)
    prompts = _fresh(cascade, count, seed)
    asked = [(prompt, SEEDS + seed * 100_000 + at) for at, prompt in enumerate(prompts)]
    if strength is None:
        from studio.work.cascade.pictures import Easel, make_pictures

        with Easel(pair) as easel:
            light, heavy = make_pictures(
                easel,
                prompts,
                [own for _, own in asked],
                lambda done, doing: _tell(done, 2 * count, doing),
            )
        sides, third, title = ((light.images, light.seconds), (heavy.images, heavy.seconds)), None, ""
    else:
        *both, third, title = _from_light(pair, asked, strength)
        sides = (both[0], both[1])
    place = run / cascade.folder
    images = sides[0][0]
    scores = {"discriminator": load(place / NETWORK)(images, prompts)}
    if (place / REAL).is_file():
        scores["real against generated"] = load(place / REAL)(images, prompts)
    pairs, option = _measured(cascade, model, prompts, scores["discriminator"], sides, third, title)
    scores[ITSELF] = pairs.light_quality
    scores["caption length"] = -np.array([len(prompt.split()) for prompt in prompts], dtype=np.float64)
    scores["random"] = np.random.default_rng(seed).random(count)
    return Trial(tuple(prompts), pairs, scores, option)


def pairs_from_light(run: Path, cascade: Cascade, strength: float) -> tuple[Pairs, Option]:
    """The pairs that trained the discriminator, drawn again with heavy also started from the light latent.

    Raises:
        CascadeError: as `try_out`.
    """
    pair, model = _opened(run, cascade)
    asked = [(sample.prompt, sample.seed) for sample in cascade.samples]
    light, heavy, third, title = _from_light(pair, asked, strength)
    prompts = [prompt for prompt, _ in asked]
    pairs, option = _measured(cascade, model, prompts, cascade.pairs.scores, (light, heavy), third, title)
    assert option is not None
    return pairs, option


Drawn = tuple[Pixels, Floats]
"""Pictures (N, H, W, 3) and the seconds of each (N,)."""


def _opened(run: Path, cascade: Cascade) -> tuple[Pair, Model]:
    """The pair, and the model whose captions and reader count."""
    pair = pair_of(run, cascade.light, cascade.heavy)
    model = opened(pair.own)
    if model.prompt_source != "scenes" or cascade.metric != "adherence":
        raise CascadeError(
            f"{model.name} has no captions whose adherence can be read, so nothing can be certified."
        )
    return pair, model


def _from_light(
    pair: Pair, asked: Sequence[tuple[str, int]], strength: float
) -> tuple[Drawn, Drawn, Drawn, str]:
    """Light, heavy from the start, and heavy from what light made, in one process and in turns; its title."""
    from studio.work.cascade.bench import LIGHT, Bench

    bench = Bench(pair, pixels=False)
    ways = bench.arms([strength])
    if len(ways) < 2:
        raise CascadeError(
            f"At strength {strength:g} heavy would take none of its {ways[0].steps} steps, or all; "
            "choose another."
        )
    bench.warm(ways, asked[0][0])
    for at, (prompt, seed) in enumerate(asked):
        _tell(at, len(asked), f"Drawing in every way: {prompt[:60]}")
        bench.draw(ways, prompt, seed, at, light_too=True)
    light, heavy, third = (
        (bench.images(key, asked), bench.seconds(key, asked)) for key in (LIGHT, *(way.key for way in ways))
    )
    return light, heavy, third, ways[1].title


def _measured(
    cascade: Cascade,
    model: Model,
    prompts: Sequence[str],
    scores: Floats,
    sides: tuple[Drawn, Drawn],
    third: Drawn | None,
    title: str,
) -> tuple[Pairs, Option | None]:
    """Adherence of everything that was drawn; `title`: of what was drawn third."""
    from engines.scenes.reader import load_reader

    read: Callable[[Pixels, Sequence[str]], Floats] = load_reader(model.path / "reader.safetensors").adherence
    (light, light_seconds), (heavy, heavy_seconds) = sides
    qualities = read(light, prompts), read(heavy, prompts)
    if len(unread := np.flatnonzero(~np.isfinite(qualities[0]))):
        raise CascadeError(
            f"{prompts[int(unread[0])]!r} names nothing that could be read in a picture, so nothing can be "
            "certified with it; train the pair on captions of the model's own kind."
        )
    pairs = Pairs(
        scores,
        *qualities,
        light_seconds,
        heavy_seconds,
        cascade.discriminator_seconds,
    )
    if third is None:
        return pairs, None
    return pairs, Option(title, read(third[0], prompts), third[1])


def strength_of(name: str, cascade: Cascade) -> float | None:
    """The strength that `--option` names; `None`: heavy from the start.

    Raises:
        CascadeError: no such option, or none that was shown to be worth it.
    """
    if name == "heavy":
        return None
    if name == "best":
        best = None if cascade.reuse is None else cascade.reuse.best(cascade.margin)
        if best is None:
            raise CascadeError(
                "No strength was shown to keep heavy's quality in less time; measure some with --reuse 48, "
                "or name one: --option strength:0.5."
            )
        return best.strength
    kind, _, value = name.partition(":")
    try:
        strength = float(value)
    except ValueError:
        strength = 0.0
    if kind != "strength" or not 0 < strength < 1:
        raise CascadeError(
            f"There is no option {name!r}; choose heavy, best, or a strength between 0 and 1: strength:0.5."
        )
    return strength


def _tell(done: int, total: int, doing: str) -> None:
    if done % 25 == 0 or not doing.startswith("Drawing"):
        print(f"{done}/{total} {doing}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m studio.work.cascade.benchmark", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("light", help="candidate that answers first")
    parser.add_argument("heavy", help="candidate for the rest; one of the two may be OTHER_RUN/CANDIDATE")
    parser.add_argument("--captions", type=int, default=CERTIFIED_ON, help="fresh captions for the claim")
    parser.add_argument("--pairs", type=int, default=600, help="prompts to train on and choose with")
    parser.add_argument("--reuse", type=int, default=0, metavar="N", help="also measure N deferred prompts")
    parser.add_argument(
        "--option",
        default="heavy",
        metavar="NAME",
        help="what deferred prompts get: heavy, best, strength:0.5",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the pairs and the training")
    parser.add_argument(
        "--claim-seed", type=int, default=0, help="of the fresh captions; another one for another try"
    )
    parser.add_argument("--out", type=Path, help="also write the tables here")
    given = parser.parse_args(arguments)
    from studio.work.cascade.reuse import measure
    from studio.work.discriminator import train
    from studio.work.machine import describe_machine

    try:
        if given.captions < 24:
            raise CascadeError(f"{given.captions} captions say nothing; ask for at least 24.")
        cascade = train(
            given.run, given.light, given.heavy, count=given.pairs, seed=given.seed, on_progress=_tell
        )
        if given.reuse:
            cascade = measure(given.run, given.light, given.heavy, count=given.reuse, on_progress=_tell)
        strength = strength_of(given.option, cascade)
        pairs, option = cascade.pairs, None
        if strength is not None:
            pairs, option = pairs_from_light(given.run, cascade, strength)
        trial = try_out(given.run, cascade, given.captions, given.claim_seed, strength)
        claims = [certify(trial.pairs, choose(pairs, given.captions), given.claim_seed)]
        if option is not None:
            threshold = choose(pairs, given.captions, option)
            claims.append(certify(trial.pairs, threshold, given.claim_seed, trial.option))
        facts = describe_machine()
        text = report(cascade, trial, claims, f"{facts['processor']}, {facts['cores']} cores")
        if given.out is not None:
            given.out.write_text(text + "\n", encoding="utf-8")
    except (StudioError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
