"""The heavy part of a run: the judge, the loop and certification, under one roof."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from agent.candidate import Candidate, Proposal, Stage, Verdict
from agent.coder import ScriptWriter
from agent.errors import JudgeError
from agent.evaluate.judge import Judge
from agent.evolution.choice import fastest, winner
from agent.evolution.front import BASELINE, Judged, front, hypervolume, knee, reference_point
from agent.llm.briefing import Surroundings
from agent.llm.errors import LlmCancelled
from agent.llm.operators import operators
from agent.loop import Settings, evolve
from agent.memory import Memory, place_of
from agent.planner.context import Context
from agent.planner.context import prepare as context
from agent.together import JudgeLike
from studio.record import events
from studio.record.data import Data
from studio.work import llm
from studio.work.certify import certify_run
from studio.work.conversation import ConversationRecord
from studio.work.convert import declined, judged
from studio.work.exportable import examine
from studio.work.job import Job
from studio.work.machine import busy_sentence
from studio.work.ready import Ready
from studio.work.recorder import Abandoned, Recorder
from studio.work.runs import OpenRun
from studio.work.steering import answered

GIVEN: Final = "c001"
PAUSED_LOOK: Final = 0.25
"""Seconds between two looks at the user's wish while a run is paused."""


@dataclass(frozen=True, slots=True)
class _Judges:
    """Who judges candidates, and how many at a time."""

    judge: JudgeLike
    slots: int = 1


class Session:
    """One stretch of a run in this process, from its start or resumption to its end or interruption."""

    def __init__(self, job: Job, run: OpenRun, ready: Ready, workers: str = "") -> None:
        """`workers`: where candidates are judged (`agent.evaluate.ray_pool`); empty: in this process."""
        self._job = job
        self._control = job.control
        self._run = run
        self._ready = ready
        self._workers = workers
        self._recorder = Recorder(run.folder, run.record, self._control, run.state.reference)
        self._coder = ScriptWriter()
        self._aside = 0.0
        """Seconds that other jobs took between candidates."""

    def go(self, *, certify: bool) -> dict[str, Any]:
        """Search, certify, end; or leave the run so that it can be resumed."""
        begun = self._run.state.started
        assert begun is not None
        ending: Literal["done", "budget", "stopped"] = "stopped"
        self._say_if_busy()
        with self._ready.judge(self._run.folder) as judge, ExitStack() as stack:
            judge.tell = lambda done, total, doing: self._recorder.progress(done, total, doing, None)
            self._control.on_abort = judge.abort

            def walls() -> str:
                return judge.isolation

            self._recorder.walls = walls
            try:
                parts = self._parts(begun)
                judges = stack.enter_context(self._judges(judge))
                outcome = evolve(
                    self._context(),
                    judges.judge,
                    parts.planner,
                    parts.coder,
                    parts.debugger,
                    settings=replace(parts.settings, at_once=judges.slots),
                    listener=self._recorder,
                    control=self._asked,
                    spent=self._run.state.searched,
                    clock=self._clock,
                    notes=self._wishes,
                    approve=self._approve,
                )
                ending = outcome.ending
                stack.close()  # workers are not needed for certificates
                self._control.on_abort = judge.abort
                self._learn()
                if certify and (ending != "stopped" or self._control.certify_on_stop) and self._goes_on:
                    claim, tolerance = self._ready.claim, self._ready.tolerance
                    certify_run(self._run, judge, claim, tolerance, self._packable, self._breathe)
            except (Abandoned, JudgeError, LlmCancelled):
                if not self._control.abort:
                    raise
                ending = "stopped"
            finally:
                self._control.on_abort = None
        if self._control.wish == "leave":
            self._run.record(events.RunPaused(reason="The program was closed; resume the run to go on."))
        else:
            self._run.end(ending, self._sentence(ending), self._winner())
        return self._run.result()

    def judge_script(self, script: str, title: str) -> dict[str, Any]:
        """Baseline and one given script; a failed verdict is the result, not an error."""
        recorder, control = self._recorder, self._control
        self._say_if_busy()
        with self._ready.judge(self._run.folder) as judge:
            judge.tell = lambda done, total, doing: recorder.progress(done, total, doing, None)
            control.on_abort = judge.abort
            try:
                if problem := judge.objection(script):  # before the baseline is drawn: that takes its time
                    self._run.end("failed", f"The script failed: {problem}", None)
                    return self._run.result()
                first = judge.baseline()
                if first.state != "passed":
                    from agent.errors import BaselineError

                    raise BaselineError(first.reason)
                reference = reference_point(first, Settings().worst_loss)
                recorder.baseline_measured(first, reference)
                unchanged = Proposal((), "The model as its authors ship it.", "baseline")
                baseline = Candidate(BASELINE, 0, unchanged, self._coder.baseline(self._context()))
                recorder.proposed(baseline, "baseline")
                recorder.judged(baseline, first)
                given = Candidate(GIVEN, 1, Proposal((), "Given by the user.", "given", (BASELINE,)), script)
                recorder.proposed(given, title)

                def tell(stage: Stage, message: str) -> None:
                    recorder.stage(GIVEN, stage, message)

                verdict = judge.judge(given, tell)
                recorder.judged(given, verdict)
                history = [Judged(baseline, first), Judged(given, verdict)]
                members = front(history)
                bend = knee(members)
                recorder.front_updated(
                    1,
                    tuple(one.id for one in members),
                    None if bend is None else bend.id,
                    hypervolume(history, reference),
                )
            except (Abandoned, JudgeError):
                if not control.abort:
                    raise
                self._run.end("stopped", "Stopped on request before the script was judged.", None)
                return self._run.result()
            finally:
                control.on_abort = None
        if verdict.state == "passed":
            speedup = verdict.speedup
            text = "The script passed" + (f" and is {speedup.value:.2f}x as fast" if speedup else "")
            self._run.end("done", f"{text}{_where(verdict)}.", GIVEN)
        else:
            words = "failed" if verdict.state == "failed" else "is quarantined"
            self._run.end("failed", f"The script {words}{_where(verdict)}: {verdict.reason}", None)
        return self._run.result()

    def _say_if_busy(self) -> None:
        """Before this run computes anything itself."""
        if said := busy_sentence():
            self._recorder.notice("warning", said)

    @contextmanager
    def _judges(self, judge: Judge) -> Iterator[_Judges]:
        """The run's own judge, or the workers that it is to be spread over.

        Raises:
            ClusterError: no worker can be used.
            BaselineError: the unchanged model does not run here.
        """
        if not self._workers:
            yield _Judges(judge)
            return
        from agent.evaluate.cluster import open_cluster

        told = self._recorder.notice
        begun = self._run.state.reference
        self._job.progress(0, 0, "starting the workers")
        with open_cluster(
            self._workers,
            judge,
            self._ready.model,
            begun,
            lambda text: told("warning", text),
            self._recorder.check,
        ) as spread:
            told("info", f"Candidates are judged by {', '.join(spread.names)}.")

            def abort() -> None:
                judge.abort()
                spread.abort()

            self._control.on_abort = abort
            yield _Judges(spread, spread.slots)

    # -- what the loop is given ------------------------------------------------------------------

    def _parts(self, begun: events.RunStarted) -> llm.Parts:
        """The agent that the run was begun with.

        Raises:
            LlmError: its language model cannot be used; the run can be resumed once it can.
        """
        choice = begun.agent
        if choice is None:
            return llm.built_in(begun, self._coder)
        service = llm.opened(choice, lambda: self._control.abort)
        if not self._run.state.asked:
            self._recorder.notice("info", llm.leaving(choice))
            guess = llm.forecast(
                choice, self._context(), self._ready.machine, begun.generations, begun.population
            )
            self._recorder.notice("info", guess.text())
        record = ConversationRecord(
            self._run.folder, self._run.record, self._tell, service.hide, choice.model
        )
        talk = llm.conversation(choice, service, self._run.state, record, lambda: self._control.abort)
        self._job.progress(0, 0, "looking where the denoiser's time goes")
        ready = self._ready
        spent = operators(ready.model, ready.card.hash, ready.target, ready.workload)
        if not spent:
            self._recorder.notice(
                "info", "The denoiser's operators could not be profiled; the planner knows its stages only."
            )
        return llm.language(begun, talk, Surroundings(ready.machine, spent), self._coder)

    def _tell(self, data: Data) -> None:
        """Something to be shown and not kept."""
        self._job.emit(events.event(data, run=self._run.folder.name))

    def _listen(self) -> None:
        """Take in what the user said meanwhile."""
        begun = self._run.state.started
        for text in self._control.heard():
            if begun is not None and begun.agent is not None:
                self._run.record(events.RunSteered(text=text))
            else:
                self._run.record(answered(text, self._context().space))

    def _wishes(self) -> tuple[str, ...]:
        """What the user asked for so far, in order."""
        self._listen()
        return self._run.state.steered

    def _approve(self, candidate: Candidate) -> Literal["run", "skip", "stop"]:
        """Wait for the user's word on a candidate, off the run's clock; other jobs are done meanwhile."""
        if not self._run.state.approve:
            return "run"
        self._run.record(events.CandidateWaiting(id=candidate.id))
        began = time.monotonic()
        while (said := self._control.decision(candidate.id)) is None:
            if self._control.wish in ("stop", "leave") or self._control.abort:
                break
            self._control.between(PAUSED_LOOK)
        self._aside += time.monotonic() - began
        if said is None:
            return "stop"
        self._run.record(events.CandidateDecided(id=candidate.id, run=said))
        return "run" if said else "skip"

    @property
    def _goes_on(self) -> bool:
        return self._control.wish != "leave" and not self._control.abort

    def _asked(self) -> Literal["go", "pause", "stop"]:
        """The user's wish; waiting jobs are done first, off the run's clock."""
        began = time.monotonic()
        self._control.between(PAUSED_LOOK if self._control.wish == "pause" else 0.0)
        self._aside += time.monotonic() - began
        self._listen()
        match self._control.wish:
            case "leave" | "stop":
                return "stop"
            case "pause":
                return "pause"
        return "go"

    def _breathe(self) -> None:
        """Between two steps of a certification: give up if asked, let waiting jobs in."""
        self._recorder.check()
        self._control.between()

    def _clock(self) -> float:
        return time.monotonic() - self._aside

    def _context(self) -> Context:
        ready = self._ready
        return context(
            ready.model,
            ready.described,
            ready.target,
            ready.workload,
            metric=ready.metric.name,
            tolerance=ready.tolerance,
            memory=Memory(ready.memory),
            seed=ready.seed,
            history=tuple(judged(self._run.state, self._run.folder)),
            declined=tuple(declined(self._run.state)),
        )

    def _learn(self) -> None:
        memory = Memory(self._ready.memory)
        card = self._ready.described
        # What a script does beyond its recipe is not the recipe's doing, and is not to be remembered as such.
        found = [one for one in judged(self._run.state) if not one.candidate.proposal.code]
        memory.learn(place_of(card, self._ready.target), card.hash, self._ready.metric.name, found)
        for note in memory.notes:
            self._recorder.notice("warning", note)

    # -- how it ends -----------------------------------------------------------------------------

    def _winner(self) -> str | None:
        """The fastest whose claim was certified, one that can be packaged before any other.

        Of those as fast as it, the one that lost least on the certificate's prompts.  Without a
        certified one, what the search's own measure names.
        """
        state = self._run.state
        held = {one.id: one.loss for one in state.certified if one.held and one.claim == self._ready.claim}
        there = judged(state)
        proved = [one for one in there if one.id in held]
        if proved:
            losses = {name: loss.value for name, loss in held.items() if loss is not None}
            return fastest([one for one in proved if self._packable(one.id)] or proved, losses).id
        best = winner(there, self._ready.tolerance)
        return None if best is None else best.id

    def _packable(self, name: str) -> bool:
        """Whether a candidate can be exported on the engine that it was measured with."""
        return examine(self._run.folder, self._run.state, name).failed is None

    def _sentence(self, ending: Literal["done", "budget", "stopped"]) -> str:
        why = {
            "done": "All generations are done",
            "budget": "The budget for the search is used up",
            "stopped": "Stopped on request",
        }[ending]
        name = self._winner()
        if name is None:
            return f"{why}; no candidate passed."
        candidate = self._run.state.candidates[name]
        speedup = candidate.verdict.speedup if candidate.verdict is not None else None
        fast = f" is {speedup.value:.1f}x as fast as the baseline" if speedup is not None else " leads"
        held = [one.claim for one in self._run.state.certified if one.id == name and one.held]
        proof = f"certified: {', '.join(held)}" if held else "its quality is not certified"
        return f"{why}; {name} ({candidate.proposal.title}){fast}; {proof}."


def _where(verdict: Verdict) -> str:
    """Behind which walls a script ran, as the end of a clause; empty where it did not run."""
    if not verdict.isolation:
        return ""
    return "; it ran without walls" if verdict.isolation == "none" else f"; it ran {verdict.isolation}"
