"""A run from its start to its end: search, certification, and continuing after any interruption."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from studio.errors import RunError, StudioError
from studio.record import events
from studio.record.data import Data
from studio.record.events import Event
from studio.record.folders import new_run_folder
from studio.record.journal import NAME, Journal
from studio.record.lock import RunLock
from studio.record.state import RunState
from studio.work.failure import explain
from studio.work.job import Job

MEMORY: Final = "memory.sqlite"
"""What earlier runs learned, in the home folder."""


def start(
    job: Job,
    model: str,
    target: str = "cpu",
    workload: dict[str, Any] | None = None,
    preset: str = "hybrid",
    generations: int = 4,
    population: int = 7,
    budget: float | None = None,
    seed: int = 0,
    metric: str | None = None,
    gate: int = 16,
    certify: bool = True,
    out: str = "",
    agent: str = "built-in",
    llm_model: str = "",
    llm_url: str = "",
    llm_budget: str = "",
    approve: bool = False,
    wishes: tuple[str, ...] = (),
    workers: str = "",
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `start`: evolve a model; returns when the run ends.

    `workers`: where candidates are judged, `ray://HOST:10001` or `local:2`; empty: here.
    `without_walls`: the user agrees that nothing limits candidates, where this system cannot.
    `approve`: the user is asked before each candidate runs; `wishes`: sentences to the agent.
    `gate`: pictures that every candidate is judged on, 16 to 32.  `preset`: `hybrid` or `paper`, for either
    agent.

    Raises:
        EngineError, AgentError: the model, the target, the workload, the workers or the language model
            cannot be used.
        RunError: there is no such preset, or the built-in agent understands nothing of a wish.
        RunError, JournalError: the run's folder cannot be written.
    """
    from studio.work.llm import choose, read_preset
    from studio.work.ready import check_workers, prepare
    from studio.work.session import Session
    from studio.work.steering import steered

    ask_first(without_walls=without_walls)
    check_workers(workers)
    if agent != "built-in":
        job.progress(0, 0, "asking the language model's service")
    choice = choose(
        agent,
        model=llm_model,
        url=llm_url,
        budget=llm_budget,
        preset=preset,
        cancelled=job.cancelled.is_set,
    )
    job.progress(0, 0, "opening the model")
    ready = prepare(model, target, workload or {}, metric, seed, job.home / MEMORY, gate)
    heard = [steered(text, ready, choice) for text in wishes]
    with _new_run(job, Path(out) if out else None, ready.card.name) as run:
        run.record(
            events.RunStarted(
                model=ready.card,
                target=target,
                workload=ready.workload.model_dump(mode="json"),
                metric=ready.metric,
                preset=read_preset(preset) if choice is None else choice.preset,
                generations=generations,
                population=population,
                budget=budget,
                seed=seed,
                folder=str(run.folder),
                machine=ready.machine,
                agent=choice,
                approve=approve,
                gate=gate,
            )
        )
        for sentence in heard:
            run.record(sentence)
        return Session(job, run, ready, workers).go(certify=certify)


def resume(
    job: Job,
    run: str,
    generations: int | None = None,
    budget: float | None = None,
    certify: bool = True,
    llm_budget: str = "",
    wishes: tuple[str, ...] = (),
    workers: str = "",
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `resume`: continue a run where it was; `budget` is further seconds of search.

    `llm_budget` is what the language model may cost further; `wishes` are sentences to the agent.

    Raises:
        RunError: there is no such run, nothing is left to do, another process writes it, or the built-in
            agent understands nothing of a wish.
        JournalError: its journal cannot be read.
        EngineError: the model is no longer there, or is another one.
    """
    from studio.work.ready import check_workers, prepare_again
    from studio.work.session import Session
    from studio.work.steering import steered

    ask_first(without_walls=without_walls)
    check_workers(workers)
    folder = job.run_folder(run)
    with _old_run(job, folder) as old:
        more = _more_to_spend(old.state, llm_budget)
        _more_to_do(old.state, generations, budget, more)
        job.progress(0, 0, "opening the model")
        ready = prepare_again(old.state, job.home / MEMORY)
        agent = None if old.state.started is None else old.state.started.agent
        heard = [steered(text, ready, agent) for text in wishes]
        if budget is not None:
            budget += old.state.searched
        old.record(events.RunResumed(generations=generations, budget=budget, agent=more))
        for sentence in heard:
            old.record(sentence)
        return Session(job, old, ready, workers).go(certify=certify)


def evaluate(
    job: Job,
    model: str,
    script: str,
    target: str = "cpu",
    workload: dict[str, Any] | None = None,
    seed: int = 0,
    gate: int = 16,
    out: str = "",
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `evaluate`: judge a script of the user's own on `gate` pictures; a run with one candidate.

    Raises:
        ScriptError: the file cannot be read, does not parse, or does what no script may; no run is begun.
        EngineError, AgentError, RunError, JournalError: as `start`.
    """
    from agent.evaluate.static import examine
    from engines.errors import ScriptError

    ask_first(without_walls=without_walls)
    path = Path(script).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(f"The script {path} cannot be read ({error}); give a UTF-8 Python file.") from error
    if problem := examine(text).problem:
        raise ScriptError(problem)
    from studio.work.ready import prepare
    from studio.work.session import Session

    ready = prepare(model, target, workload or {}, None, seed, job.home / MEMORY, gate)
    with _new_run(job, Path(out) if out else None, ready.card.name) as run:
        run.record(
            events.RunStarted(
                model=ready.card,
                target=target,
                workload=ready.workload.model_dump(mode="json"),
                metric=ready.metric,
                preset="script",
                generations=1,
                population=1,
                budget=None,
                seed=seed,
                folder=str(run.folder),
                machine=ready.machine,
                gate=gate,
            )
        )
        return Session(job, run, ready).judge_script(text, path.stem)


def ask_first(*, without_walls: bool) -> None:
    """Raises `WallsError` where nothing limits candidates and the user has not agreed to that."""
    from agent.sandbox import walls

    if without_walls:
        walls.agree()
    walls.ask_first()


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that this process writes."""

    folder: Path
    journal: Journal
    state: RunState
    job: Job

    def record(self, data: Data) -> Event:
        """Commit an event, then tell it."""
        made = self.journal.append(data)
        self.state.apply(made)
        self.job.emit(made)
        return made

    def end(
        self, reason: Literal["done", "budget", "stopped", "failed"], text: str, winner: str | None
    ) -> None:
        self.record(events.RunFinished(reason=reason, text=text, winner=winner, seconds=self.state.searched))

    def result(self) -> dict[str, Any]:
        """What `start` and `resume` answer; `left`: it can be resumed."""
        finished = self.state.finished
        return {
            "run": self.folder.name,
            "folder": str(self.folder),
            "reason": "left" if finished is None else finished.reason,
            "winner": self.state.winner,
        }


_open: dict[Path, OpenRun] = {}
"""Runs that this process writes, by folder."""


@contextlib.contextmanager
def writing(job: Job, folder: Path) -> Iterator[OpenRun]:
    """The right to add events to a run: its own, where this process is running it already.

    Raises:
        RunError: another process writes it.
        JournalError: its journal cannot be read.
    """
    there = _open.get(folder.resolve())
    if there is not None:
        yield there
        return
    with RunLock(folder), Journal.open(folder) as journal:
        yield OpenRun(folder, journal, RunState.replay(journal.replay()), job)


@contextlib.contextmanager
def _new_run(job: Job, folder: Path | None, model: str) -> Iterator[OpenRun]:
    folder = new_run_folder(job.home, model) if folder is None else _given_folder(folder)
    with RunLock(folder), Journal.create(folder) as journal:
        yield from _guarded(OpenRun(folder, journal, RunState(), job))


@contextlib.contextmanager
def _old_run(job: Job, folder: Path) -> Iterator[OpenRun]:
    with RunLock(folder), Journal.open(folder) as journal:
        yield from _guarded(OpenRun(folder, journal, RunState.replay(journal.replay()), job))


def _guarded(run: OpenRun) -> Iterator[OpenRun]:
    """Whatever goes wrong is also the end of the run's record, unless the run can simply be resumed."""
    run.job.control.run = run.folder.name
    seen = run.state.seq
    _open[run.folder.resolve()] = run
    try:
        yield run
    except Exception as error:
        if run.state.seq > seen and run.state.started is not None:
            with contextlib.suppress(StudioError, OSError):
                run.end("failed", explain(error).text, run.state.winner)
        raise
    finally:
        del _open[run.folder.resolve()]


def _given_folder(folder: Path) -> Path:
    if (folder / NAME).exists():
        raise RunError(
            f"The folder {folder} already holds a run; "
            f"continue it with: pareto-studio resume {folder}, or give another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder {folder} cannot be created ({error.strerror or error}); give another one with --out."
        ) from error
    return folder.resolve()


def _more_to_spend(state: RunState, llm_budget: str) -> events.LlmChoice | None:
    """The run's language model with a larger budget; None: nothing changes."""
    from studio.work.llm import read_limit, spent

    limit = read_limit(llm_budget)
    if limit.usd is None and limit.tokens is None:
        return None
    if state.started is None or state.started.agent is None:
        raise RunError(f"The run {state.run} asks no language model; leave --llm-budget out.")
    _, usd, tokens = spent(state)
    changed = {
        "usd": None if limit.usd is None else usd + limit.usd,
        "tokens": None if limit.tokens is None else tokens + limit.tokens,
    }
    return state.started.agent.model_copy(update=changed)


def _more_to_do(
    state: RunState, generations: int | None, budget: float | None, more: events.LlmChoice | None = None
) -> None:
    if state.started is None or state.finished is None or state.finished.reason not in ("done", "budget"):
        return
    longer = generations is not None and generations > state.started.generations
    if not longer and budget is None and more is None:
        also = "" if state.started.agent is None else ", or more for the language model with --llm-budget"
        raise RunError(
            f"The run {state.run} has finished; give it more generations than {state.started.generations} "
            f"with --generations, or more time with --budget{also}."
        )
