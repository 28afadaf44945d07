"""Passed or not, and why not: the three stages of the benchmark on one verdict; rates over many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from agent.bench.tasks import DIFFICULTIES, LEVELS, Task
from agent.candidate import Recipe, Verdict
from agent.evaluate.static import differs

Failure = Literal[
    "", "no answer", "compile", "key attribute", "absolute quality", "relative quality", "relative speed"
]
FAILURES: Final[tuple[Failure, ...]] = (
    "no answer", "compile", "key attribute", "absolute quality", "relative quality", "relative speed",
)  # fmt: skip
ABSOLUTE: Final = 0.05
"""Loss beyond the task's own script's that fails L1 to L3: the published 5 %, as points of the metric."""
_BROKEN: Final = ("static", "build", "smoke")


@dataclass(frozen=True, slots=True)
class Scored:
    """One task's outcome."""

    task: str
    level: str
    difficulty: str
    text: str
    passed: bool
    failure: Failure
    reason: str
    achievement: float | None
    """L4 and L5: achieved over required, at most 1, and 0 where quality or the run failed."""
    speedup: float | None
    loss: float | None
    evaluations: int
    calls: int = 0
    tokens: int = 0
    usd: float | None = None
    seconds: float = 0.0
    model: str = ""
    family: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_task(
    task: Task, verdict: Verdict | None, written: Recipe | None, reference: float | None
) -> tuple[Failure, str, float | None]:
    """(failure, reason, achievement) of an answer.

    `written` is the recipe that the script says; `reference` the loss of the
    task's own script on the same prompts (L1 to L3).
    """
    aimed = task.level in ("L4", "L5")
    if verdict is None:
        return "no answer", "The agent gave no script.", 0.0 if aimed else None
    if not aimed:
        if written is None and verdict.stage != "static":
            return "key attribute", "The script does not say its recipe literally.", None
        if written is not None and (difference := differs(task.required, written)):
            return "key attribute", difference, None
    if verdict.state != "passed" or verdict.loss is None or verdict.latency is None:
        kind: Failure = "compile" if verdict.stage in _BROKEN else "absolute quality"
        return kind, verdict.reason, 0.0 if aimed else None
    loss = verdict.loss.value
    if not aimed:
        if reference is not None and loss > reference + ABSOLUTE:
            return (
                "absolute quality",
                f"The loss is {loss:.3f} where the task's own script has {reference:.3f}.",
                None,
            )
        return "", "", None
    forbidden = sorted({step.technique for step in written or ()} & set(task.without))
    if forbidden:
        return "key attribute", f"The script uses {', '.join(forbidden)}, which the task rules out.", 0.0
    if task.loss is not None and loss > task.loss:
        return "relative quality", f"The loss is {loss:.3f}, more than {task.loss:g}.", 0.0
    if task.level == "L4":
        wanted, got = task.speedup or 1.0, verdict.speedup.value if verdict.speedup is not None else 0.0
    else:
        wanted, got = 1.0, (task.seconds or 0.0) / verdict.latency.value
    if got < wanted:
        shown = f"{got:.2f}x of {wanted:.2f}x" if task.level == "L4" else f"{verdict.latency.value:.4g} s"
        return "relative speed", f"It reached {shown}.", got / wanted
    return "", "", 1.0


def rates(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """A row per level and one for all: tasks, pass rate with its 95 % interval, achievement, failures."""
    rows = []
    for level in (*LEVELS, "all"):
        there = [one for one in scored if level in ("all", one.level)]
        if there:
            rows.append({"level": level, **_row(there)})
    return rows


def by_difficulty(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """As `rates`, of the tasks that have a difficulty: a row for each of L4 and L5, and one for both."""
    rows = []
    for difficulty, _ in DIFFICULTIES:
        for level in ("L4", "L5", "all"):
            there = [one for one in scored if one.difficulty == difficulty and level in ("all", one.level)]
            if there:
                rows.append({"difficulty": difficulty, "level": level, **_row(there)})
    return rows


def _row(there: Sequence[Scored]) -> dict[str, Any]:
    aimed = [one.achievement for one in there if one.achievement is not None]
    failures = Counter(one.failure for one in there if not one.passed)
    passed = sum(one.passed for one in there)
    return {
        "tasks": len(there),
        "passed": passed,
        "pass_rate": passed / len(there),
        "interval": _wilson(passed, len(there)),
        "achievement_rate": sum(aimed) / len(aimed) if aimed else None,
        "failures": {name: failures[name] for name in FAILURES if failures[name]},
        "evaluations": sum(one.evaluations for one in there),
        "tokens": sum(one.tokens for one in there),
    }


def _wilson(passed: int, tasks: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate."""
    from scipy.stats import binomtest

    found = binomtest(passed, tasks).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


PUBLISHED: Final[dict[str, tuple[float, ...]]] = {
    "Claude Sonnet 4 alone (published)": (78.04, 72.41, 76.25, 5.38, 8.60, 54.30),
    "DiffAgent with Claude Sonnet 4 (published)": (90.24, 91.38, 99.23, 33.33, 63.44, 81.59),
    "o3-mini alone (published)": (41.46, 24.14, 4.60, 9.68, 6.45, 11.92),
    "DiffAgent with o3-mini (published)": (73.17, 70.69, 69.73, 22.58, 27.96, 56.46),
    "GPT-4.1 alone (published)": (56.10, 18.97, 7.28, 10.75, 12.90, 14.24),
    "Gemini 2.5 Flash alone (published)": (39.02, 29.31, 7.66, 2.15, 1.08, 12.09),
}
"""Pass rates in %, L1 to L5 and all; arXiv 2601.03178: other tasks, other models, a GPU."""
PUBLISHED_PARTS: Final[dict[str, tuple[float, float]]] = {
    "DiffAgent with Claude Sonnet 4 (published)": (81.59, 68.27),
    "the same without its knowledge base": (64.90, 45.94),
    "the same without its genetic selector": (67.88, 8.16),
    "the same without its debugger": (66.23, 62.02),
}
"""Pass rate of all tasks and achievement rate of the hard ones, in %; the same source."""
