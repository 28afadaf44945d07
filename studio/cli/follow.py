"""Follow a run in the terminal: a line per candidate, a bar below, a summary at the end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from studio.cli.show import bar, duration, escape, table
from studio.cli.terminal import Terminal
from studio.record import events
from studio.record.events import Event, event
from studio.record.state import CandidateState, RunState
from studio.work.control import LONGEST_WISH, Control
from studio.work.job import Job
from studio.work.report import bounds_text, scale_of

HEARD = {"thinking": "thinking", "text": "answering", "tool": "answering"}
WALLS = {"isolated": "[dim]isolated[/]", "limited": "[yellow]limited[/]", "none": "[red]no walls[/]"}
MARKS = {"passed": "[green]●[/]", "failed": "[red]✗[/]", "quarantined": "[yellow]▲[/]"}


def follow(
    terminal: Terminal, home: Path, action: Callable[[Job], dict[str, Any]], known: RunState | None = None
) -> tuple[int, dict[str, Any]]:
    """Run `action`, which starts a run or continues a `known` one; exit status and the action's result.

    The first Ctrl-C ends the run after the candidate in flight, the second (and SIGTERM) at once.
    """
    state = known or RunState()
    control = Control()
    pressed = 0

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        control.set("leave", abort=pressed > 1)
        if pressed == 1:
            terminal.say("[yellow]Ending after the candidate in flight; press Ctrl-C again to give it up.[/]")

    def terminate(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        control.set("leave", abort=True)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate)
    try:
        if terminal.machine:
            result = action(
                Job(home, on_progress=_progress_line(terminal), emit=terminal.event, control=control)
            )
            terminal.event(event(events.JobDone(job=1, result=result)))
        else:
            result = _with_bar(terminal, home, action, state, control)
            summary(terminal, state, result)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    if pressed:
        return 130, result
    return (1 if result.get("reason") == "failed" else 0), result


def _agrees(terminal: Terminal, candidate: CandidateState, control: Control) -> bool:
    """Ask whether a candidate may run; what is no yes is a no, and a sentence steers what comes next."""
    proposal = candidate.proposal
    more = f" + code: {proposal.code}" if proposal.code else ""
    terminal.say(f"[b]{candidate.id}[/] {escape(proposal.title + more)}\n  {escape(proposal.why)}")
    try:
        said = terminal.console.input(
            escape(f"Run it? Its script is {proposal.script} [y/N, or say what you want instead] ")
        )
    except EOFError:
        return False
    words = " ".join(said.split())[:LONGEST_WISH]
    if words.lower() not in ("", "y", "yes", "n", "no"):
        control.steer(words)
    return words.lower() in ("y", "yes")


def _progress_line(terminal: Terminal) -> Callable[[int, int, str], None]:
    def told(done: int, total: int, doing: str) -> None:
        terminal.event(event(events.JobProgress(job=1, done=done, total=total, doing=doing)))

    return told


def _with_bar(
    terminal: Terminal, home: Path, action: Callable[[Job], dict[str, Any]], state: RunState, control: Control
) -> dict[str, Any]:
    with bar(terminal) as (shown, task):

        def progress(done: int, total: int, doing: str) -> None:
            shown.update(task, completed=done, total=total or None, description=escape(doing))

        def emit(item: Event) -> None:
            state.apply(item)
            line = line_of(item, state)
            if line:
                terminal.say(line)
            match item.payload():
                case events.CandidateWaiting() as data:
                    shown.stop()
                    control.decide(data.id, run=_agrees(terminal, state.candidates[data.id], control))
                    shown.start()
                case events.Progress() as data:
                    left = ""
                    if data.seconds_low is not None and data.seconds_high is not None:
                        left = f" · {duration(data.seconds_low)} to {duration(data.seconds_high)} left"
                    progress(data.done, data.total, data.doing + left)
                case events.LlmDelta() as data:
                    words = data.text if data.kind == "wait" else HEARD[data.kind]
                    money = "" if data.usd is None else f", ${data.usd:.3f}"
                    cost = f" · about {data.tokens:,} tokens{money}" if data.tokens else ""
                    shown.update(task, description=escape(f"language model: {words}{cost}"))
                case events.CandidateStage() as data:
                    shown.update(task, description=escape(f"{data.id} {data.stage}: {data.message}"))

        return action(Job(home, on_progress=progress, emit=emit, control=control))


def line_of(item: Event, state: RunState) -> str:
    """What an event is worth saying to a person; empty: nothing."""
    match item.payload():
        case events.RunStarted() as data:
            words = f"{data.target}, loss: {data.metric.title.lower()}; {data.folder}"
            return f"[b]{escape(data.model.name)}[/] on {escape(words)}"
        case events.GenerationStarted() as data:
            return f"[dim]generation {data.generation}: {data.planned} candidates[/]"
        case events.CandidateJudged() as data:
            return candidate_line(state.candidates[data.id], state)
        case events.Notice() as data:
            colour = {"info": "dim", "warning": "yellow", "error": "red"}[data.level]
            return f"[{colour}]{escape(data.text)} {escape(data.action)}[/]".rstrip()
        case events.Certified() as data:
            word = "[green]✓ certified[/]" if data.held else "[red]✗ not proven[/]"
            bounds = "" if data.loss is None else f" ({bounds_text(data.claim, data.loss)})"
            walls = f" {WALLS[data.isolation]}" if data.isolation else ""
            return f"{word} {data.id}: {escape(data.claim)}{bounds} [dim]{escape(data.note)}[/]{walls}"
        case events.LlmAnswered() as data:
            return answer_line(data)
        case events.RunSteered() as data:
            answer = f"\n[cyan]agent:[/] {escape(data.answer)}" if data.answer else ""
            return f"[cyan]you:[/] {escape(data.text)}{answer}"
        case events.RunPaused():
            return "[yellow]paused[/]"
        case events.RunResumed():
            return "[dim]resumed[/]"
    return ""


def answer_line(data: events.LlmAnswered) -> str:
    """One answer of the language model and what it cost."""
    money = "" if data.usd is None else f" · ${data.usd:.3f}"
    total = "" if data.spent_usd is None else f" of ${data.spent_usd:.2f} so far"
    tokens = data.input + data.output + data.write + data.read
    about = f"{data.purpose} {data.candidate}".strip()
    said = f"[yellow]{escape(data.error)}[/]" if data.error else escape(data.summary)
    return f"[dim]{about} · {tokens:,} tokens{money}{total}:[/] {said}"


def candidate_line(candidate: CandidateState, state: RunState) -> str:
    """One judged candidate."""
    verdict = candidate.verdict
    if verdict is None:
        return ""
    parts = [f"{MARKS[verdict.state]} {candidate.id}", f"{candidate.proposal.title:44.44}"]
    if verdict.latency is not None:
        parts.append(f"{duration(verdict.latency.value):>8}")
    if verdict.speedup is not None and candidate.id != "c000":
        parts.append(
            f"{verdict.speedup.value:5.2f}× ({verdict.speedup.low:.2f} to {verdict.speedup.high:.2f})"
        )
    if verdict.loss is not None:
        parts.append(f"loss {loss_text(verdict.loss.value, state)}")
    if verdict.isolation:
        parts.append(WALLS[verdict.isolation])
    if verdict.reason:
        parts.append(f"[dim]{escape(verdict.reason)}[/]")
    return "  ".join(parts)


def loss_text(loss: float, state: RunState) -> str:
    """A loss in the unit that people read."""
    factor, unit = (1.0, "") if state.started is None else scale_of(state.started.metric)
    return f"{factor * loss:.3g} {unit}".rstrip()


def summary(terminal: Terminal, state: RunState, result: dict[str, Any]) -> None:
    """The front and how the run ended."""
    shown = table(
        "Front", "Recipe", ">Per image", ">Speed-up", ">Loss", ">PSNR", ">Component parity", ">Memory", ""
    )
    for name in state.front:
        candidate = state.candidates[name]
        verdict = candidate.verdict
        if verdict is None or verdict.latency is None or verdict.loss is None:
            continue
        psnr = verdict.metrics.get("psnr")
        words = [word for word, found in (("winner", state.winner), ("knee", state.knee)) if found == name]
        shown.add_row(
            name,
            escape(candidate.proposal.title),
            duration(verdict.latency.value),
            f"{verdict.speedup.value:.2f}×" if verdict.speedup else "",
            loss_text(verdict.loss.value, state),
            f"{psnr.value:.1f} dB" if psnr else "",
            verdict.parity.likeness if verdict.parity else "",
            f"{verdict.held:.0f} MiB" if verdict.held else "",
            ", ".join(words),
        )
    terminal.console.print(shown)
    winner = state.candidates.get(state.winner or "")
    if winner is not None and winner.verdict is not None and winner.verdict.engines:
        built, verified = winner.verdict.built_for, winner.verdict.verified_on
        terminal.say(escape(f"Engines of {winner.id}: built for: {built}; verified on: {verified}."))
    if winner is not None and winner.verdict is not None and winner.verdict.census is not None:
        terminal.say(escape(f"Counted of {winner.id}: {winner.verdict.census.words}."))
    if state.finished is not None:
        terminal.say(f"[b]{escape(state.finished.text)}[/]")
    elif result.get("reason") == "left":
        terminal.say(f"The run can be continued: pareto-studio resume {escape(result['run'])}")
    if result.get("folder"):
        terminal.say(f"Run: {escape(result['folder'])}")
