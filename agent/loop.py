"""The closed loop: plan, write, evaluate, repair, evolve, without a hand on it.

    baseline -> generation 1 (seeds) -> generation 2.. (4 refined, 3 new) -> outcome

Everything that happens is told to a `Listener`; a run is continued by giving
the candidates that are judged already.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from agent.broken import is_broken
from agent.candidate import Candidate, Proposal, Stage, Verdict
from agent.errors import AgentError, BaselineError
from agent.evolution.choice import best_single, lossless, to_certify, winner
from agent.evolution.front import (
    BASELINE,
    WORST_LOSS,
    Judged,
    front,
    hypervolume,
    knee,
    reference_point,
)
from agent.llm.errors import BudgetSpent, LlmEnds
from agent.planner.context import Coder, Context, Debugger, Planner
from agent.together import JudgeLike, judged_together

Control = Callable[[], Literal["go", "pause", "stop"]]
Approve = Callable[[Candidate], Literal["run", "skip", "stop"]]
"""Asked before a candidate runs."""
Ending = Literal["done", "budget", "stopped"]

REPAIRS: Final = 3
"""How often one idea is mended before it is dropped."""
_NAP: Final = 0.1
"""Seconds between looks at the control while paused."""


class Listener:
    """Told what happens, in order; override what is wanted.  Each call is one event of the record."""

    def baseline_measured(self, verdict: Verdict, reference: tuple[float, float]) -> None:
        """Before anything else of a run; again (with the recorded verdict) when a run goes on."""

    def generation_started(self, generation: int, planned: int) -> None: ...
    def proposed(self, candidate: Candidate, title: str) -> None: ...
    def stage(self, name: str, stage: Stage, message: str) -> None: ...
    def judged(self, candidate: Candidate, verdict: Verdict) -> None: ...
    def front_updated(
        self, generation: int, ids: tuple[str, ...], knee: str | None, hypervolume: float
    ) -> None: ...
    def progress(self, done: int, total: int, doing: str, seconds: tuple[float, float] | None) -> None:
        """`seconds`: the range in which the search should end; None before it can be told."""

    def notice(self, level: Literal["info", "warning", "error"], text: str) -> None: ...
    def paused(self) -> None: ...
    def resumed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How far a run goes."""

    generations: int = 4
    population: int = 7
    budget: float | None = None
    """Seconds of search, pauses not counted; None: until the generations are done."""
    worst_loss: float = WORST_LOSS
    """Loss at which a picture is worth nothing: the reference point's second coordinate."""
    repairs: int = REPAIRS
    """How often a script is mended before it is written anew, or the idea dropped."""
    regenerations: int = 0
    """How often a script is written anew after its repairs have failed."""
    replans: int = 0
    """How often, in a generation, an idea that failed for good gives its place to another one."""
    at_once: int = 1
    """Candidates that are judged at a time; for more than one the judge takes calls from several threads."""


@dataclass(frozen=True)
class Outcome:
    """What a run found."""

    ending: Ending
    text: str
    """One sentence for the user."""
    history: tuple[Judged, ...]
    front: tuple[str, ...]
    """Ids from fastest to best."""
    knee: str | None
    hypervolume: float
    winner: str | None
    lossless: str | None
    """The fastest with 30 dB or more."""
    best_single: str | None
    """The best that applies one technique only."""
    to_certify: tuple[str, ...]
    """Fastest first: the first one that certifies is the claim."""
    seconds: float
    reference: tuple[float, float]

    def judged(self, name: str) -> Judged | None:
        return next((one for one in self.history if one.id == name), None)


class _Stopped(Exception):
    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending: Ending = ending


@dataclass
class _Run:
    context: Context
    judge: JudgeLike
    planner: Planner
    coder: Coder
    debugger: Debugger | None
    settings: Settings
    listener: Listener
    control: Control
    clock: Callable[[], float]
    history: list[Judged]
    declined: list[Candidate]
    notes: Callable[[], tuple[str, ...]] = tuple
    approve: Approve = lambda _candidate: "run"
    started: float = 0.0
    waited: float = 0.0
    number: int = 0
    costs: list[float] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        return self.clock() - self.started - self.waited

    @property
    def total(self) -> int:
        return self.settings.generations * self.settings.population

    def now(self, generation: int | None = None) -> Context:
        changed = replace(
            self.context,
            history=tuple(self.history),
            declined=tuple(self.declined),
            notes=(*self.context.notes, *self.notes()),
            candidate=f"c{self.number + 1:03}",
        )
        return changed if generation is None else replace(changed, generation=generation)

    def checkpoint(self) -> None:
        """Between candidates: wait while paused; raises `_Stopped` on stop or at the budget's end."""
        asked = self.control()
        if asked == "pause":
            since = self.clock()
            self.listener.paused()
            while (asked := self.control()) == "pause":
                time.sleep(_NAP)
            self.waited += self.clock() - since
            if asked == "go":
                self.listener.resumed()
        if asked == "stop":
            raise _Stopped("stopped")
        budget = self.settings.budget
        usual = statistics.median(self.costs) if self.costs else 0.0
        if budget is not None and self.elapsed + usual > budget:
            raise _Stopped("budget")

    def measure_baseline(self) -> None:
        there = next((one for one in self.history if one.is_baseline), None)
        context = self.context
        candidate = (
            there.candidate
            if there is not None
            else Candidate(
                BASELINE,
                0,
                Proposal(
                    (), "The model as its authors ship it: what everything is compared with.", "baseline"
                ),
                self.coder.baseline(context),
            )
        )
        verdict = self.judge.baseline()
        if verdict.state != "passed" or verdict.latency is None:
            raise BaselineError(
                verdict.reason
                or f"{context.card.name} could not be run unchanged on {context.device}; check the model."
            )
        if there is not None:
            verdict = there.verdict
        reference = reference_point(verdict, self.settings.worst_loss)
        self.context = replace(context, reference=reference, population=self.settings.population)
        self.listener.baseline_measured(verdict, reference)
        if there is None:
            self.history.insert(0, Judged(candidate, verdict))
            self.listener.proposed(candidate, self.coder.title(()))
            self.listener.judged(candidate, verdict)

    def evaluate(self, candidate: Candidate) -> Judged | None:
        """Judge a candidate; None: the user does not want it run."""
        return next(iter(self.evaluate_all([candidate])), None)

    def evaluate_all(self, candidates: Sequence[Candidate]) -> list[Judged]:
        """Judge candidates together, those that the user wants run; as their verdicts came."""
        began = self.clock()
        wanted = []
        for candidate in candidates:
            self.listener.proposed(candidate, self.coder.title(candidate.proposal.recipe))
            match self.approve(candidate):
                case "stop":
                    raise _Stopped("stopped")
                case "skip":
                    self.declined.append(candidate)
                case "run":
                    wanted.append(candidate)
        found = []
        for candidate, verdict in judged_together(self.judge, wanted, self.listener.stage):
            judged = Judged(candidate, verdict)
            found.append(judged)
            self.history.append(judged)
            self.listener.judged(candidate, verdict)
            self.tell_front(candidate.generation)
        self.costs += [(self.clock() - began) / len(found) for _ in found]
        return found

    def tell_front(self, generation: int) -> None:
        members = front(self.history)
        bend = knee(members)
        self.listener.front_updated(
            generation,
            tuple(one.id for one in members),
            None if bend is None else bend.id,
            hypervolume(self.history, self.context.reference),
        )

    def tell_progress(self, doing: str) -> None:
        done = sum(
            len(self.now().planned(generation)) for generation in range(1, self.settings.generations + 1)
        )
        seconds = None
        if len(self.costs) >= 2:
            quick, usual, slow = statistics.quantiles(self.costs, n=4, method="inclusive")
            left = max(0, self.total - done)
            low, high = left * min(quick, usual), left * max(slow, usual)
            if self.settings.budget is not None:
                rest = max(0.0, self.settings.budget - self.elapsed)
                low, high = min(low, rest), min(high, rest)
            seconds = (low, high)
        self.listener.progress(min(done, self.total), self.total, doing, seconds)

    def next_id(self) -> str:
        self.number += 1
        return f"c{self.number:03}"

    def mend(self, judged: Judged) -> Judged:
        """Repairs of a broken candidate, then its script written anew and repaired; the last one judged.

        Each is a candidate with the broken one as parent.
        """
        plan = judged.candidate.proposal
        judged = self.repair(judged)
        for _ in range(self.settings.regenerations):
            if not is_broken(judged.candidate, judged.verdict):
                break
            again = self.regenerate(judged, plan)
            if again is None:
                break
            judged = self.repair(again)
        return judged

    def repair(self, judged: Judged) -> Judged:
        if self.debugger is None:
            return judged
        for _ in range(self.settings.repairs):
            if not is_broken(judged.candidate, judged.verdict):
                break
            context = self.now(judged.candidate.generation)
            repair = self.debugger.repair(judged.candidate, judged.verdict, context)
            if repair is None:
                break
            self.checkpoint()
            proposal = Proposal(repair.recipe, repair.why, "refined", (judged.id,), repair.code, repair.by)
            after = self.evaluate(
                Candidate(self.next_id(), judged.candidate.generation, proposal, repair.script)
            )
            if after is None:
                break
            judged = after
        return judged

    def regenerate(self, judged: Judged, plan: Proposal) -> Judged | None:
        """The plan of a candidate that could not be mended, written anew."""
        why = f"{judged.id} could not be mended, so the same plan is written anew. {plan.why}"
        proposal = Proposal(plan.recipe, why, "refined", (judged.id,), plan.code, plan.by)
        script = self.write(proposal, self.now(judged.candidate.generation))
        if script is None or script == judged.candidate.script:
            return None
        self.checkpoint()
        return self.evaluate(Candidate(self.next_id(), judged.candidate.generation, proposal, script))

    def write(self, proposal: Proposal, context: Context) -> str | None:
        """The script of a proposal; None where it could not be written, which is told."""
        try:
            return self.coder.write(proposal, context)
        except LlmEnds:
            raise
        except AgentError as error:
            self.listener.notice("warning", f"A proposal could not be written: {error}")
            return None

    def generation(self, generation: int) -> bool:
        """Run what is left of a generation; False when nothing is left to try."""
        left = self.settings.population - len(self.now().planned(generation))
        if left <= 0:
            return True
        self.listener.generation_started(generation, self.settings.population)
        replans = self.settings.replans
        together = self.settings.at_once
        while left > 0:
            self.checkpoint()
            self.tell_progress("planning")
            context = self.now(generation)
            wanted = left if self.planner.at_once is None else max(self.planner.at_once, together)
            proposals = self.planner.propose(context, min(wanted, left))
            if not proposals:
                self.listener.notice("info", "Every recipe that fits this model and device has been tried.")
                return False
            for start in range(0, len(proposals), together):
                part = proposals[start : start + together]
                self.checkpoint()
                left -= len(part)
                candidates = self.written(part, generation)
                if not candidates:
                    continue
                self.tell_progress(
                    ", ".join(f"{one.id} {self.coder.title(one.proposal.recipe)}" for one in candidates)
                )
                for judged in self.evaluate_all(candidates):
                    if self.mend(judged).verdict.state == "failed" and replans > 0:
                        left, replans = left + 1, replans - 1
        return True

    def written(self, proposals: Sequence[Proposal], generation: int) -> list[Candidate]:
        """Candidates of those proposals whose scripts could be written."""
        found = []
        for proposal in proposals:
            script = self.write(proposal, self.now(generation))
            if script is not None:
                found.append(Candidate(self.next_id(), generation, proposal, script))
        return found

    def outcome(self, ending: Ending) -> Outcome:
        members, tolerance = front(self.history), self.context.tolerance
        best, bend = winner(self.history, tolerance), knee(members)
        near, single = lossless(self.history), best_single(self.history, tolerance)

        def name(one: Judged | None) -> str | None:
            return None if one is None else one.id

        return Outcome(
            ending,
            _sentence(ending, best, self),
            tuple(self.history),
            tuple(one.id for one in members),
            name(bend),
            hypervolume(self.history, self.context.reference),
            name(best),
            name(near),
            name(single),
            tuple(one.id for one in to_certify(self.history, tolerance)),
            self.elapsed,
            self.context.reference,
        )


def _sentence(ending: Ending, best: Judged | None, run: _Run) -> str:
    why = {
        "done": "All generations are done",
        "budget": "The budget is used up",
        "stopped": "Stopped on request",
    }[ending]
    if best is None:
        return f"{why}; no candidate passed."
    times = best.verdict.speedup.value if best.verdict.speedup is not None else None
    fast = f"{times:.1f}x" if times is not None else f"{best.seconds:.3g} s an image"
    label = run.coder.title(best.candidate.proposal.recipe)
    return f"{why}; {best.id} ({label}) leads with {fast} at a loss of {run.context.loss_text(best.loss)}."


def _last_number(candidates: Iterable[Candidate]) -> int:
    numbers = [int(one.id[1:]) for one in candidates if one.id[:1] == "c" and one.id[1:].isdigit()]
    return max(numbers, default=0)


def evolve(
    context: Context,
    judge: JudgeLike,
    planner: Planner,
    coder: Coder,
    debugger: Debugger | None = None,
    *,
    settings: Settings | None = None,
    listener: Listener | None = None,
    control: Control = lambda: "go",
    spent: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    notes: Callable[[], tuple[str, ...]] = tuple,
    approve: Approve = lambda _candidate: "run",
) -> Outcome:
    """Run the loop to its end, its budget or a stop, and name what it found.

    To continue a run, give what it judged as `context.history` (the baseline
    included), what the user declined as `context.declined`, and the seconds that
    it had used as `spent`; a generation that was under way is completed.  The
    candidate in flight is always finished.

    `notes` are the wishes of the user so far, asked for before every plan;
    `approve` is asked before every candidate runs.

    Raises:
        BaselineError: the unchanged model does not run, so nothing can be compared.
    """
    run = _Run(
        context,
        judge,
        planner,
        coder,
        debugger,
        settings or Settings(),
        listener or Listener(),
        control,
        clock,
        list(context.history),
        list(context.declined),
        notes,
        approve,
        number=_last_number((*(one.candidate for one in context.history), *context.declined)),
    )
    run.started = clock() - spent
    run.measure_baseline()
    ending: Ending = "done"
    try:
        run.mend(run.history[-1])
        for generation in range(1, run.settings.generations + 1):
            if not run.generation(generation):
                break
    except _Stopped as stopped:
        ending = stopped.ending
    except BudgetSpent as spent_up:
        ending = "budget"
        run.listener.notice("info", str(spent_up))
    run.tell_progress("done")
    return run.outcome(ending)
