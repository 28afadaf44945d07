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

from agent.candidate import Candidate, Interval, Recipe, Stage, Verdict
from agent.errors import AgentError, BaselineError, JudgeError
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
from agent.sandbox import CandidateFailure, Isolation, Limits, Process, graphics
from engines.backends.serves import TORCH
from engines.errors import EngineError
from engines.hostloop import pictures
from engines.measure import bootstrap, enlargement, images, quality, rates
from engines.measure.bootstrap import Interval as Bounds
from engines.workload import Workload

Pixels = NDArray[np.uint8]
OnStage = Callable[[Stage, str], None]

GATE: Final = 16
MOST_GATE: Final = 32
"""A run's gate looks at so many pictures, from `GATE` on: as many as its user chose."""
SMOKE: Final = 4
BASELINE: Final = "c000"
GIVEN: Final = "given"
"""Under this name the small pictures are kept that a model makes larger."""
_FORMAT: Final = 2


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
        self._reference: references.Reference | None = None
        self._recipes = Recipes(self.model, self.card, device, workload, self._bench)
        self._honesty = Honesty(self._bench, self._prompts, self._recipes)
        self._certifier = Certifier(
            self._bench, self._prompts, lambda: self.quality, self._recipes.make_ready
        )
        # The metrics' imports take seconds; the processes' own are under way now and leave a core free.
        self._warming = threading.Thread(target=self._warm, name="metrics", daemon=True)
        self._warming.start()

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
        return self._reference

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

    # -- baseline --------------------------------------------------------------------------------

    def baseline(self) -> Verdict:
        """Run the unchanged model: the reference pictures and the verdict that everything is compared with.

        The pictures are kept in the run's folder, so a resumed run need not draw
        them again.  A model that does not run gives a failed verdict.

        Raises:
            JudgeError: the evaluation was stopped.
        """
        started = time.monotonic()
        try:
            found = self._find_reference()
            if self.device not in TORCH:
                self._recipes.make_ready(
                    (), lambda: self.tell(0, 0, "building the unchanged model's engines")
                )
            self.tell(0, 0, "loading the unchanged model")
            process = self._bench.baseline()
            self._warming.join()
            first = self._bench.draw_baseline(self._asked.part(0, 1))  # it pays for lazy set-up
            if found is None:
                found = self._draw_reference()
            size = self.workload.batch
            throughput = {size: 1 / float(np.median(found.seconds)), **found.throughput}
        except (BaselineError, CandidateFailure, OSError) as error:
            if self._bench.aborted:
                raise JudgeError("The evaluation was stopped.") from error
            cause = error if isinstance(error, CandidateFailure) else error.__cause__
            evidence = cause.evidence if isinstance(cause, CandidateFailure) else ""
            return Verdict(
                "failed", "gate", _one_sentence(error), evidence, seconds=time.monotonic() - started
            )
        self._reference = found
        self._bench.encoding = found.stages.get("encode", 0.0) / size
        self._bench.limits = replace(self.limits, generate_seconds=self._patience(found))
        latency = bootstrap.median(found.seconds)
        shown = {} if found.adherence is None else {"adherence": found.adherence}
        if self.quality.small:
            shown["consistency"] = self.quality.consistency(found.images, self._asked.prompts)
        metrics = {name: _interval(bootstrap.mean(values)) for name, values in shown.items()}
        frames = references.count_frames(found.images)
        end = "/000.png" if frames else ".png"
        names = [f"images/{BASELINE}/{index:02}{end}" for index in range(len(found.images))]
        return Verdict(
            "passed",
            "gate",
            latency=_interval(latency),
            latency_p90=float(np.quantile(found.seconds, 0.9)),
            speedup=Interval(1.0, 1.0, 1.0),
            stages={name: value / size for name, value in found.stages.items()},
            throughput=throughput,
            memory=process.peak,
            card_memory=self._on_card(process),
            isolation=process.isolation,
            spent={"gate": time.monotonic() - started},
            loss=Interval(0.0, 0.0, 0.0),
            metrics=metrics,
            fallbacks=first.fallbacks,
            samples=references.samples(self._asked, names, shown, frames=frames, given=self._keep_given()),
            seconds=time.monotonic() - started,
        )

    def _keep_given(self) -> list[str]:
        """The small pictures that the gate's are made from, kept in the run; nothing for other models."""
        side = self.quality.small
        if not side:
            return []
        small = enlargement.given(self._asked.prompts, (side, side))
        return references.save_pictures(self.folder, GIVEN, small)

    def _given_names(self) -> list[str]:
        count = len(self._asked) if self.quality.small else 0
        return [f"images/{GIVEN}/{index:02}.png" for index in range(count)]

    def _patience(self, found: references.Reference) -> float:
        """Seconds that a request may take: five times the baseline's for a batch of four."""
        return max(self.limits.generate_seconds, 5 * SMOKE * float(np.median(found.seconds)))

    def _key(self) -> str:
        from engines.paths import digest

        return digest(
            _FORMAT,
            self._opened.hash,
            self.workload.model_dump(mode="json"),
            self._asked.prompts,
            self._asked.seeds,
        )

    def _find_reference(self) -> references.Reference | None:
        found = references.find(self.folder, BASELINE, self._key(), self._asked)
        return None if found is None else self._with_adherence(found)

    def _draw_reference(self) -> references.Reference:
        def tell(done: int) -> None:
            self.tell(done, len(self._asked), "drawing the baseline's pictures,")

        found = references.draw(self._bench.draw_baseline, self._asked, self.workload.batch, tell)
        references.keep(self.folder, BASELINE, self._key(), found)
        return self._with_adherence(found)

    def _with_adherence(self, found: references.Reference) -> references.Reference:
        reader = self.quality.reader
        shares = None if reader is None else reader.adherence(found.images, found.asked.prompts)
        return replace(found, adherence=shares)

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
        if self._reference is None:
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
        assert self._reference is not None
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
            doubt = Doubt(self._bench, self._prompts, self._reference, self.quality, limit)
            doubt.first(process, first)
            stage("gate", f"drawing {len(self._asked) - SMOKE} pictures and timing it")
            plain = declared.is_plain(candidate.script)
            cached = recipe is not None and any(step.technique == "prompt-cache" for step in recipe)
            found = measure(
                self._bench, process, self._prompts, self._reference, self.quality, first.images,
                plan=None if recipe is None else self._recipes.plan(recipe), plain=plain, cached=cached,
                doubt=doubt,
            )  # fmt: skip
            if not plain:
                stage("gate", "counting what it does and comparing it with what it declares", "honesty")
                found = self._honesty.tried(candidate, recipe, process, found, self._reference)
            memory, on_card = process.peak, self._on_card(process)
        verdict = self._verdict(candidate, found, recipe)
        return replace(verdict, memory=memory, card_memory=on_card)

    def _worthless(self) -> float:
        """The loss at which pictures are worth nothing."""
        if self._line is None:
            assert self._reference is not None
            asked, pictures = self._reference.asked, self._reference.images
            values = self.quality.values(np.roll(pictures, 1, axis=0), pictures, asked.prompts)
            unrelated = float(np.nanmean(self.quality.losses(values, self._reference.adherence)))
            self._line = hopeless.line(unrelated, of_worth=self.quality.name in ("adherence", "clip"))
        return self._line

    def _on_card(self, process: Process) -> float | None:
        return process.card_peak or None if self.device == "cuda" else None

    def _smoke(self, drawn: Pixels) -> None:
        assert self._reference is not None
        expected = self._reference.images
        if drawn.shape[1:] != expected.shape[1:]:
            raise CandidateFailure(
                f"The pictures are {_size(drawn)} and the baseline's {_size(expected)}; draw them at the same"
                " size."
            )
        self._refuse_blank(drawn, 0)

    def _refuse_blank(self, drawn: Pixels, start: int) -> None:
        """Fail pictures that show nothing where the baseline's show something."""
        assert self._reference is not None
        for index, image in enumerate(drawn, start):
            what = images.blank(image)
            if what and not images.blank(self._reference.images[index]):
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
            latency=_interval(found.timing.latency),
            latency_p90=found.timing.p90,
            speedup=_interval(found.timing.speedup),
            warm_up=found.warm_up,
            pairs=len(found.timing.turns),
            stages=found.stages,
            throughput=found.throughput,
            loss=_interval(found.loss),
            metrics={name: _interval(value) for name, value in found.metrics.items()},
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
                given=self._given_names(),
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


def _interval(found: Bounds) -> Interval:
    return Interval(found.value, found.low, found.high)


def _size(images: Pixels) -> str:
    """Width and height, of clips their frames too."""
    frames = references.count_frames(images)
    return f"{images.shape[-2]}x{images.shape[-3]} px" + (f" with {frames} frames" if frames else "")


def _one_sentence(error: Exception) -> str:
    if isinstance(error, AgentError | EngineError):
        return str(error)
    if isinstance(error, CandidateFailure):
        return f"The unchanged model's engines cannot be built: {error}"
    return f"The run's folder cannot be written ({error}); free some space or choose another folder."


def _places(model: Path) -> list[Path]:
    """The model's folder or file, and where the links in it lead (hub snapshots are links)."""
    linked = {path.resolve().parent for path in model.rglob("*") if path.is_symlink()}
    return [model, *sorted(linked)]
