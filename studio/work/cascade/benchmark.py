"""The tables that show what a cascade is worth, for `docs/benchmarks`.

    python -m studio.work.cascade.benchmark RUN LIGHT HEAVY --captions 1200 [--pairs 600] [--out FILE]

The discriminator is trained on `--pairs` prompts; its threshold is chosen on
them.  Then `--captions` fresh captions, which nothing was trained or chosen on,
are drawn by both candidates in turns; on them every way to decide is compared,
and the claim "within one point of heavy's adherence" is certified by a
one-sided 95 % paired bound.  Pictures are kept in the run folder: an
interrupted job goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import CascadeError, StudioError
from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval, Pairs, deferred_share
from studio.plan.discrimination import roc_auc
from studio.plan.worth import SHARES, deferred, interval, worth
from studio.record.journal import Journal
from studio.record.state import RunState

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

POINT: Final = 0.01
CERTIFIED_ON: Final = 1200
CAPTIONS: Final = 47_000
SEEDS: Final = 1 << 45
ROOM: Final = 2.5
"""Standard errors, of a certification's size, that the chosen threshold leaves to the claim."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Fresh captions, drawn by both and scored by every way to decide."""

    prompts: tuple[str, ...]
    pairs: Pairs
    scores: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Claim:
    """The cascade at its threshold, end to end, against heavy alone."""

    threshold: float
    count: int
    share: float
    light: Interval
    heavy: Interval
    cascade: Interval
    difference: Interval
    """Cascade minus heavy, two-sided 95 %."""
    bound: float
    """One-sided 95 % lower bound of the difference (Student's t, paired by caption)."""
    time: Interval
    """Share of heavy's time, the discriminator's included."""

    @property
    def held(self) -> bool:
        """Within one point, on enough captions for it to be called certified."""
        return self.bound >= -POINT and self.count >= CERTIFIED_ON

    def sentence(self) -> str:
        """What was found."""
        if self.held:
            verdict = "certified"
        elif self.bound >= -POINT:
            verdict = f"shown, not certified: that takes {CERTIFIED_ON} captions"
        else:
            verdict = "not shown"
        return (
            f"Within one point of heavy's adherence: {verdict} (95 % lower bound {self.bound * 100:+.2f} "
            f"points, {self.count} captions), for {_percent(self.time)} of heavy's time."
        )


def choose(pairs: Pairs, count: int) -> float:
    """The threshold, chosen on the pairs, with the least time whose loss should be certifiable on `count`.

    The mean difference to heavy less `ROOM` standard errors stays within one point.
    """
    best, threshold = np.inf, float(np.nextafter(pairs.scores.max(), np.inf))
    for point in np.unique(np.append(pairs.scores, threshold)):
        later = pairs.scores < point
        difference = np.where(later, 0.0, pairs.light_quality - pairs.heavy_quality)
        seconds = float(np.mean(pairs.light_seconds + later * pairs.heavy_seconds))
        room = ROOM * float(difference.std(ddof=1)) / np.sqrt(count)
        if float(difference.mean()) - room >= -POINT and seconds < best:
            best, threshold = seconds, float(point)
    return threshold


def certify(pairs: Pairs, threshold: float, seed: int = 0) -> Claim:
    """The claim on fresh captions; nothing of them may have chosen the threshold."""
    from scipy import stats

    later = pairs.scores < threshold
    quality = np.where(later, pairs.heavy_quality, pairs.light_quality)
    seconds = pairs.light_seconds + pairs.discriminator_seconds + later * pairs.heavy_seconds
    difference = quality - pairs.heavy_quality
    count = len(pairs)
    error = float(difference.std(ddof=1)) / np.sqrt(count)
    bound = float(difference.mean()) - float(stats.t.ppf(0.95, count - 1)) * error
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=1000)
    low, high = np.quantile((draws @ seconds) / (draws @ pairs.heavy_seconds), [0.025, 0.975])
    return Claim(
        threshold=threshold,
        count=count,
        share=float(deferred_share(pairs.scores, [threshold])[0]),
        light=interval(pairs.light_quality, seed=seed),
        heavy=interval(pairs.heavy_quality, seed=seed),
        cascade=interval(quality, seed=seed),
        difference=interval(difference, seed=seed),
        bound=bound,
        time=Interval(float(seconds.sum() / pairs.heavy_seconds.sum()), float(low), float(high)),
    )


def rows(trial: Trial, margin: float) -> list[str]:
    """Markdown: each way to decide, its ROC area and its adherence at each deferred share."""
    pairs = trial.pairs
    good = pairs.heavy_quality - pairs.light_quality <= margin
    head = " | ".join(f"{share:.0%} deferred" for share in SHARES)
    found = [f"| Decides | ROC area | {head} |", f"|---|---|{'---|' * len(SHARES)}"]
    for name, scores in trial.scores.items():
        area = roc_auc(good, scores)
        cells = [_percent(at.quality) for at in worth(scores, pairs.light_quality, pairs.heavy_quality)]
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


def report(cascade: Cascade, trial: Trial, claim: Claim, machine: str) -> str:
    """The whole as Markdown."""
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
        f"| light alone | {_percent(claim.light)} | {light_time} |",
        f"| cascade, {claim.share:.0%} deferred | {_percent(claim.cascade)} | {_percent(claim.time)} |",
        f"| heavy alone | {_percent(claim.heavy)} | 100% |",
        "",
        f"Cascade minus heavy: {_points(claim.difference)} points. {claim.sentence()}",
    ]
    if cascade.reuse is not None:
        lines += ["", "## A deferred prompt", ""]
        lines += ["| Option | Steps | Further time | Adherence | Against its pair |", "|---|---|---|---|---|"]
        lines += [
            f"| {arm.title} | {arm.steps} | {arm.seconds.value * 1000:.3g} ms | {_percent(arm.quality)} | "
            f"{_points(arm.against)} |"
            for arm in cascade.reuse.arms
        ]
        lines += ["", cascade.reuse.verdict(cascade.margin), *cascade.reuse.notes]
    return "\n".join(lines)


def _percent(found: Interval) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


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


def try_out(run: Path, cascade: Cascade, count: int, seed: int = 0) -> Trial:
    """Draw and score `count` fresh captions.

    Raises:
        CascadeError: the run's model has no captions of its own, or a candidate cannot draw any more.
    """
    from engines.models.load import open_model
    from engines.scenes.reader import load_reader
    from studio.work.cascade.files import NETWORK, REAL
    from studio.work.cascade.network import load
    from studio.work.cascade.pictures import Easel, make_pictures

    state = RunState.replay(Journal.read(run))
    assert state.started is not None
    model = open_model(state.started.model.source)
    if model.prompt_source != "scenes" or cascade.metric != "adherence":
        raise CascadeError(
            f"{model.name} has no captions whose adherence can be read, so nothing can be certified."
        )
    prompts = _fresh(cascade, count, seed)
    seeds = [SEEDS + seed * 100_000 + at for at in range(count)]
    pair = (state.candidate(cascade.light), state.candidate(cascade.heavy))
    with Easel(run, state) as easel:
        light, heavy = make_pictures(
            easel, pair, prompts, seeds, lambda done, doing: _tell(done, 2 * count, doing)
        )
    reader = load_reader(model.path / "reader.safetensors")
    place = run / cascade.folder
    scores = {"discriminator": load(place / NETWORK)(light.images, prompts)}
    if (place / REAL).is_file():
        scores["real against generated"] = load(place / REAL)(light.images, prompts)
    scores["caption length"] = -np.array([len(prompt.split()) for prompt in prompts], dtype=np.float64)
    scores["random"] = np.random.default_rng(seed).random(count)
    pairs = Pairs(
        scores["discriminator"],
        reader.adherence(light.images, prompts),
        reader.adherence(heavy.images, prompts),
        light.seconds,
        heavy.seconds,
        cascade.discriminator_seconds,
    )
    return Trial(tuple(prompts), pairs, scores)


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
    parser.add_argument("heavy", help="candidate that the rest is deferred to")
    parser.add_argument("--captions", type=int, default=CERTIFIED_ON, help="fresh captions for the claim")
    parser.add_argument("--pairs", type=int, default=600, help="prompts to train on and choose with")
    parser.add_argument("--reuse", type=int, default=0, metavar="N", help="also measure N deferred prompts")
    parser.add_argument("--seed", type=int, default=0)
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
        threshold = choose(cascade.pairs, given.captions)
        trial = try_out(given.run, cascade, given.captions, given.seed)
        facts = describe_machine()
        text = report(
            cascade,
            trial,
            certify(trial.pairs, threshold, given.seed),
            f"{facts['processor']}, {facts['cores']} cores",
        )
        if given.out is not None:
            given.out.write_text(text + "\n", encoding="utf-8")
    except (StudioError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
