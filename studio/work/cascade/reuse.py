"""What happens to a deferred prompt: each option measured on the pair, in turns, on such prompts.

Heavy from the start; heavy started from the light latent, noised again to
strength s (SDEdit, arXiv 2108.01073), which takes the last s of its steps; the
light picture handed back; heavy with the light model's cross-attention maps.
Where both sides have the same autoencoder, as two candidates of one model do,
latents are handed over as they are; else heavy's own encodes the light picture
again, and that is timed too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.package.runner import read_picture
from studio.errors import CascadeError
from studio.plan.cascade import Cascade, Likeness, Sample
from studio.plan.deferral import Interval
from studio.plan.reuse import Arm, Kind, Reuse
from studio.plan.worth import deferred, interval
from studio.record.sides import pair_of
from studio.work.cascade.bench import Bench, Way
from studio.work.cascade.files import NETWORK, trained, write
from studio.work.cascade.labels import CALLED, alike
from studio.work.cascade.models import READER
from studio.work.consent import agree
from studio.work.job import Job

if TYPE_CHECKING:
    from engines.models.model import Model

Pixels = NDArray[np.uint8]
OnProgress = Callable[[int, int, str], None]

STRENGTHS: Final = (0.2, 0.35, 0.5, 0.65, 0.8)
SHARE: Final = 0.4
COUNT: Final = 24
SHOWN: Final = 5
"""Prompts whose pictures the grid shows."""


def reuse(
    job: Job,
    run: str,
    light: str,
    heavy: str,
    share: float = SHARE,
    count: int = COUNT,
    pixels: bool = False,
    attention: bool = True,
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `reuse`: after `discriminator`, whose result it completes.

    Args:
        share: the prompts that would be deferred at this share are taken.
        count: how many of them, at most.
        pixels: hand the picture over and not the latent.
        attention: also try the light model's cross-attention maps.
        without_walls: the user's word, where candidates would run though nothing limits them (`consent`).

    Returns:
        As `discriminator`; `cascade` then has `reuse`.

    Raises:
        CascadeError: no discriminator yet, candidates that cannot be started in the middle, or a model that
            is another than when the pair was trained.
        RunError, JournalError: no such run or candidate.
    """
    agree(without_walls=without_walls)
    folder = job.run_folder(run)
    found = measure(
        folder,
        light,
        heavy,
        share=share,
        count=count,
        pixels=pixels,
        attention=attention,
        home=job.home,
        on_progress=job.progress,
    )
    return {"run": folder.name, "network": f"{found.folder}/{NETWORK}", "cascade": found.to_json()}


def measure(
    run_folder: Path,
    light: str,
    heavy: str,
    *,
    share: float = SHARE,
    count: int = COUNT,
    strengths: Sequence[float] = STRENGTHS,
    pixels: bool = False,
    attention: bool = True,
    home: Path | None = None,
    on_progress: OnProgress = lambda _done, _total, _doing: None,
) -> Cascade:
    """See `reuse`; what was drawn is kept, so that an interrupted job goes on where it was."""
    if not 0 < share <= 1 or count < 8:
        raise CascadeError("Give a share above 0 and up to 1, and at least 8 prompts.")
    on_progress(0, 0, "Reading the run")
    pair = pair_of(run_folder, light, heavy, home)
    known = trained(pair)
    if known is None:
        raise CascadeError(
            f"There is no discriminator for {pair.light.name} and {pair.heavy.name} yet; train one first: it "
            "says what to defer."
        )
    key, cascade = known
    samples = [cascade.samples[at] for at in _chosen(cascade, share, count)]
    bench = Bench(pair, pixels=pixels)
    arms = bench.arms(strengths)
    on_progress(0, 0, "Loading light and heavy")
    bench.warm(arms, samples[0].prompt)
    total = len(samples) * len(arms)
    for done, sample in enumerate(samples):
        doing = f"Deferred prompts: {sample.prompt[:60]}"
        on_progress(done * len(arms), total, doing)
        bench.draw(arms, sample.prompt, sample.seed, done)
    asked = [(sample.prompt, sample.seed) for sample in samples]
    images = {arm.key: bench.images(arm, asked) for arm in arms}
    judge, by, how = judge_as_trained(bench.model, cascade, [prompt for prompt, _ in asked], images["heavy"])
    notes = [bench.handed, how]
    made = _arms(bench, arms, asked, images, judge)
    handed = np.array([sample.light_quality for sample in samples])
    if by != trained_by(cascade):
        handed = judge(np.stack([read_picture(run_folder / sample.light_image) for sample in samples]))
    made.append(_handed_back(samples, handed, images, judge))
    if attention:
        from studio.work.cascade.attention import attention_arms

        more, why = attention_arms(bench, asked, judge, lambda doing: on_progress(total, total, doing))
        made += more
        notes += why
    found = Reuse(
        share,
        bench.through,
        tuple(prompt for prompt, _ in asked),
        tuple(seed for _, seed in asked),
        tuple(made),
        tuple(notes),
    )
    cascade = replace(cascade, reuse=found)
    write(pair, key, cascade)
    on_progress(total, total, "Done")
    return cascade


def _chosen(cascade: Cascade, share: float, count: int) -> list[int]:
    """Some of the samples that are deferred at this share, by chance, in their order."""
    scores = [sample.score for sample in cascade.samples]
    taken = np.flatnonzero(deferred(scores, share))
    if taken.size < 8:
        raise CascadeError(
            f"At a share of {share:.0%} only {taken.size} prompts are deferred; 8 are needed: take a larger "
            "share or train on more prompts."
        )
    chosen = np.random.default_rng(cascade.seed).permutation(taken)[:count]
    return [int(at) for at in np.sort(chosen)]


Judge = Callable[[Pixels], NDArray[np.float64]]


def trained_by(cascade: Cascade) -> Likeness | None:
    """What the pair's quality was measured by, `None` for adherence; once only a note said it."""
    if cascade.metric == "adherence" or cascade.likeness is not None:
        return cascade.likeness
    return "lpips" if any(f"({CALLED['lpips']})" in note for note in cascade.notes) else "haarpsi"


def judge_as_trained(
    model: Model, cascade: Cascade, prompts: Sequence[str], heavy: Pixels
) -> tuple[Judge, Likeness | None, str]:
    """Quality (N,) of pictures of these prompts, as the pair was trained; by what, and how to say so."""
    by = trained_by(cascade)
    if by is None:
        from engines.scenes.reader import load_reader

        reader = load_reader(model.path / READER)
        return lambda images: reader.adherence(images, prompts), None, "Quality is adherence."
    from engines.metrics_pack import place

    how = f"Quality is the likeness to the heavy picture ({CALLED[by]}), as when the pair was trained."
    if by == "lpips" and place.find("lpips") is None:
        by = "haarpsi"
        how = (
            f"Quality is the likeness to the heavy picture by {CALLED[by]}: the pair was trained with "
            f"{CALLED['lpips']}, and its numbers do not compare with these. {place.missing('lpips')}"
        )
    used = by
    return lambda images: alike(used, images, heavy), used, how


def compared(
    bench: Bench,
    key: str,
    asked: Sequence[tuple[str, int]],
    judge: Judge,
    with_: NDArray[np.float64],
    *,
    kind: Kind,
    title: str,
    strength: float | None,
    steps: int,
) -> Arm:
    """An option from what was drawn of it; `with_` (N,) is the quality of the arm it is paired with."""
    quality = judge(bench.images(key, asked))
    return Arm(
        kind,
        title,
        strength,
        steps,
        interval(quality),
        interval(bench.seconds(key, asked)),
        interval(quality - with_),
        bench.files(key, asked[:SHOWN]),
    )


def _arms(
    bench: Bench,
    ways: Sequence[Way],
    asked: Sequence[tuple[str, int]],
    images: Mapping[str, Pixels],
    judge: Judge,
) -> list[Arm]:
    whole = judge(images["heavy"])
    return [
        compared(
            bench,
            way.key,
            asked,
            judge,
            whole,
            kind=way.kind,
            title=way.title,
            strength=way.strength,
            steps=way.steps,
        )
        for way in ways
    ]


def _handed_back(
    samples: Sequence[Sample], quality: NDArray[np.float64], images: Mapping[str, Pixels], judge: Judge
) -> Arm:
    return Arm(
        "light",
        "the light picture handed back",
        None,
        0,
        interval(quality),
        Interval(0.0, 0.0, 0.0),
        interval(quality - judge(images["heavy"])),
        tuple(sample.light_image for sample in samples[:SHOWN]),
    )
