"""What happens to a deferred prompt: each option measured on the pair, in turns, on such prompts.

Heavy from the start; heavy started from the light latent, noised again to
strength s (SDEdit, arXiv 2108.01073), which takes the last s of its steps; the
light picture handed back; heavy with the light model's cross-attention maps.
Candidates of a run share their model's autoencoder, so latents are handed over
as they are; through pixels the picture is encoded again, and that is timed too.

    python -m studio.work.cascade.reuse RUN LIGHT HEAVY [--share 0.4] [--count 24] [--pixels]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.package.runner import read_picture, write_picture
from studio.errors import CascadeError
from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval
from studio.plan.reuse import Arm, Kind, Reuse
from studio.plan.worth import deferred, interval
from studio.record.journal import Journal
from studio.record.settings import write_atomically
from studio.record.state import CandidateState, RunState
from studio.work.cascade.files import NETWORK, RESULT, place_of
from studio.work.job import Job

if TYPE_CHECKING:
    from engines.hostloop.loop import Loop
    from engines.models.model import Model
    from engines.pipeline import Pipeline

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
OnProgress = Callable[[int, int, str], None]

STRENGTHS: Final = (0.2, 0.35, 0.5, 0.65, 0.8)
SHARE: Final = 0.4
COUNT: Final = 24
SHOWN: Final = 5
"""Prompts whose pictures the grid shows."""
FOLDER: Final = "reuse"
_LINES: Final = "times.jsonl"


def reuse(
    job: Job,
    run: str,
    light: str,
    heavy: str,
    share: float = SHARE,
    count: int = COUNT,
    pixels: bool = False,
    attention: bool = True,
) -> dict[str, Any]:
    """Command `reuse`: after `discriminator`, whose result it completes.

    Args:
        share: the prompts that would be deferred at this share are taken.
        count: how many of them, at most.
        pixels: hand the picture over and not the latent.
        attention: also try the light model's cross-attention maps.

    Returns:
        As `discriminator`; `cascade` then has `reuse`.

    Raises:
        CascadeError: no discriminator yet, or candidates that cannot be started in the middle.
        RunError, JournalError: no such run or candidate.
    """
    folder = job.run_folder(run)
    found = measure(
        folder,
        light,
        heavy,
        share=share,
        count=count,
        pixels=pixels,
        attention=attention,
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
    on_progress: OnProgress = lambda _done, _total, _doing: None,
) -> Cascade:
    """See `reuse`; what was drawn is kept, so that an interrupted job goes on where it was."""
    if not 0 < share <= 1 or count < 8:
        raise CascadeError("Give a share above 0 and up to 1, and at least 8 prompts.")
    on_progress(0, 0, "Reading the run")
    state = RunState.replay(Journal.read(run_folder))
    pair = (state.candidate(light), state.candidate(heavy))
    place = place_of(run_folder, *pair)
    try:
        kept = json.loads((place / RESULT).read_text(encoding="utf-8"))
        cascade = Cascade.from_json(kept["cascade"])
    except (OSError, ValueError, KeyError, TypeError):
        raise CascadeError(
            f"There is no discriminator for {light} and {heavy} yet; train one first: it says what to defer."
        ) from None
    samples = [cascade.samples[at] for at in _chosen(cascade, share, count)]
    bench = Bench(run_folder, state, pair, place / FOLDER, pixels)
    arms = bench.arms(strengths)
    on_progress(0, 0, "Loading light and heavy")
    bench.warm(arms, samples[0].prompt)
    total = len(samples) * len(arms)
    for done, sample in enumerate(samples):
        doing = f"Deferred prompts: {sample.prompt[:60]}"
        on_progress(done * len(arms), total, doing)
        bench.draw(arms, sample.prompt, sample.seed, done)
    notes: list[str] = []
    if bench.through == "pixels":
        notes.append("The light picture was handed over through pixels: decoded, and encoded again.")
    else:
        notes.append("Both models share an autoencoder: the light latent was handed over as it is.")
    asked = [(sample.prompt, sample.seed) for sample in samples]
    images = {arm.key: bench.images(arm, asked) for arm in arms}
    judge = _judge(bench.model, cascade, [prompt for prompt, _ in asked], images["heavy"])
    made = _arms(bench, arms, asked, images, judge)
    made.append(_handed_back(samples, images, judge))
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
    write_atomically(place / RESULT, json.dumps({"key": kept["key"], "cascade": cascade.to_json()}))
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


@dataclass(frozen=True, eq=False)
class _Way:
    """One way for heavy to go on: from the start, or from the light latent."""

    key: str
    kind: Kind
    title: str
    strength: float | None
    steps: int
    loop: Loop


class Bench:
    """Light and heavy as their recipes make them, in this process, and what they drew."""

    def __init__(
        self,
        run: Path,
        state: RunState,
        pair: tuple[CandidateState, CandidateState],
        folder: Path,
        pixels: bool,
    ) -> None:
        from engines.models.load import open_model

        assert state.started is not None
        self.run, self.folder = run, folder
        self.model = open_model(state.started.model.source)
        for candidate in pair:
            _check(run, candidate)
        self.light, self.heavy = (self._pipeline(state, candidate) for candidate in pair)
        settings = (self.light.plan.loop, self.heavy.plan.loop)
        if any(not one.steps for one in settings):
            raise CascadeError("A model that denoises nothing has no steps to start late in.")
        # Plans of one model share its autoencoder; only the shape could differ, by the size asked for.
        same = self.light.plan.model == self.heavy.plan.model
        alike = settings[0].latent_shape == settings[1].latent_shape
        self.through = "latents" if same and alike and not pixels else "pixels"
        self._light = self._loop(self.light)
        folder.mkdir(parents=True, exist_ok=True)
        facts = [asdict(self.light.plan), asdict(self.heavy.plan), self.through, self.model.hash]
        self._facts = json.dumps(facts, sort_keys=True, default=str)
        self._seconds = self._kept()

    def _pipeline(self, state: RunState, candidate: CandidateState) -> Pipeline:
        from engines.errors import EngineError
        from engines.pipeline import build, plan
        from engines.techniques import from_step
        from engines.workload import Workload

        assert state.started is not None
        try:
            recipe = tuple(from_step(step) for step in candidate.proposal.recipe)
            workload = Workload.model_validate(state.started.workload)
            return build(plan(self.model, state.started.target, workload, recipe))
        except EngineError as error:
            raise CascadeError(f"{candidate.id} cannot be built any more: {error}") from error

    def _loop(self, pipeline: Pipeline, strength: float = 1.0) -> Loop:
        from engines.hostloop.loop import Loop

        components = {name: one.component for name, one in pipeline.loaded.items()}
        settings = replace(pipeline.plan.loop, batch=1, strength=strength)
        return Loop(components, self.model.tokenizers, settings)

    def arms(self, strengths: Sequence[float]) -> list[_Way]:
        """Heavy from the start, and from each strength at which a step is left, another number each."""
        steps = self.heavy.plan.loop.steps
        found = [_Way("heavy", "heavy", "heavy from the start", None, steps, self._loop(self.heavy))]
        taken = {0, steps}
        for strength in sorted(strengths):
            left = int(steps * strength + 1e-9)
            if left in taken:
                continue
            taken.add(left)
            title = f"from the light latent, strength {strength:.2g}"
            loop = self._loop(self.heavy, strength)
            found.append(_Way(f"s{strength:.3f}", "strength", title, strength, left, loop))
        return found

    def warm(self, ways: Sequence[_Way], prompt: str) -> None:
        """Once each, thrown away."""
        start = self.light_latent(prompt, 0)
        for way in ways:
            self._go(way, prompt, 0, start)

    def light_latent(self, prompt: str, seed: int) -> tuple[Floats, Pixels]:
        """The light candidate's latent (1, C, h, w) and picture (1, H, W, 3)."""
        last: list[Floats] = []
        found = self._light.generate([prompt], [seed], lambda done: last.append(done.latent))
        return last[-1], found.images

    def _go(self, way: _Way, prompt: str, seed: int, light: tuple[Floats, Pixels]) -> tuple[Pixels, float]:
        start = time.perf_counter()
        if way.kind != "strength":
            made = way.loop.generate([prompt], [seed])
        else:
            latent = light[0] if self.through == "latents" else self._encoded(light[1])
            made = way.loop.generate([prompt], [seed], start=latent)
        return made.images[0], time.perf_counter() - start

    def _encoded(self, picture: Pixels) -> Floats:
        from studio.work.cascade.encode import encoded

        return encoded(self.model, picture, self.heavy.plan.loop.latent_shape)

    def draw(self, ways: Sequence[_Way], prompt: str, seed: int, turn: int) -> None:
        """Every way once, in another order each turn, unless it was drawn before."""
        missing = [way for way in ways if not self._has(way.key, prompt, seed)]
        if not missing:
            return
        light = self.light_latent(prompt, seed)
        for at in np.random.default_rng(turn).permutation(len(missing)):
            way = missing[int(at)]
            picture, seconds = self._go(way, prompt, seed, light)
            self.keep(way.key, prompt, seed, picture, seconds)

    # -- what is kept -----------------------------------------------------------------------------

    def _kept(self) -> dict[str, float]:
        try:
            lines = (self.folder / _LINES).read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        found = {}
        for line in lines:
            try:
                entry = json.loads(line)
                found[str(entry["key"])] = float(entry["seconds"])
            except (ValueError, KeyError, TypeError):  # the last line of a killed process
                continue
        return found

    def path(self, key: str, prompt: str, seed: int) -> Path:
        import hashlib

        name = hashlib.sha256(f"{self._facts}\n{key}\n{seed}\n{prompt}".encode()).hexdigest()[:24]
        return self.folder / f"{name}.png"

    def _has(self, key: str, prompt: str, seed: int) -> bool:
        path = self.path(key, prompt, seed)
        return path.stem in self._seconds and path.is_file()

    def has(self, key: str, asked: Sequence[tuple[str, int]]) -> bool:
        return all(self._has(key, *one) for one in asked)

    def keep(self, key: str, prompt: str, seed: int, picture: Pixels, seconds: float) -> None:
        path = self.path(key, prompt, seed)
        write_picture(picture, path)
        with (self.folder / _LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": path.stem, "seconds": seconds}) + "\n")
        self._seconds[path.stem] = seconds

    def images(self, way: _Way | str, asked: Sequence[tuple[str, int]]) -> Pixels:
        key = way if isinstance(way, str) else way.key
        return np.stack([read_picture(self.path(key, *one)) for one in asked])

    def seconds(self, key: str, asked: Sequence[tuple[str, int]]) -> NDArray[np.float64]:
        return np.array([self._seconds[self.path(key, *one).stem] for one in asked])

    def files(self, key: str, asked: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        return tuple(self.path(key, *one).relative_to(self.run).as_posix() for one in asked[:SHOWN])


Judge = Callable[[Pixels], NDArray[np.float64]]


def _judge(model: Model, cascade: Cascade, prompts: Sequence[str], heavy: Pixels) -> Judge:
    """Quality (N,) of pictures of these prompts, by the cascade's metric."""
    if cascade.metric == "adherence":
        from engines.scenes.reader import load_reader

        reader = load_reader(model.path / "reader.safetensors")
        return lambda images: reader.adherence(images, prompts)
    from engines.measure.images import haarpsi

    return lambda images: haarpsi(images, heavy)


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
        bench.files(key, asked),
    )


def _arms(
    bench: Bench,
    ways: Sequence[_Way],
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


def _handed_back(samples: Sequence[Any], images: Mapping[str, Pixels], judge: Judge) -> Arm:
    quality = np.array([sample.light_quality for sample in samples])
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


def _check(run: Path, candidate: CandidateState) -> None:
    """A candidate is started in the middle by its recipe; a script that does more cannot be."""
    from studio.work.exportable import follows_recipe

    if not candidate.proposal.recipe and candidate.id == "c000":
        return  # the baseline is the model's own loop
    try:
        text = (run / candidate.proposal.script).read_text(encoding="utf-8")
    except OSError:
        raise CascadeError(f"The script of {candidate.id} is gone from the run folder.") from None
    if candidate.proposal.origin == "given" or not follows_recipe(text):
        raise CascadeError(
            f"The script of {candidate.id} does more than its recipe says, so it cannot be started from a "
            "latent; choose a candidate that is its recipe."
        )


def _percent(found: Interval) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studio.work.cascade.reuse", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("light")
    parser.add_argument("heavy")
    parser.add_argument("--share", type=float, default=SHARE, help="deferred share whose prompts are taken")
    parser.add_argument("--count", type=int, default=COUNT, help="how many of them, at most")
    parser.add_argument("--pixels", action="store_true", help="hand the picture over, not the latent")
    parser.add_argument("--no-attention", action="store_true", help="leave cross-attention maps out")
    given = parser.parse_args(arguments)
    from studio.errors import StudioError

    try:
        cascade = measure(
            given.run,
            given.light,
            given.heavy,
            share=given.share,
            count=given.count,
            pixels=given.pixels,
            attention=not given.no_attention,
            on_progress=lambda done, total, doing: print(f"{done}/{total} {doing}", file=sys.stderr),
        )
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    found = cascade.reuse
    assert found is not None
    print("| A deferred prompt | Steps | Further time | Quality | Against its pair |\n|---|---|---|---|---|")
    for arm in found.arms:
        seconds = f"{arm.seconds.value * 1000:.3g} ms"
        print(
            f"| {arm.title} | {arm.steps} | {seconds} | {_percent(arm.quality)} | {_percent(arm.against)} |"
        )
    print(f"\n{found.verdict(cascade.margin)}", *found.notes, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
