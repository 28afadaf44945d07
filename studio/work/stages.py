"""What judging a run's candidates cost, stage by stage, and how many each stage let through."""

from __future__ import annotations

import statistics
from typing import Any, Final

from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.job import Job

STAGES: Final = ("static", "build", "smoke", "gate", "honesty")
"""In order; `honesty` is what only scripts with code of their own are tried for."""


def stages(job: Job, run: str) -> dict[str, Any]:
    """Command `stages`.

    `stages`: of each, how many candidates `reached` it, `ended` there and were `stopped` there as hopeless,
    its `median` seconds a candidate and its seconds in `total`.  `full` is the median seconds of a candidate
    that was measured in full, `early` of one that was given up early; None where there is none.

    Raises:
        RunError, JournalError: there is no such run, or it cannot be read.
    """
    state = RunState.replay(Journal.read(job.run_folder(run)))
    judged = [
        one.verdict
        for one in state.candidates.values()
        if one.verdict is not None and one.verdict.spent and one.proposal.origin != "baseline"
    ]
    rows = []
    for name in STAGES:
        seconds = [one.spent[name] for one in judged if name in one.spent]
        ended = [one for one in judged if one.state != "passed" and next(reversed(one.spent)) == name]
        rows.append(
            {
                "stage": name,
                "reached": len(seconds),
                "ended": len(ended),
                "stopped": sum(one.stopped for one in ended),
                "median": statistics.median(seconds) if seconds else None,
                "total": sum(seconds),
            }
        )
    whole = [one.seconds for one in judged if one.latency is not None and not one.stopped]
    early = [one.seconds for one in judged if one.stopped]
    return {
        "run": state.run,
        "stages": rows,
        "candidates": len(judged),
        "full": statistics.median(whole) if whole else None,
        "early": statistics.median(early) if early else None,
    }
