"""DiffBench: open the models, find what can be asked for, solve the tasks that are left, write the report."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from studio.errors import RunError
from studio.record.events import LlmChoice
from studio.record.settings import write_atomically
from studio.work.bench_report import by_family, others, text
from studio.work.bench_talk import Telling, foretell, open_talk
from studio.work.job import Job
from studio.work.runs import ask_first

if TYPE_CHECKING:
    from agent.bench.solve import Solver, World
    from agent.bench.targets import Target
    from agent.bench.tasks import Task
    from agent.llm.conversation import Conversation
    from agent.llm.operators import Operators
    from agent.planner.context import Context
    from studio.work.bench_results import Results
    from studio.work.ready import Ready

AGENTS: Final = ("built-in", "one-shot", "llm")
SEARCH: Final = 28
"""Evaluations of the search that finds the targets of L4 and L5."""
_FORMAT: Final = 1


@dataclass(frozen=True)
class _Subject:
    """One model of the benchmark; its targets, verdicts and pictures are kept in `place`."""

    ready: Ready
    known: Context
    place: Path

    @property
    def name(self) -> str:
        return self.ready.card.name

    def operators(self, telling: Telling) -> Operators:
        """Where its denoiser's time goes, for a language model; told where it cannot be profiled."""
        from agent.llm.operators import operators

        ready = self.ready
        found = operators(ready.model, ready.card.hash, ready.target, ready.workload)
        if not found:
            telling.notice(
                "info", f"{self.name}: its denoiser could not be profiled; the planner knows its stages only."
            )
        return found

    @contextlib.contextmanager
    def world(
        self, telling: Telling, generations: int, population: int, operators: Operators = ()
    ) -> Iterator[World]:
        """Its evaluator at work: one model at a time is held in memory."""
        from agent.bench.solve import World
        from agent.bench.verdicts import KeptJudge

        job = telling.job
        with self.ready.judge(self.place / "pictures", patient=True) as judge:
            job.control.on_abort = judge.abort
            kept = KeptJudge(judge, self.place / "verdicts.jsonl")
            yield World(
                self.known, kept, generations, population, lambda: _asked(job), telling.notice, operators
            )


def bench(
    job: Job,
    models: Sequence[str] = ("tiny-scenes",),
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
    preset: str = "hybrid",
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `bench`: `{"folder", "report", "agent", "tasks", "of", "left", "ended", "rates": [...],
    "difficulties": [...], "families": [...], "language_model", "results": [...]}`; goes on where the
    folder's results end.

    Raises:
        RunError: no such agent, level or part, two models of one name, or another agent's `out`.
        EngineError, AgentError: a model, the target or the language model cannot be used.
    """
    from agent.bench.score import by_difficulty, rates
    from agent.bench.tasks import sample as drawn
    from engines.paths import digest
    from studio.work import llm
    from studio.work.bench_results import Results

    _check(agent, without, preset)
    ask_first(without_walls=without_walls)
    wanted = read_levels(levels)
    choice = None
    if agent != "built-in":
        job.progress(0, 0, "asking the language model's service")
        choice = llm.choose(
            "llm",
            model=llm_model,
            url=llm_url,
            budget=llm_budget,
            preset=preset,
            cancelled=job.cancelled.is_set,
        )
    job.progress(0, 0, "opening the model")
    base = job.home / "bench"
    subjects = [_subject(job, model, target, workload or {}, seed, base) for model in models]
    _check_names(subjects)
    place = subjects[0].place
    if len(subjects) > 1:
        place = base / f"{len(subjects)}-models-{digest(*(one.place.name for one in subjects))[:10]}"
    name = "-".join(
        (
            agent,
            *(f"no-{part}" for part in without),
            *([choice.model] if choice else ()),
            *([preset] if preset != "hybrid" else ()),
        )
    )
    folder = Path(out) if out else place / name.replace("/", "_")
    results = Results(folder / "results.jsonl", name)
    telling = Telling(job)
    everything: list[Task] = []
    for subject in subjects:
        everything += _tasks(telling, subject, wanted, search, seed)
    if _asked(job) == "stop":
        raise RunError("Stopped before the tasks were known; run the same command again to go on.")
    tasks = drawn(everything, sample, seed)
    left = [
        (subject, [one for one in tasks if one.model == subject.name and one.id not in results.done])
        for subject in subjects
    ]
    machine = subjects[0].ready.machine
    talk, guess = None, None
    if choice is not None:
        talk = open_talk(choice, folder, telling)
        guess = foretell(
            choice,
            [(subject.known, some) for subject, some in left],
            machine,
            loops=agent == "llm",
            without=_parts(without),
            generations=generations,
            population=population,
        )
        if guess is not None:
            telling.notice("info", llm.leaving(choice))
            telling.notice("info", guess.text())
    solver = _solver(agent, talk, preset, machine, without)
    ended = _solve(
        telling, left, len(tasks), solver, results, generations, population, profiled=agent == "llm"
    )
    mine = [one for one in results.scored if one.task in {task.id for task in tasks}]
    report: dict[str, Any] = {
        "agent": agent,
        "preset": preset,
        "without": list(without),
        "models": [
            {"name": one.name, "family": one.ready.card.family, "metric": one.ready.metric.name}
            for one in subjects
        ],
        "target": target,
        "workload": subjects[0].ready.workload.model_dump(mode="json"),
        "language_model": None if choice is None or talk is None else _asked_of(choice, talk, guess),
        "machine": machine,
        "date": time.strftime("%Y-%m-%d"),
        "seed": seed,
        "sample": sample,
        "search": search,
        "generated": len(everything),
        "tasks": len(tasks),
        "ended": ended,
        "rates": rates(mine),
        "difficulties": by_difficulty(mine),
        "families": by_family(mine),
        "results": [one.to_json() for one in mine],
    }
    _write(report, folder)
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
        "difficulties": report["difficulties"],
        "families": report["families"],
        "language_model": report["language_model"],
        "results": report["results"],
    }


def _subject(job: Job, model: str, target: str, workload: dict[str, Any], seed: int, base: Path) -> _Subject:
    from agent.planner.context import prepare as context
    from engines.paths import digest
    from studio.work.ready import prepare

    ready = prepare(model, target, workload, None, seed, job.home / "memory.sqlite")
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
    return _Subject(ready, known, base / f"{ready.card.name.lower().replace(' ', '-')}-{work}")


def _solve(
    telling: Telling,
    left: Sequence[tuple[_Subject, list[Task]]],
    total: int,
    solver: Solver,
    results: Results,
    generations: int,
    population: int,
    *,
    profiled: bool,
) -> str:
    """The tasks of one model after the other's; a sentence why it ended early, empty where all are done.

    `profiled`: whoever solves them is told where the denoiser's time goes.
    """
    from agent.bench.run import run

    done = total - sum(len(some) for _, some in left)
    ended = ""
    for subject, some in left:
        if not some or ended:
            continue
        before = done

        def on_task(at: int, task: Task, before: int = before) -> None:
            telling.task(before + at, total, f"{task.id}: {task.text}")

        searched = any(task.level in ("L4", "L5") for task in some)
        spent = subject.operators(telling) if profiled and searched else ()
        with subject.world(telling, generations, population, spent) as world:
            ended = run(some, solver, world, results.add, on_task, telling.spending)
        done += len(some)
    return ended


def _write(report: dict[str, Any], folder: Path) -> None:
    write_atomically(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write_atomically(folder / "report.md", text(report, others(report, folder)))


def _check_names(subjects: Sequence[_Subject]) -> None:
    names = [one.name for one in subjects]
    for name in names:
        if names.count(name) > 1:
            raise RunError(
                f"Two of the models are called {name}, so their tasks could not be told apart; give each "
                "model once, or rename the folder of one."
            )


def _tasks(telling: Telling, subject: _Subject, levels: Sequence[str], search: int, seed: int) -> list[Task]:
    """All tasks of those levels for a model."""
    from agent.bench.tasks import generate

    found: list[Target] = []
    if {"L4", "L5"} & set(levels) and _asked(telling.job) != "stop":
        kept = _kept_targets(subject.place / "targets.json", search)
        found = _targets(telling, subject, search) if kept is None else kept
    return [one for one in generate(subject.known, found, seed) if one.level in levels]


def _asked_of(choice: LlmChoice, talk: Conversation, guess: Any) -> dict[str, Any]:
    """The language model with what it has cost so far, and what was thought that the rest would."""
    spending = talk.spending
    return {
        "model": choice.model,
        "url": choice.url,
        "calls": spending.calls,
        "tokens": spending.usage.total,
        "usd": None if spending.rates is None else spending.usd,
        "budget": str(spending.budget),
        "text": f"{spending.calls} calls, {spending.text()} of {spending.budget}",
        "estimate": None if guess is None else guess.to_json(),
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


def _check(agent: str, without: Sequence[str], preset: str) -> None:
    from agent.bench.solve import PARTS
    from agent.llm.presets import HYBRID, PRESETS

    if agent not in AGENTS:
        raise RunError(f"There is no agent {agent} in the benchmark; choose {', '.join(AGENTS)}.")
    for part in without:
        if part not in PARTS:
            raise RunError(f"There is no part {part} to leave out; choose from {', '.join(PARTS)}.")
    if "loop" in without and agent != "built-in":
        raise RunError(f"--agent {agent} without the loop is --agent one-shot; leave --without loop out.")
    if preset not in PRESETS:
        raise RunError(f"There is no preset {preset}; choose {' or '.join(PRESETS)}.")
    if preset != HYBRID.name and (agent == "one-shot" or "loop" in without):
        raise RunError("A single answer evolves nothing, so there is no preset for it; leave --preset out.")


def _asked(job: Job) -> Any:
    """Between two candidates: the user's wish."""
    if job.cancelled.is_set() or job.control.wish in ("stop", "leave"):
        return "stop"
    return "go"


def _kept_targets(path: Path, search: int) -> list[Target] | None:
    """Of a search that was made before on the same work; None: none that was as long."""
    from agent.bench.targets import Target

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["search"] < search:
            return None
        return [Target(**{**one, "without": tuple(one["without"])}) for one in found["targets"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _targets(telling: Telling, subject: _Subject, search: int) -> list[Target]:
    """Of a search that is made now with the built-in agent; kept once it is done."""
    from agent.bench.targets import targets
    from agent.coder import ScriptWriter
    from agent.debugger import RuleDebugger
    from agent.loop import Listener, Settings, evolve
    from agent.planner.builtin import BuiltinPlanner

    class Told(Listener):
        def progress(self, done: int, total: int, doing: str, seconds: tuple[float, float] | None) -> None:
            del seconds
            words = f"searching what can be asked for of {subject.name}: {doing}"
            telling.job.on_progress(done, total, words)

    writer = ScriptWriter()
    population = min(7, search)
    generations = max(1, search // population)
    with subject.world(telling, generations, population) as world:
        outcome = evolve(
            world.context,
            world.judge,
            BuiltinPlanner(),
            writer,
            RuleDebugger(writer),
            settings=Settings(generations, population),
            listener=Told(),
            control=world.control,
        )
    made = targets(outcome.history, subject.ready.tolerance)
    if outcome.ending == "done":
        kept = {"search": search, "targets": [asdict(one) for one in made]}
        write_atomically(subject.place / "targets.json", json.dumps(kept, indent=1) + "\n")
    return made


def _parts(without: Sequence[str]) -> Any:
    return frozenset(without)


def _solver(
    agent: str,
    talk: Conversation | None,
    preset: str,
    machine: dict[str, Any],
    without: Sequence[str],
) -> Solver:
    from agent.bench.solve import BuiltIn, Language
    from agent.llm.briefing import Surroundings
    from agent.llm.presets import PRESETS

    if talk is None:
        return BuiltIn(_parts(without), PRESETS[preset])
    return Language(talk, PRESETS[preset], agent == "llm", Surroundings(machine), _parts(without))
