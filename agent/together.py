"""Several candidates judged at a time, told of on the caller's thread as if it were one after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from agent.candidate import Candidate, Stage, Verdict

Told = Callable[[str, Stage, str], None]
"""A candidate's id, its stage, what is done there."""


class JudgeLike(Protocol):
    """What is needed of `agent.evaluate.judge.Judge`."""

    def baseline(self) -> Verdict: ...
    def judge(self, candidate: Candidate, on_stage: Callable[[Stage, str], None]) -> Verdict: ...


def judged_together(
    judge: JudgeLike, candidates: Sequence[Candidate], tell: Told
) -> Iterator[tuple[Candidate, Verdict]]:
    """Verdicts in the order in which they come; a single candidate is judged on this thread.

    `judge` must take calls from several threads where there is more than one
    candidate.  What it raises is raised here once the others are done: their
    verdicts are not lost.
    """
    if len(candidates) == 1:
        (only,) = candidates
        yield only, judge.judge(only, lambda stage, message: tell(only.id, stage, message))
        return
    said: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    done: list[tuple[Candidate, Verdict]] = []
    broken: list[BaseException] = []

    def work(candidate: Candidate) -> None:
        def on_stage(stage: Stage, message: str) -> None:
            said.put(lambda: tell(candidate.id, stage, message))

        try:
            verdict = judge.judge(candidate, on_stage)
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            caught = error
            said.put(lambda: broken.append(caught))
        else:
            said.put(lambda: done.append((candidate, verdict)))

    for candidate in candidates:
        threading.Thread(target=work, args=(candidate,), name=candidate.id, daemon=True).start()
    told = 0
    while told + len(broken) < len(candidates):
        said.get()()
        for one in done[told:]:
            told += 1
            yield one
    if broken:
        raise broken[0]
