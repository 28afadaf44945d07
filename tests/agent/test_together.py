"""Several candidates at a time: order, threads, failures; and the loop that hands them out."""

import threading
from typing import Any

import pytest

from agent.candidate import Candidate, Proposal, Stage, Verdict
from agent.coder import title
from agent.errors import JudgeError
from agent.loop import Listener, Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.together import judged_together


class Meeting:
    """A judge whose calls end in the order wanted: each waits for the one before."""

    def __init__(self, order: list[str], broken: str = "") -> None:
        self.order, self.broken = order, broken
        self.done = {name: threading.Event() for name in order}
        self.threads: set[str] = set()

    def baseline(self) -> Verdict:
        return Verdict("passed", "gate")

    def judge(self, candidate: Candidate, on_stage: Any) -> Verdict:
        on_stage("smoke", f"drawing {candidate.id}")
        self.threads.add(threading.current_thread().name)
        at = self.order.index(candidate.id)
        if at:
            assert self.done[self.order[at - 1]].wait(20), "nobody else is judged meanwhile"
        self.done[candidate.id].set()
        if candidate.id == self.broken:
            raise JudgeError("The evaluator failed.")
        return Verdict("passed", "gate", reason=candidate.id)


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(name, 1, Proposal((), "", "new"), "") for name in names]


def test_verdicts_come_as_they_are_ready_and_everything_is_told_on_the_caller_s_thread() -> None:
    told: list[tuple[str, Stage, str, str]] = []
    judge = Meeting(["c003", "c001", "c002"])
    found = judged_together(
        judge,
        candidates("c001", "c002", "c003"),
        lambda *words: told.append((*words, threading.current_thread().name)),
    )
    assert [one.id for one, _ in found] == ["c003", "c001", "c002"]
    assert judge.threads == {"c001", "c002", "c003"}
    assert sorted(told) == [
        (name, "smoke", f"drawing {name}", "MainThread") for name in ("c001", "c002", "c003")
    ]


def test_what_breaks_with_one_candidate_is_raised_after_the_others_are_done() -> None:
    found = judged_together(
        Meeting(["c002", "c001", "c003"], broken="c002"),
        candidates("c001", "c002", "c003"),
        lambda *_: None,
    )
    kept: list[str] = []
    with pytest.raises(JudgeError, match="evaluator failed"):
        kept.extend(one.id for one, _ in found)
    assert kept == ["c001", "c003"]


class Writer:
    def write(self, proposal: Proposal, context: Any) -> str:
        return f"# {title(proposal.recipe)}"

    def baseline(self, context: Any) -> str:
        return "# baseline"

    def title(self, recipe: Any) -> str:
        return title(recipe)


def test_a_run_with_three_at_a_time_judges_as_many_as_one_at_a_time_and_none_twice(world: Any) -> None:
    class Counting(Listener):
        def __init__(self) -> None:
            self.open = self.most = 0

        def proposed(self, candidate: Candidate, title: str) -> None:
            self.open += 1
            self.most = max(self.most, self.open)

        def judged(self, candidate: Candidate, verdict: Verdict) -> None:
            self.open -= 1

    counting = Counting()
    outcome = evolve(
        world.context,
        world.judge(),
        BuiltinPlanner(),
        Writer(),
        settings=Settings(generations=1, population=7, at_once=3),
        listener=counting,
    )
    tried = [world.space.key(one.candidate.proposal.recipe) for one in outcome.history[1:]]
    assert len(tried) == len(set(tried)) == 7
    assert sorted(one.id for one in outcome.history) == [f"c{number:03}" for number in range(8)]
    assert counting.most == 3
    assert counting.open == 0
