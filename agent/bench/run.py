"""Tasks one after the other, each scored and told at once: a stopped benchmark goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from agent.bench.score import Scored, judge_task
from agent.bench.solve import Solver, World
from agent.bench.tasks import Task
from agent.bench.verdicts import fingerprint
from agent.candidate import Candidate, Proposal, Verdict
from agent.coder import ScriptWriter
from agent.llm.errors import LlmEnds
from agent.llm.spending import Spending

OnScored = Callable[[Scored], None]


def run(
    tasks: Sequence[Task],
    solver: Solver,
    world: World,
    on_scored: OnScored,
    on_task: Callable[[int, Task], None] = lambda _at, _task: None,
    spending: Spending | None = None,
) -> str:
    """Solve tasks in order; a sentence why it ended early, empty where all are done.

    Raises:
        BaselineError, JudgeError: the evaluator or the unchanged model failed; no agent is to blame.
    """
    for at, task in enumerate(tasks):
        if world.control() == "stop":
            return "Stopped on request; run the same command again to go on."
        on_task(at, task)
        began = time.monotonic()
        before = (0, 0, 0.0) if spending is None else (spending.calls, spending.usage.total, spending.usd)
        try:
            answer = solver.solve(task, world)
        except LlmEnds as error:
            return str(error)
        if world.control() == "stop" and (answer.verdict is None or answer.verdict.state != "passed"):
            return "Stopped on request; run the same command again to go on."
        reference = _reference(task, world, answer.script, answer.verdict)
        failure, reason, achievement = judge_task(task, answer.verdict, answer.recipe, reference)
        verdict = answer.verdict
        speedup = verdict.speedup if verdict is not None else None
        loss = verdict.loss if verdict is not None else None
        scored = Scored(
            task.id,
            task.level,
            task.difficulty,
            task.text,
            not failure,
            failure,
            " ".join(reason.split()),
            achievement,
            None if speedup is None else speedup.value,
            None if loss is None else loss.value,
            answer.evaluations,
            seconds=time.monotonic() - began,
            model=task.model,
            family=task.family,
        )
        if spending is not None:
            usd = None if spending.rates is None else spending.usd - before[2]
            scored = replace(
                scored, calls=spending.calls - before[0], tokens=spending.usage.total - before[1], usd=usd
            )
        on_scored(scored)
    return ""


def _reference(task: Task, world: World, script: str, verdict: Verdict | None) -> float | None:
    """Loss of the task's own script, judged only where the answer is another script that passed."""
    if task.level in ("L4", "L5") or verdict is None or verdict.state != "passed":
        return None
    own = ScriptWriter().write(Proposal(task.required, task.text, "seed"), world.of(task))
    if fingerprint(own) == fingerprint(script):
        return None
    proposal = Proposal(task.required, task.text, "seed")
    found = world.judge.judge(Candidate("c900", 1, proposal, own), lambda _stage, _message: None)
    return None if found.loss is None else found.loss.value
