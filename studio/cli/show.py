"""What people see of a document: tables and short sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.cli.terminal import Terminal
from studio.record.described import TargetState
from studio.record.events import Event
from studio.work.job import Job

STATES = {"ready": "[green]ready[/]", "build_only": "[yellow]build only[/]", "missing": "[dim]missing[/]"}


def job(home: Path, _terminal: Terminal) -> Job:
    """A job without progress."""
    return Job(home)


@contextlib.contextmanager
def progress(
    terminal: Terminal, heard: Callable[[Event], None] = lambda _event: None
) -> Iterator[Callable[[Path], Job]]:
    """A bar for one job; `with progress(terminal) as job_of: function(job_of(home), ...)`.

    `heard` is told the events of jobs that have any.
    """
    if terminal.machine:
        yield lambda home: Job(home, emit=heard)
        return
    with bar(terminal) as (shown, task):

        def step(done: int, total: int, doing: str) -> None:
            shown.update(task, completed=done, total=total or None, description=escape(doing))

        yield lambda home: Job(home, on_progress=step, emit=heard)


@contextlib.contextmanager
def bar(terminal: Terminal) -> Iterator[tuple[Any, Any]]:
    """The one kind of progress bar used here."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=terminal.console, transient=True) as shown:
        yield shown, shown.add_task("starting", total=None)


def escape(text: object) -> str:
    """Text that `rich` is not to take for markup."""
    from rich.markup import escape as escaped

    return escaped(str(text))


def table(*columns: str) -> Any:
    """A light table; a column that begins with `>` is aligned right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return made


def megabytes(size: float) -> str:
    return f"{size / 1_000_000:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def duration(seconds: float) -> str:
    """`340 ms`, `1.20 s`, `4:10`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def doctor(terminal: Terminal, result: dict[str, Any], home: Path) -> None:
    if terminal.machine:
        return
    machine = result["machine"]
    terminal.say(
        f"[b]{escape(machine['processor'])}[/], {machine['cores']} cores, "
        f"{machine['memory'] / 2**30:.1f} GiB, {escape(machine['system'])}, Python {machine['python']}"
    )
    shown = table("Target", "Engine", "State", "Why, and what to do")
    for target in result["targets"]:
        words = target["reason"] + (f" Install: {target['install']}" if target["install"] else "")
        if target["gflops"]:
            words += f" {target['gflops']:.0f} GFLOP/s"
        shown.add_row(
            escape(target["name"]), escape(target["engine"]), STATES[target["state"]], escape(words.strip())
        )
        for engine in TargetState.model_validate(target).lacking():
            words = engine.words + (f". Install: {engine.install}" if engine.install else "")
            shown.add_row("", "", STATES[engine.state], f"[dim]{escape(words)}[/]")
    terminal.console.print(shown)
    terminal.say(f"Runs and settings: {escape(home)}")


def card(terminal: Terminal, model: dict[str, Any]) -> None:
    if terminal.machine:
        return
    terminal.say(
        f"[b]{escape(model['name'])}[/]  {escape(model['family'])}, {escape(model['task'])}, "
        f"{model['size']} px, {model['steps']} steps, guidance {model['guidance']:g}, "
        f"licence {escape(model['licence'])}"
    )
    shown = table("Component", "Kind", ">Parameters", "Type", ">Size")
    for part in model["components"]:
        shown.add_row(
            escape(part["name"]),
            escape(part["kind"]),
            f"{part['parameters']:,}",
            escape(part["dtype"]),
            megabytes(part["bytes"]),
        )
    terminal.console.print(shown)
    terminal.say(
        f"Weights in fp32: {megabytes(model['memory'])}; digest {model['hash'][:16]}; "
        f"{escape(model['source'])}"
    )
    for note in model["notes"]:
        terminal.say(f"[yellow]note[/] {escape(note)}")


def comparison(terminal: Terminal, result: dict[str, Any]) -> None:
    if terminal.machine:
        return
    names = result["metrics"]
    shown = table("Prompt", ">Seed", *(">" + name for name in names))
    for row in result["rows"]:
        values = [f"{row['metrics'][name]:.3g}" if name in row["metrics"] else "" for name in names]
        shown.add_row(escape(row["prompt"]), str(row["seed"]), *values)
    terminal.console.print(shown)
    for one in result["sets"]:
        bounds = f" (95 % {one['low']:.3g} to {one['high']:.3g})" if "low" in one else ""
        terminal.say(f"As sets: {escape(one['title'])} {one['value']:.3g}{bounds}")
    if result["sets_note"]:
        terminal.say(f"[dim]{escape(result['sets_note'])}[/]")
    for name, words in result["parity"].items():
        terminal.say(f"Component parity of {name}: {escape(words)}, engine against eager")
    means = ", ".join(f"{name} {value:.3g}" for name, value in result["mean"].items())
    terminal.say(f"{result['a']} against {result['b']}, worst first; mean: {means}")
    terminal.say(f"Pictures: {escape(Path(result['folder']) / 'compare')}")


def certificate(terminal: Terminal, certified: dict[str, Any]) -> None:
    """Whether a claim holds, with the bounds that say so."""
    from studio.cli.follow import WALLS
    from studio.record.events import Certified
    from studio.work.report import bounds_text

    one = Certified.model_validate(certified)
    word = "[green]✓ holds[/]" if one.held else "[red]✗ not proven[/]"
    terminal.say(f"{word}  {one.id}: {escape(one.claim)}")
    if one.loss is not None:
        terminal.say(f"  one-sided 95 % bounds {bounds_text(one.claim, one.loss)}, {one.prompts} prompts")
    if one.speedup is not None:
        low, high = one.speedup.low, one.speedup.high
        terminal.say(f"  {one.speedup.value:.2f}× as fast as the baseline ({low:.2f} to {high:.2f})")
    if one.isolation:
        terminal.say(f"  walls: {WALLS[one.isolation]}")
    if one.note:
        terminal.say(f"  [dim]{escape(one.note)}[/]")
    if one.isolation:
        terminal.say(f"  its script ran {escape(one.walls)}")


def rates(terminal: Terminal, result: dict[str, Any]) -> None:
    """A benchmark's rates, a line a level."""
    if terminal.machine:
        return
    shown = table("Level", ">Tasks", ">Passed", ">Pass rate", ">Achievement", "Failures")
    for row in result["rates"]:
        achieved, (low, high) = row["achievement_rate"], row["interval"]
        shown.add_row(
            row["level"],
            str(row["tasks"]),
            str(row["passed"]),
            f"{row['pass_rate']:.1%} ({100 * low:.0f} to {100 * high:.0f})",
            "" if achieved is None else f"{achieved:.1%}",
            ", ".join(f"{name} {count}" for name, count in row["failures"].items()),
        )
    terminal.console.print(shown)
    for row in result["difficulties"]:
        if row["level"] == "all":
            achieved = row["achievement_rate"]
            terminal.say(
                f"{row['difficulty']} (L4, L5): {row['passed']} of {row['tasks']} passed"
                + ("" if achieved is None else f", achievement {achieved:.1%}")
            )
    for family in result["families"] if len(result["families"]) > 1 else ():
        rows = family["rates"]
        words = ", ".join(f"{row['level']} {row['passed']} of {row['tasks']}" for row in rows)
        terminal.say(f"{escape(family['family'])} ({escape(family['model'])}): {words}")
    if result["language_model"] is not None:
        terminal.say(f"Language model: {escape(result['language_model']['text'])}")
    if result["ended"]:
        terminal.say(f"[yellow]{escape(result['ended'])}[/]")
    terminal.say(f"{result['tasks']} of {result['of']} tasks done; report: {escape(result['report'])}")


def package(terminal: Terminal, result: dict[str, Any]) -> None:
    if terminal.machine:
        return
    checks(terminal, result)
    for key, name in (("package", "package"), ("zip", "archive"), ("id", "id")):
        if result.get(key):
            terminal.say(f"{name:8} {escape(result[key])}")


def checks(terminal: Terminal, result: dict[str, Any]) -> None:
    if terminal.machine:
        return
    for check in result.get("checks", ()):
        state = check.get("state") or ("ok" if check.get("ok") else "failed")
        mark = {"ok": "[green]✓[/]", "warning": "[yellow]![/]"}.get(state, "[red]✗[/]")
        terminal.say(f"{mark} {escape(check['name'])}  [dim]{escape(check.get('text', ''))}[/]")
    if result.get("ok") and result.get("text"):
        terminal.say(escape(result["text"]))


def stages(terminal: Terminal, result: dict[str, Any]) -> None:
    """What each stage cost, a line each."""
    if terminal.machine:
        return
    if not result["candidates"]:
        terminal.say(
            "No candidate of this run says what its stages cost; runs of earlier versions kept none."
        )
        return
    shown = table("Stage", ">Reached", ">Ended there", ">Stopped early", ">Median", ">In all")
    for row in result["stages"]:
        shown.add_row(
            row["stage"],
            str(row["reached"]),
            str(row["ended"]),
            str(row["stopped"]),
            "" if row["median"] is None else duration(row["median"]),
            duration(row["total"]),
        )
    terminal.console.print(shown)
    if result["full"] is not None:
        early = "" if result["early"] is None else f", given up early {duration(result['early'])}"
        terminal.say(f"A candidate measured in full took {duration(result['full'])}{early} (medians).")


def runs(terminal: Terminal, found: list[dict[str, Any]], home: Path) -> None:
    if terminal.machine:
        return
    if not found:
        terminal.say(
            f"There is no run in {escape(home / 'runs')} yet; "
            "start one with: pareto-studio optimize tiny-scenes"
        )
        return
    shown = table("Run", "Model", "State", ">Candidates", ">Front", "Winner", "")
    for run in found:
        shown.add_row(
            escape(run["id"]),
            escape(run["model"]),
            run["state"],
            str(run["candidates"]),
            str(run["front"]),
            run["winner"] or "",
            escape(run["note"]),
        )
    terminal.console.print(shown)
