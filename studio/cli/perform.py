"""Do a command: find its function, give it a job, show what comes of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.cli import keys, memory, metrics, show, space
from studio.cli.follow import follow, line_of
from studio.cli.terminal import Terminal
from studio.record import folders
from studio.record.events import Event
from studio.record.journal import Journal
from studio.record.library import find_run
from studio.record.sources import Source
from studio.record.state import RunState
from studio.work.failure import explain


def has_display() -> bool:
    """Whether a window could be shown."""
    if os.environ.get("QT_QPA_PLATFORM"):
        return True
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def perform(given: argparse.Namespace) -> int:
    """Run one command line; the exit status."""
    home: Path = given.home.expanduser() if given.home else folders.home()
    if given.command == "start" and not given.terminal and not given.json:
        if has_display():
            return _window(home)
        print("There is no display here, so the main job is done in the terminal.")
    terminal = Terminal(home, machine=given.json)
    try:
        return _asked(given, home, terminal)
    except KeyboardInterrupt:
        terminal.fail("Interrupted; what was finished is kept.")
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 - a user never sees a traceback
        failure = explain(error)
        option = f" Agree with --{failure.asks.replace('_', '-')}." if failure.asks else ""
        terminal.fail(failure.text + option, failure.detail, expected=failure.expected)
        return 1
    finally:
        terminal.close()


def _asked(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Do the command; where it asks for the user's word first and somebody is there, ask and do it again."""
    command = COMMANDS[given.command]
    try:
        return command(given, home, terminal)
    except Exception as error:
        failure = explain(error)
        if not failure.asks or not hasattr(given, failure.asks) or not _agrees(terminal, failure.text):
            raise
        setattr(given, failure.asks, True)
    return command(given, home, terminal)


def _agrees(terminal: Terminal, text: str) -> bool:
    """Ask a person; what is no yes is a no."""
    if terminal.machine or not sys.stdin.isatty():
        return False
    try:
        said = terminal.console.input(f"[yellow]{show.escape(text)}[/]\nRun them all the same? [y/N] ")
    except EOFError:
        return False
    return said.strip().lower() in ("y", "yes")


def _window(home: Path) -> int:
    os.environ["PARETO_STUDIO_HOME"] = str(home)
    from studio.ui.app import main

    return int(main() or 0)


def workload(given: argparse.Namespace) -> dict[str, Any]:
    """The workload of a command line, as the commands of the worker take it.

    Raises:
        WorkloadError: a prompt file that cannot be used.
    """
    from engines.workload import read_prompts

    found: dict[str, Any] = {
        "prompts": list(read_prompts(given.prompts.expanduser())) if given.prompts else [],
        "size": given.size,
        "frames": given.frames,
        "steps": given.steps,
        "guidance": given.guidance,
        "negative_prompt": given.negative_prompt,
        "batch": given.batch,
    }
    return found


def model_source(given: argparse.Namespace) -> str:
    """The model with what the options add to it, in one text that is found again from any folder."""
    source = Source.read(given.model)
    student = str(Path(given.student).expanduser().absolute()) if given.student else source.student
    tiny = (
        str(Path(given.tiny_decoder).expanduser().absolute()) if given.tiny_decoder else source.tiny_decoder
    )
    return str(Source(source.model, student, tiny))


def _doctor(_given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.machine import devices

    with terminal_status(terminal, "Looking at this machine"):
        result = devices(show.job(home, terminal))
    terminal.document({**result, "home": str(home), "cache": str(folders.cache())})
    show.doctor(terminal, result, home)
    return 0


def _inspect(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.machine import inspect

    with terminal_status(terminal, "Reading the model"):
        result = inspect(show.job(home, terminal), model_source(given))
    terminal.document(result)
    show.card(terminal, result["card"])
    return 0


def _explain(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.cli.explained import explained

    del home
    return explained(given, terminal)


def _optimize(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.runs import start

    _check_agent(given, terminal)
    return follow(
        terminal,
        home,
        lambda job: start(
            job,
            model=model_source(given),
            target=given.device,
            workload=workload(given),
            generations=given.generations,
            population=given.population,
            budget=given.budget,
            seed=given.seed,
            metric=given.metric,
            gate=given.gate,
            certify=not given.no_certify,
            out=str(given.out.expanduser()) if given.out else "",
            preset=given.preset,
            agent=given.agent,
            llm_model=given.llm_model,
            llm_url=given.llm_url,
            llm_budget=given.llm_budget,
            approve=given.approve,
            wishes=tuple(given.wish),
            workers=given.workers,
            without_walls=given.without_walls,
        ),
    )[0]


def _check_agent(given: argparse.Namespace, terminal: Terminal) -> None:
    """Raises `RunError` for options that only a language model, or only a person, can answer."""
    from studio.errors import RunError

    if given.agent != "llm" and (given.llm_model or given.llm_url or given.llm_budget):
        raise RunError("The options --llm-model, --llm-url and --llm-budget need --agent llm.")
    if given.approve and _nobody_there(terminal):
        raise RunError("--approve needs a terminal where somebody answers; leave it out.")


def _nobody_there(terminal: Terminal) -> bool:
    return terminal.machine or not sys.stdin.isatty()


def _resume(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.runs import resume

    folder = find_run(home, given.run)
    known = RunState.replay(Journal.read(folder))
    if known.approve and _nobody_there(terminal):
        from studio.errors import RunError

        raise RunError(
            f"The run {known.run} asks before each candidate runs; resume it in a terminal where somebody "
            "answers."
        )
    return follow(
        terminal,
        home,
        lambda job: resume(
            job,
            run=str(folder),
            generations=given.generations,
            budget=given.budget,
            llm_budget=given.llm_budget,
            wishes=tuple(given.wish),
            workers=given.workers,
            without_walls=given.without_walls,
        ),
        known,
    )[0]


def _evaluate(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.runs import evaluate

    return follow(
        terminal,
        home,
        lambda job: evaluate(
            job,
            model=model_source(given),
            script=str(given.script.expanduser()),
            target=given.device,
            workload=workload(given),
            seed=given.seed,
            gate=given.gate,
            out=str(given.out.expanduser()) if given.out else "",
            without_walls=given.without_walls,
        ),
    )[0]


def _bench(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.bench import bench

    notices: list[dict[str, Any]] = []

    def heard(item: Event) -> None:
        if item.type == "notice":
            notices.append(item.data)
        line = line_of(item, RunState())
        if line:
            terminal.say(line)

    with show.progress(terminal, heard) as job_of:
        result = bench(
            job_of(home),
            models=[*([given.model] if given.model else []), *given.models] or ["tiny-scenes"],
            target=given.device,
            agent=given.agent,
            levels=given.levels,
            sample=given.sample,
            seed=given.seed,
            search=given.search,
            generations=given.generations,
            population=given.population,
            without=tuple(given.without),
            workload=workload(given),
            out=str(given.out.expanduser()) if given.out else "",
            llm_model=given.llm_model,
            llm_url=given.llm_url,
            llm_budget=given.llm_budget,
            preset=given.preset,
            without_walls=given.without_walls,
        )
    terminal.document({**result, "notices": notices})
    show.rates(terminal, result)
    return 1 if result["ended"] else 0


def _compare(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.compare import compare

    with show.progress(terminal) as job_of:
        result = compare(
            job_of(home),
            run=given.run,
            a=given.a,
            b=given.b,
            count=given.count,
            without_walls=given.without_walls,
        )
    terminal.document(result)
    show.comparison(terminal, result)
    return 0


def _certify(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.certify import certify

    with show.progress(terminal) as job_of:
        result = certify(
            job_of(home),
            run=given.run,
            candidate=given.candidate,
            claim=given.claim,
            prompts=given.prompts,
            without_walls=given.without_walls,
        )
    terminal.document(result)
    show.certificate(terminal, result["certified"])
    return 0 if result["certified"]["held"] else 1


def _export(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.errors import ExportError
    from studio.work.export import export

    if given.cascade:
        if given.candidate:
            raise ExportError("Give one candidate, or two with --cascade; not both.")
        if given.layout:
            raise ExportError(
                "A cascade has no words in another runtime; leave --as out, or give one candidate."
            )
        return _export_cascade(given, home, terminal)
    if not given.candidate:
        raise ExportError("Say what to export: a candidate, or two with --cascade LIGHT HEAVY.")
    if given.threshold is not None:
        raise ExportError("Only a cascade has a threshold; give --cascade LIGHT HEAVY, or leave it out.")
    if given.layout:
        return _export_as(given, home, terminal)
    with show.progress(terminal) as job_of:
        result = export(
            job_of(home),
            run=given.run,
            candidate=given.candidate,
            out=str(given.out.expanduser()),
            also=given.also,
            without_walls=given.without_walls,
        )
    terminal.document(result)
    show.package(terminal, result)
    return 0


def _export_as(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.errors import ExportError
    from studio.work.export_as import export_as

    if given.also:
        raise ExportError("Only a package holds engines for further devices; leave --also or --as out.")
    with show.progress(terminal) as job_of:
        result = export_as(
            job_of(home),
            run=given.run,
            layout=given.layout,
            candidate=given.candidate,
            out=str(given.out.expanduser()),
            without_walls=given.without_walls,
        )
    terminal.document(result)
    show.package(terminal, result)
    return 0


def _export_cascade(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.export_cascade import export_cascade

    light, heavy = given.cascade
    with show.progress(terminal) as job_of:
        result = export_cascade(
            job_of(home),
            given.run,
            light,
            heavy,
            given.threshold,
            str(given.out.expanduser()),
            also=given.also,
            without_walls=given.without_walls,
        )
    terminal.document(result)
    show.package(terminal, result)
    terminal.say(f"serve it  {show.escape(result['serve'])}")
    return 0


def _serve(given: argparse.Namespace, _home: Path, terminal: Terminal) -> int:
    from engines.package.signature import trust
    from studio.cli.serve_arguments import command_line
    from studio.work.serve import serve

    authorities = [Path(given.certificate)] if given.certificate else []
    asked = trust(Path(given.key) if given.key else None, authorities)
    return serve(given.package.expanduser(), command_line(given), terminal.streams, asked)


def _report(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.report import report

    result = report(show.job(home, terminal), given.run, str(given.out.expanduser()) if given.out else "")
    terminal.document(result)
    terminal.say(f"The report is in {result['path']}")
    return 0


def _stages(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.stages import stages

    result = stages(show.job(home, terminal), given.run)
    terminal.document(result)
    show.stages(terminal, result)
    return 0


def _runs(_given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.machine import runs

    result = runs(show.job(home, terminal))
    terminal.document(result)
    show.runs(terminal, result["runs"], home)
    return 0


def _start(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.cli.main_job import main_job

    return main_job(terminal, home, given.out.expanduser(), given.budget, without_walls=given.without_walls)


def _of_a_package(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.cli import package

    return package.COMMANDS[given.command](given, home, terminal)


def _cascade(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.cli.cascade_plan import cascade

    return cascade(given, home, terminal)


def terminal_status(terminal: Terminal, text: str) -> Any:
    """A spinner for people, nothing for machines."""
    import contextlib

    return contextlib.nullcontext() if terminal.machine else terminal.console.status(text)


COMMANDS: dict[str, Callable[[argparse.Namespace, Path, Terminal], int]] = {
    "start": _start,
    "doctor": _doctor,
    "inspect": _inspect,
    "explain": _explain,
    "optimize": _optimize,
    "resume": _resume,
    "evaluate": _evaluate,
    "bench": _bench,
    "compare": _compare,
    "certify": _certify,
    "export": _export,
    "serve": _serve,
    "verify": _of_a_package,
    "sign": _of_a_package,
    "diff": _of_a_package,
    "package": _of_a_package,
    "report": _report,
    "runs": _runs,
    "stages": _stages,
    "cascade": _cascade,
    "cache": space.cache,
    "memory": memory.memory,
    "metrics": metrics.metrics,
    "hub-token": metrics.hub_token,
    "llm-key": keys.llm_key,
}
