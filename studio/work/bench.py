"""DiffBench: open the model, find what can be asked for, solve the tasks that are left, write the report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from studio.errors import RunError
from studio.record.events import LlmChoice
from studio.record.settings import write_atomically
from studio.work.bench_report import others, text
from studio.work.job import Job
from studio.work.runs import ask_first

if TYPE_CHECKING:
    from agent.bench.score import Scored
    from agent.bench.solve import Solver, World
    from agent.bench.targets import Target
    from agent.bench.tasks import Task
    from agent.bench.verdicts import KeptJudge
    from agent.llm.conversation import Conversation
    from studio.work.ready import Ready

AGENTS: Final = ("built-in", "one-shot", "llm")
SEARCH: Final = 28
"""Evaluations of the search that finds the targets of L4 and L5."""
_FORMAT: Final = 1


def bench(
    job: Job,
    model: str = "tiny-scenes",
    target: str = "cpu",
    agent: str = "built-in",
    levels: str = "L1-L5",
    sample: int = 60,
    seed: int = 0,
    search: int = SEARCH,
    generations: int = 4,
    population: int = 7,
    without: tuple[str, ...] = (),
    workload: dict[str, Any] | None = None,
    out: str = "",
    llm_model: str = "",
    llm_url: str = "",
    llm_budget: str = "",
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `bench`: `{"folder", "report", "agent", "tasks", "of", "left", "ended", "rates": [...],
    "results": [...]}`; goes on where the folder's results end.

    Raises:
        RunError: no such agent, level or part.
        EngineError, AgentError: the model, the target or the language model cannot be used.
    """
    from agent.bench.run import run
    from agent.bench.score import rates
    from agent.bench.solve import World
    from agent.bench.tasks import generate
    from agent.bench.tasks import sample as drawn
    from agent.bench.verdicts import KeptJudge
    from agent.planner.context import prepare as context
    from engines.paths import digest
    from studio.work import llm
    from studio.work.ready import prepare

    _check(agent, without)
    ask_first(without_walls=without_walls)
    wanted = read_levels(levels)
    choice = None
    if agent != "built-in":
        job.progress(0, 0, "asking the language model's service")
        choice = llm.choose(
            "llm", model=llm_model, url=llm_url, budget=llm_budget, cancelled=job.cancelled.is_set
        )
    job.progress(0, 0, "opening the model")
    ready = prepare(model, target, workload or {}, None, seed, job.home / "memory.sqlite")
    known = context(
        model,
        ready.described,
        target,
        ready.workload,
        metric=ready.metric.name,
        tolerance=ready.tolerance,
        seed=seed,
    )
    work = digest(_FORMAT, ready.card.hash, target, ready.workload.model_dump(mode="json"))[:10]
    base = job.home / "bench"
    place = base / f"{ready.card.name.lower().replace(' ', '-')}-{work}"
    name = "-".join((agent, *(f"no-{part}" for part in without), *([choice.model] if choice else ())))
    folder = Path(out) if out else place / name.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    results = _Results(folder / "results.jsonl")
    with ready.judge(place / "pictures") as judge:
        job.control.on_abort = judge.abort
        kept = KeptJudge(judge, place / "verdicts.jsonl")
        world = World(known, kept, generations, population, lambda: _asked(job))
        targets = (
            _targets(job, world, kept, place / "targets.json", search) if {"L4", "L5"} & set(wanted) else []
        )
        everything = [one for one in generate(known, targets, seed) if one.level in wanted]
        tasks = drawn(everything, sample, seed)
        left = [one for one in tasks if one.id not in results.done]
        talk = None if choice is None else _conversation(job, choice, folder, results)
        solver = _solver(agent, talk, choice, ready, without)

        def on_scored(scored: Scored) -> None:
            results.add(scored)

        def on_task(at: int, task: Task) -> None:
            job.progress(len(tasks) - len(left) + at, len(tasks), f"{task.id}: {task.text}")

        ended = run(left, solver, world, on_scored, on_task, None if talk is None else talk.spending)
    mine = [one for one in results.scored if one.task in {task.id for task in tasks}]
    report: dict[str, Any] = {
        "agent": agent,
        "without": list(without),
        "model": ready.card.name,
        "target": target,
        "metric": ready.metric.name,
        "workload": ready.workload.model_dump(mode="json"),
        "language_model": None if choice is None else {"model": choice.model, "url": choice.url},
        "machine": ready.machine,
        "date": time.strftime("%Y-%m-%d"),
        "seed": seed,
        "sample": sample,
        "search": search,
        "generated": len(everything),
        "tasks": len(tasks),
        "ended": ended,
        "rates": rates(mine),
        "results": [one.to_json() for one in mine],
    }
    write_atomically(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write_atomically(folder / "report.md", text(report, others(report, folder)))
    return {
        "folder": str(folder),
        "report": str(folder / "report.md"),
        "agent": agent,
        "tasks": len(mine),
        "of": len(tasks),
        "generated": len(everything),
        "left": len(tasks) - len(mine),
        "ended": ended,
        "rates": report["rates"],
        "results": report["results"],
    }


def read_levels(text: str) -> tuple[str, ...]:
    """`L1-L5`, `L2`, `L1,L4`.

    Raises:
        RunError: neither.
    """
    from agent.bench.tasks import LEVELS

    found: set[str] = set()
    for part in text.upper().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in LEVELS or (last and last not in LEVELS):
            raise RunError(f"There is no level {part or text!r}; write for example L1-L5, L2, or L1,L4.")
        ends = (LEVELS.index(first), LEVELS.index(last or first))
        found.update(LEVELS[min(ends) : max(ends) + 1])
    return tuple(level for level in LEVELS if level in found)


def _check(agent: str, without: Sequence[str]) -> None:
    from agent.bench.solve import PARTS

    if agent not in AGENTS:
        raise RunError(f"There is no agent {agent} in the benchmark; choose {', '.join(AGENTS)}.")
    for part in without:
        if part not in PARTS:
            raise RunError(f"There is no part {part} to leave out; choose from {', '.join(PARTS)}.")


def _asked(job: Job) -> Any:
    """Between two candidates: the user's wish."""
    if job.cancelled.is_set() or job.control.wish in ("stop", "leave"):
        return "stop"
    return "go"


class _Results:
    """Scores of a folder, one JSON line each; a damaged line is a task that is done again."""

    def __init__(self, path: Path) -> None:
        from agent.bench.score import Scored

        self._path = path
        self.scored: list[Scored] = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                self.scored.append(Scored(**json.loads(line)))
            except (ValueError, TypeError):
                continue

    @property
    def done(self) -> set[str]:
        return {one.task for one in self.scored}

    def add(self, scored: Scored) -> None:
        self.scored.append(scored)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(scored.to_json(), ensure_ascii=False) + "\n")


def _targets(job: Job, world: World, judge: KeptJudge, path: Path, search: int) -> list[Target]:
    """Of a search that was made before on the same work, or is made now with the built-in agent."""
    from agent.bench.targets import Target, targets
    from agent.coder import ScriptWriter
    from agent.debugger import RuleDebugger
    from agent.loop import Listener, Settings, evolve
    from agent.planner.builtin import BuiltinPlanner

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["search"] >= search:
            return [Target(**{**one, "without": tuple(one["without"])}) for one in found["targets"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass

    class Told(Listener):
        def progress(self, done: int, total: int, doing: str, seconds: tuple[float, float] | None) -> None:
            del seconds
            job.on_progress(done, total, f"searching what can be asked for: {doing}")

    writer = ScriptWriter()
    population = min(7, search)
    outcome = evolve(
        world.context,
        judge,
        BuiltinPlanner(),
        writer,
        RuleDebugger(writer),
        settings=Settings(max(1, search // population), population),
        listener=Told(),
        control=world.control,
    )
    made = targets(outcome.history)
    if outcome.ending == "done":
        kept = {"search": search, "targets": [asdict(one) for one in made]}
        write_atomically(path, json.dumps(kept, indent=1) + "\n")
    return made


def _conversation(job: Job, choice: LlmChoice, folder: Path, results: _Results) -> Conversation:
    """The talk with the model, its calls kept beside the results; what was spent before counts."""
    from agent.llm.conversation import Conversation
    from agent.llm.spending import Budget, Spending, Usage, prices
    from studio.work import llm
    from studio.work.conversation import FOLDER, ConversationRecord

    service = llm.opened(choice, lambda: job.control.abort)
    before = results.scored
    spending = Spending(
        prices().rates(choice.model, choice.url),
        Budget(choice.usd, choice.tokens),
        Usage(input=sum(one.tokens for one in before)),
        sum(one.usd or 0.0 for one in before),
        sum(one.calls for one in before),
    )
    asked = sorted((folder / FOLDER).glob("[0-9]*.json"))
    record = ConversationRecord(folder, _unheard, _unheard, service.hide, choice.model)
    return Conversation(
        service, spending, record, lambda: job.control.abort, int(asked[-1].stem) if asked else 0
    )


def _unheard(_data: Any) -> None:
    return


def _solver(
    agent: str,
    talk: Conversation | None,
    choice: LlmChoice | None,
    ready: Ready,
    without: Sequence[str],
) -> Solver:
    from agent.bench.solve import BuiltIn, Language
    from agent.llm.briefing import Surroundings
    from studio.work.llm import preset_of

    left_out: Any = frozenset(without)
    if talk is None or choice is None:
        return BuiltIn(left_out)
    return Language(talk, preset_of(choice), agent == "llm", Surroundings(ready.machine), left_out)
