"""The judge: three stages as a cascade, and certification.

    static   parses, keeps the contract, imports what it may, carries out its recipe
    build    its engines, by trusted code outside the sandbox
    smoke    four pictures: right shape, not black, not one colour, not noise
    gate     sixteen pictures against the reference, alternating timing, memory, robustness, floor;
             a script with code of its own is counted and tried (`honesty`)
    certify  on request: one claim on fresh sealed prompts

From smoke on what is hopeless is given up (`hopeless`).

The clock, the prompts and the reference are here and never in the candidate's
process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Candidate, Recipe, Stage, Verdict
from agent.errors import BaselineError, JudgeError
from agent.evaluate import allowances, declared, given, hopeless
from agent.evaluate import reference as references
from agent.evaluate.bench import Bench
from agent.evaluate.certification import Certifier, OnProgress
from agent.evaluate.claims import Certificate
from agent.evaluate.doubt import Doubt
from agent.evaluate.honesty import Honesty
from agent.evaluate.hopeless import Hopeless
from agent.evaluate.measure import Measured, measure
from agent.evaluate.prompts import Prompts
from agent.evaluate.recipes import Recipes
from agent.evaluate.static import examine
from agent.evaluate.yardstick import SMOKE, Yardstick, interval, on_card
from agent.sandbox import CandidateFailure, Isolation, Limits, graphics
from engines.hostloop import pictures
from engines.measure import enlargement, images, quality, rates
from engines.workload import Workload

Pixels = NDArray[np.uint8]
OnStage = Callable[[Stage, str], None]

GATE: Final = 16
MOST_GATE: Final = 32
"""A run's gate looks at so many pictures, from `GATE` on: as many as its user chose."""


class Judge:
    """Judges candidates for one model, device and workload; close it.

    `folder` is the run's: pictures go to `images/ID/NN.png` in it.  `metric`
    is the run's quality metric; `None` chooses (`engines.measure.quality`).
    `gate` is how many pictures the gate looks at, at least 8.  A `patient` judge
    measures in full what is hopeless too, as it always does a script of the user's own.
    """

    def __init__(
        self,
        model: str,
        device: str,
        workload: Workload,
        folder: Path,
        *,
        metric: str | None = None,
        limits: Limits | None = None,
        gate: int = GATE,
        patient: bool = False,
    ) -> None:
        from engines.models.card import describe
        from engines.models.load import open_model

        self.device, self.workload, self.folder = device, workload, folder
        self._patient = patient
        self._line: float | None = None
        self._opened = open_model(model)
        self.model = str(self._opened.place)
        self.card = describe(self._opened)
        self._prompts = Prompts(workload.prompts, folder / "drawn.txt")
        self._asked = self._prompts.gate(gate)
        self.limits = limits or allowances.candidates(self.card.memory, graphics.limit())
        self._bench = Bench(
            self.model,
            device,
            workload,
            self._baseline_script(),
            self.limits,
            [*_places(self._opened.place), *pictures.files(workload.prompts)],
            allowances.builders(self.card.memory),
        )
        self._metric = metric
        self._quality: quality.Quality | None = None
        self.tell: OnProgress = lambda _done, _total, _doing: None
        """Told how far the baseline is: nothing else that takes long is done unasked."""
        self._recipes = Recipes(self.model, self.card, device, workload, self._bench)
        self._honesty = Honesty(self._bench, self._prompts, self._recipes)
        self._certifier = Certifier(
            self._bench, self._prompts, lambda: self.quality, self._recipes.make_ready
        )
        # The metrics' imports take seconds; the processes' own are under way now and leave a core free.
        self._warming = threading.Thread(target=self._warm, name="metrics", daemon=True)
        self._warming.start()
        self._yardstick = Yardstick(
            self._bench,
            self._recipes,
            self._asked,
            self._opened.hash,
            device=device,
            workload=workload,
            folder=folder,
            limits=self.limits,
            quality=lambda: self.quality,
            warmed=self._warming.join,
            tell=lambda done, total, doing: self.tell(done, total, doing),
        )

    def _warm(self) -> None:
        """Have all metrics loaded; what fails will fail again where it is wanted."""
        with suppress(Exception):
            nothing = np.zeros((2, 64, 64, 3), np.uint8)
            self.quality.values(nothing, nothing, self._asked.prompts[:2])

    @property
    def isolation(self) -> str:
        """Behind which walls candidates run, as a sentence; empty before the first one."""
        return self._bench.nursery.level

    @property
    def reference(self) -> references.Reference | None:
        """The baseline's pictures of the gate's prompts; None before `baseline`."""
        return self._yardstick.reference

    @property
    def quality(self) -> quality.Quality:
        """The run's metric.

        Raises:
            WorkloadError: the wanted metric cannot be computed here.
        """
        if self._quality is None:
            self._quality = quality.choose(
                self._opened.path,
                self._asked.prompts,
                self._metric,
                small=enlargement.small_side(self._opened, self.workload),
            )
        return self._quality

    def _baseline_script(self) -> str:
        from agent.coder import ScriptWriter

        context: Any = SimpleNamespace(card=self.card, device=self.device)
        return ScriptWriter().baseline(context)

    def baseline(self) -> Verdict:
        """Run the unchanged model (`agent.evaluate.yardstick`).

        Raises:
            JudgeError: the evaluation was stopped.
        """
        return self._yardstick.measured()

    # -- candidates ------------------------------------------------------------------------------

    def objection(self, script: str) -> str:
        """Why a script of the user's own need not be run, as sentences; empty where it may; draws nothing."""
        examined = examine(script)
        if examined.problem or examined.recipe is None:
            return examined.problem
        return self._recipes.misfit(examined.recipe)

    def judge(self, candidate: Candidate, on_stage: OnStage) -> Verdict:
        """Take a candidate through the stages until one fails it.

        Raises:
            JudgeError, BaselineError: the evaluator or the baseline failed; the candidate is not to blame.
        """
        started = time.monotonic()
        if self.reference is None:
            first = self.baseline()
            if first.state != "passed":
                raise BaselineError(first.reason)
        at = _At("static")

        def stage(name: Stage, message: str, cost: str = "") -> None:
            at.enter(name, cost or name)
            on_stage(name, message)

        try:
            verdict = self._stages(candidate, stage, at)
        except CandidateFailure as found:
            if self._bench.aborted:
                raise JudgeError("The evaluation was stopped.") from found
            failure = given.explained(candidate, found)
            verdict = Verdict("failed", at.stage, str(failure), failure.evidence)
        except Hopeless as found:
            verdict = found.verdict
        if verdict.state != "passed" and not verdict.engines and at.stage in ("smoke", "gate"):
            # What its engines do alone tells a debugger whether they or its code calculate wrongly.
            recipe = given.recipe_of(candidate, examine(candidate.script).recipe)
            verdict = replace(verdict, engines=self._recipes.built(recipe))
        at.enter(at.stage, at.cost)
        seconds = time.monotonic() - started
        return replace(verdict, isolation=at.isolation, spent=dict(at.spent), seconds=seconds)

    def _stages(self, candidate: Candidate, stage: _OnCost, at: _At) -> Verdict:
        stage("static", "reading the script")
        examined = examine(candidate.script)
        if examined.problem:
            return Verdict("failed", "static", examined.problem)
        recipe = given.recipe_of(candidate, examined.recipe)
        if recipe is not None:
            problem = self._recipes.misfit(recipe)
            if problem:
                return Verdict("failed", "static", problem)
            self._recipes.make_ready(recipe, lambda: stage("build", "building its engines"))
        assert self.reference is not None
        stage("smoke", "starting it")
        bare = given.without_walls(candidate)
        with self._bench.process(candidate.script, trusted=bare) as process:
            at.isolation = process.isolation
            self._bench.load(process)
            stage("smoke", f"drawing {SMOKE} pictures")
            first = process.generate(self._asked.prompts[:SMOKE], self._asked.seeds[:SMOKE])
            self._smoke(given.check(candidate, first).images)
            patient = self._patient or candidate.proposal.origin == "given"
            limit = None if patient else self._worthless()
            doubt = Doubt(self._bench, self._prompts, self.reference, self.quality, limit)
            doubt.first(process, first)
            stage("gate", f"drawing {len(self._asked) - SMOKE} pictures and timing it")
            plain = declared.is_plain(candidate.script)
            cached = recipe is not None and any(step.technique == "prompt-cache" for step in recipe)
            found = measure(
                self._bench, process, self._prompts, self.reference, self.quality, first.images,
                plan=None if recipe is None else self._recipes.plan(recipe), plain=plain, cached=cached,
                doubt=doubt,
            )  # fmt: skip
            if not plain:
                stage("gate", "counting what it does and comparing it with what it declares", "honesty")
                found = self._honesty.tried(candidate, recipe, process, found, self.reference)
            memory, card_memory = process.peak, on_card(process, self.device)
        verdict = self._verdict(candidate, found, recipe)
        return replace(verdict, memory=memory, card_memory=card_memory)

    def _worthless(self) -> float:
        """The loss at which pictures are worth nothing."""
        if self._line is None:
            assert self.reference is not None
            asked, pictures = self.reference.asked, self.reference.images
            values = self.quality.values(np.roll(pictures, 1, axis=0), pictures, asked.prompts)
            unrelated = float(np.nanmean(self.quality.losses(values, self.reference.adherence)))
            self._line = hopeless.line(unrelated, of_worth=self.quality.name in ("adherence", "clip"))
        return self._line

    def _smoke(self, drawn: Pixels) -> None:
        assert self.reference is not None
        expected = self.reference.images
        if drawn.shape[1:] != expected.shape[1:]:
            raise CandidateFailure(
                f"The pictures are {_size(drawn)} and the baseline's {_size(expected)}; draw them at the same"
                " size."
            )
        self._refuse_blank(drawn, 0)

    def _refuse_blank(self, drawn: Pixels, start: int) -> None:
        """Fail pictures that show nothing where the baseline's show something."""
        assert self.reference is not None
        for index, image in enumerate(drawn, start):
            what = images.blank(image)
            if what and not images.blank(self.reference.images[index]):
                raise CandidateFailure(
                    f"Picture {index + 1} is {what}; the numbers in the pipeline have broken down."
                )

    def _verdict(self, candidate: Candidate, found: Measured, recipe: Recipe | None) -> Verdict:
        self._refuse_blank(found.images, 0)
        names = references.save_pictures(self.folder, candidate.id, found.images)
        least = self._recipes.floor(recipe)
        verdict = Verdict(
            "passed",
            "gate",
            latency=interval(found.timing.latency),
            latency_p90=found.timing.p90,
            speedup=interval(found.timing.speedup),
            warm_up=found.warm_up,
            pairs=len(found.timing.turns),
            stages=found.stages,
            throughput=found.throughput,
            loss=interval(found.loss),
            metrics={name: interval(value) for name, value in found.metrics.items()},
            robustness=dict(found.robustness),
            floor=least,
            fallbacks=found.fallbacks,
            others=found.others,
            samples=references.samples(
                self._asked,
                names,
                found.values,
                frames=references.count_frames(found.images),
                curves=found.curves,
                given=self._yardstick.given_names(),
            ),
            engines=self._recipes.built(recipe),
            census=found.census,
            sets_note=found.sets_note,
        )
        for check in ("seeds", "prompts"):
            if found.robustness.get(check, "ok") != "ok":
                return replace(verdict, state="failed", reason=found.robustness[check])
        if found.suspicions:
            evidence = "\n".join(found.suspicions)
            return replace(verdict, state="quarantined", reason=found.suspicions[0], evidence=evidence)
        if least is not None and found.timing.latency.value < least:
            # A rate that was measured beside other work is too low and would accuse the innocent.
            rates.remeasure(self.device)
            least = self._recipes.floor(recipe)
            verdict = replace(verdict, floor=least)
        if least is not None and found.timing.latency.value < least:
            reason = (
                f"It takes {found.timing.latency.value * 1000:.2f} ms an image, and this machine cannot do "
                f"the declared work in less than {least * 1000:.2f} ms; look at what it leaves out."
            )
            evidence = self._recipes.sums(recipe, found.timing.latency.value)
            return replace(verdict, state="quarantined", reason=reason, evidence=evidence)
        return verdict

    # -- certification ---------------------------------------------------------------------------

    def certify(self, candidate: Candidate, claim: str, prompts: int, on_progress: OnProgress) -> Certificate:
        """Check one claim on fresh sealed prompts (`agent.evaluate.certification`).

        Raises:
            JudgeError: a claim that cannot be certified, or the evaluation was stopped.
        """
        return self._certifier.certify(candidate, claim, prompts, on_progress)

    # -- its end ---------------------------------------------------------------------------------

    def abort(self) -> None:
        """Stop what is being measured, from any thread; the running call raises `JudgeError`."""
        self._bench.abort()

    def close(self) -> None:
        """End every process."""
        self._bench.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _OnCost(Protocol):
    """Told of a stage, and under which other name its seconds are counted."""

    def __call__(self, name: Stage, message: str, cost: str = "") -> None: ...


@dataclass
class _At:
    """How far a candidate has come, and behind which walls."""

    stage: Stage
    isolation: Isolation | Literal[""] = ""
    cost: str = "static"
    """Under which name the seconds now spent are counted."""
    since: float = field(default_factory=time.monotonic)
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds by stage."""

    def enter(self, stage: Stage, cost: str) -> None:
        now = time.monotonic()
        self.spent[self.cost] = self.spent.get(self.cost, 0.0) + now - self.since
        self.stage, self.cost, self.since = stage, cost, now


def _size(images: Pixels) -> str:
    """Width and height, of clips their frames too."""
    frames = references.count_frames(images)
    return f"{images.shape[-2]}x{images.shape[-3]} px" + (f" with {frames} frames" if frames else "")


def _places(model: Path) -> list[Path]:
    """The model's folder or file, and where the links in it lead (hub snapshots are links)."""
    linked = {path.resolve().parent for path in model.rglob("*") if path.is_symlink()}
    return [model, *sorted(linked)]
