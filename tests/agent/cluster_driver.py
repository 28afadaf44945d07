"""A search on two nodes of a real Ray cluster, with a judge that answers from arithmetic; prints JSON.

The worker that gets the first recipe with a student is killed by it, once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from agent.candidate import Candidate, Stage, Verdict
from agent.coder import title
from agent.evaluate.cluster import ClusterJudge, Ours
from agent.evaluate.ray_pool import RayPool
from agent.evaluate.worker import Wanted, kind_of_machine
from agent.loop import Listener, Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.planner.context import Context
from engines.workload import Workload
from tests.agent.conftest import TableJudge, TinyCard, tiny_check, tiny_space

PICTURES = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)


class ArithmeticJudge(TableJudge):
    """What a worker needs of a judge."""

    isolation = "Nothing is run."
    card = SimpleNamespace(hash="abc")
    reference = SimpleNamespace(images=PICTURES)
    mark: Path

    def judge(self, candidate: Candidate, on_stage: Any) -> Verdict:
        if any(step.technique == "student" for step in candidate.proposal.recipe) and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().judge(candidate, on_stage)

    def close(self) -> None:
        return


def make(wanted: Wanted, folder: Path) -> ArithmeticJudge:
    """The worker's judge; `model` is the file that says that a worker was killed."""
    del folder
    found = ArithmeticJudge()
    found.mark = Path(wanted.model)
    return found


class Writer:
    def write(self, proposal: Any, context: Any) -> str:
        return title(proposal.recipe)

    def baseline(self, context: Any) -> str:
        return "baseline"

    def title(self, recipe: Any) -> str:
        return title(recipe)


class Heard(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str, stage: Stage, message: str) -> None:
        self.said.append(f"{name} {stage}: {message}")


def main() -> None:
    address, mark = sys.argv[1:3]
    baseline = TableJudge().baseline()
    assert baseline.latency is not None
    ours = Ours("abc", kind_of_machine("cpu"), 2 * baseline.latency.value, PICTURES)
    wanted = Wanted(mark, "cpu", {}, "adherence", 4, None, "tests.agent.cluster_driver:make")
    heard, notices = Heard(), list[str]()
    pool = RayPool(address, "cpu")
    space = tiny_space()
    context = Context("table", TinyCard(), "cpu", Workload(), space, tiny_check, seed=1)
    with ClusterJudge(pool, wanted, Path(mark).parent, baseline, ours, notices.append) as judge:
        outcome = evolve(
            context,
            judge,
            BuiltinPlanner(),
            Writer(),
            settings=Settings(1, 7, at_once=judge.slots),
            listener=heard,
        )
        until = time.monotonic() + 120
        while len(names := judge.names) < judge.slots and time.monotonic() < until:
            time.sleep(0.1)
    told = [
        (one.id, one.verdict.state, one.verdict.machine, one.verdict.speedup and one.verdict.speedup.value,
         one.verdict.latency and one.verdict.latency.value)
        for one in outcome.history[1:]
    ]  # fmt: skip
    answers = sys.__stdout__
    assert answers is not None
    print(
        json.dumps({"names": names, "told": told, "said": heard.said, "notices": notices}),
        file=answers,
        flush=True,
    )


if __name__ == "__main__":
    main()
