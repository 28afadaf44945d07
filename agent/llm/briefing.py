"""What the language model is told of a run, as text; and what it is never told.

Pictures, weights, the user's prompts and the names of folders stay on the
machine (`LEAVES`): `private` takes folders out of a candidate's output.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.candidate import Recipe, Step, Verdict
from agent.coder import title
from agent.evolution.front import Judged, front
from agent.llm import drift
from agent.memory import Remembered
from agent.planner.context import Context

LEAVES: Final = (
    "the model card: name, family, size, steps, guidance, parts with their class, parameters and precision",
    "the machine: processor, number of cores, memory, device and engine",
    "numbers: times, losses, speed-ups, stages, memory and calls of every candidate, and where the time goes",
    "how bright and how varied the pictures of a candidate are that was stopped, two numbers for all of them",
    "code: the scripts of candidates and the recipes of earlier runs on this device",
    "the output of candidates that failed, without the names of folders",
    "what you write to the agent",
)
"""What goes to the service."""
STAYS: Final = (
    "pictures, of the model or yours",
    "weights",
    "your prompts",
    "where things lie on this machine, and names of users",
    "the key, except as the key of each request",
)
"""What never does."""

_EVIDENCE: Final = 6_000
_SCRIPT: Final = 12_000
_SHORTEST_PROMPT: Final = 4
"""Shorter prompts are ordinary words, and say nothing of anybody."""
_ROWS: Final = 60
"""Candidates listed; of more, the front, the failed and the newest."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beside the context: the machine, and where the baseline's time goes."""

    machine: Mapping[str, Any] = field(default_factory=dict)
    operators: tuple[tuple[str, float], ...] = ()
    """(operator of the denoiser, share of its time), largest first."""


def call_of(step: Step) -> str:
    """`fewer-steps(steps=12)`."""
    values = ", ".join(f"{name}={value}" for name, value in step.parameters.items())
    return f"{step.technique}({values})" if values else step.technique


def recipe_text(recipe: Recipe) -> str:
    return " + ".join(map(call_of, recipe)) or "the unchanged model"


def task(context: Context, surroundings: Surroundings, *, knowledge: bool = True) -> str:
    """The fixed part of a run: model, target, workload, goal, what can be used, what goes together."""
    card, workload = context.card, context.workload
    lines = [
        "# The model",
        "",
        f"{card.name}, family {card.family}, {getattr(card, 'task', 'text-to-image')}.",
    ]
    size = workload.size or getattr(card, "size", None)
    lines.append(
        f"Native work: {size or '?'} px, {context.steps} steps, guidance "
        f"{card.guidance if workload.guidance is None else workload.guidance:g} "
        f"({'two denoiser rows a step' if context.guided else 'unguided'}), batch {workload.batch}."
    )
    for part in getattr(card, "components", ()):
        size_text = (
            f"{part.parameters / 1e6:.2f} M parameters, {part.dtype}" if part.parameters else "no weights"
        )
        lines.append(f"- {part.name}: {part.kind}, {size_text}")
    lines += ["", "# The target", "", f"Device {context.device}."]
    machine = surroundings.machine
    if machine:
        memory = machine.get("memory")
        shown = [
            str(machine.get("processor") or ""),
            f"{machine['cores']} cores" if machine.get("cores") else "",
            f"{memory / 2**30:.0f} GiB of memory" if isinstance(memory, int | float) else "",
        ]
        lines.append(", ".join(filter(None, shown)) + ".")
    lines += [
        "",
        "# The goal",
        "",
        (
            f"Seconds per image, whole pipeline, warm, against the quality loss ({context.metric}; lower is "
            f"better, the unchanged model is 0). Fill the whole Pareto front; the winner is the fastest with "
            f"a loss of at most {context.loss_text(context.tolerance)}."
        ),
        "",
        "# Techniques that apply to this model on this device",
        "",
    ]
    for axis in context.space.axes:
        lines.append(f"- {axis.technique}")
        for one in axis.parameters:
            values = " | ".join(map(str, one.choices)) if one.kind == "choice" else f"{one.low} to {one.high}"
            lines.append(f"    {one.name} ({one.kind}): {values}; default {one.default}")
    if knowledge and context.rules:
        lines += ["", "# What goes together here and why, beyond the exclusions", "", context.rules]
    return "\n".join(lines)


def profile(context: Context, surroundings: Surroundings) -> str:
    """Where the baseline's time goes."""
    baseline = context.baseline
    if baseline is None or baseline.latency is None:
        return "The baseline has not been measured yet."
    total = sum(baseline.stages.values()) or 1.0
    parts = ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in baseline.stages.items())
    lines = [f"Baseline: {baseline.latency.value:.4g} s per image" + (f" ({parts})" if parts else "") + "."]
    if baseline.memory is not None:
        lines.append(f"Peak memory of its process: {baseline.memory:.0f} MiB.")
    if baseline.card_memory is not None:
        lines.append(f"Peak memory on the card: {baseline.card_memory:.0f} MiB.")
    if baseline.floor is not None:
        lines.append(f"This machine cannot do its work in less than {baseline.floor:.3g} s per image.")
    if surroundings.operators:
        lines.append("Top operators of its denoiser by time:")
        lines += [f"- {name}: {share:.0%}" for name, share in surroundings.operators]
    return "\n".join(lines)


def numbers(verdict: Verdict, context: Context) -> str:
    """A verdict in one line."""
    if verdict.state != "passed":
        return f"{verdict.state.upper()} at {verdict.stage}: {one_line(unprompted(verdict.reason, context))}"
    parts = []
    if verdict.speedup is not None:
        one = verdict.speedup
        parts.append(f"{one.value:.3g}x ({one.low:.3g} to {one.high:.3g})")
    if verdict.latency is not None:
        parts.append(f"{verdict.latency.value:.4g} s")
    if verdict.loss is not None:
        loss = verdict.loss
        low, high = context.loss_text(loss.low), context.loss_text(loss.high)
        parts.append(f"loss {context.loss_text(loss.value)} ({low} to {high})")
    total = sum(verdict.stages.values())
    if total > 0:
        parts.append(", ".join(f"{name} {value / total:.0%}" for name, value in verdict.stages.items()))
    if verdict.fallbacks:
        parts.append(f"fell back: {'; '.join(map(one_line, verdict.fallbacks))}")
    return "; ".join(parts)


def table(context: Context) -> str:
    """Every verdict so far, one line each; of many, the front, what failed, and the newest."""
    on_front = {one.id for one in front(context.history)}
    rows = list(context.history)
    if len(rows) > _ROWS:
        newest = {one.id for one in rows[-_ROWS // 2 :]}
        rows = [
            one
            for one in rows
            if one.is_baseline or one.id in on_front | newest or one.verdict.state != "passed"
        ][-_ROWS:]
    return "\n".join(_row(one, one.id in on_front, context) for one in rows) or "Nothing yet."


def _row(one: Judged, on_front: bool, context: Context) -> str:
    proposal = one.candidate.proposal
    parents = f" from {' and '.join(proposal.parents)}" if proposal.parents else ""
    code = f" + code: {one_line(proposal.code)}" if proposal.code else ""
    mark = " [front]" if on_front else ""
    where = f"generation {one.candidate.generation}{parents}"
    return (
        f"{one.id}{mark} ({where}): {recipe_text(proposal.recipe)}{code} -> {numbers(one.verdict, context)}"
    )


def memory(context: Context, limit: int = 12, failed: int = 8) -> str:
    """What earlier runs found for this family: the best, and what failed and why; from where, if not here."""
    passed = [one for one in context.memory if one.state == "passed"]
    lines = [_remembered(one) for one in passed[:limit]]
    lines += [_remembered(one) for one in context.memory if one.state != "passed"][:failed]
    return "\n".join(lines) or "None."


def _remembered(one: Remembered) -> str:
    found = f", {one.speedup:.2f}x" if one.speedup is not None else ""
    loss = f", loss {one.loss:.3g} ({one.metric})" if one.loss is not None else ""
    stage = f" at {one.stage}" if one.stage else ""
    reason = f": {private(one_line(one.reason))}" if one.reason else ""
    where = f" [{one.elsewhere}]" if one.elsewhere else ""
    return f"- {recipe_text(one.recipe)} -> {one.state}{stage}{found}{loss}{reason}{where}"


def wishes(context: Context) -> str:
    """What the user asked for, later sentences counting more, and what the user did not want to run."""
    refused = (
        f"I did not want {one.id} ({recipe_text(one.proposal.recipe)}"
        + (f", with code: {one_line(one.proposal.code)}" if one.proposal.code else "")
        + ") to run; do not plan it again."
        for one in context.declined
    )
    return "\n".join(f"- {one_line(note)}" for note in (*context.notes, *refused)) or "None."


def script(text: str) -> str:
    """A script between fences, shortened in the middle where it is very long."""
    return f"```python\n{shortened(private(text).rstrip(), _SCRIPT)}\n```"


def unprompted(text: str, context: Context) -> str:
    """The text without the user's own prompts, which a script may have put into its output."""
    for one in sorted(context.workload.prompts, key=len, reverse=True):
        if len(one) >= _SHORTEST_PROMPT:
            text = re.sub(re.escape(one), "[prompt]", text, flags=re.IGNORECASE)
    return text


def evidence(verdict: Verdict, context: Context) -> str:
    """What a failing stage left behind, and where it came so far the numbers of its pictures and engines."""
    text = private(unprompted(verdict.evidence, context)).strip()
    output = f"```text\n{shortened(text, _EVIDENCE)}\n```" if text else ""
    measured = "\n".join(f"- {line}" for line in drift.lines(verdict, context))
    return "\n\n".join(filter(None, (output, measured))) or "The stage left no output."


def parents(context: Context, names: Iterable[str]) -> str:
    """Scripts and verdicts of parents, for recombination of code."""
    parts = []
    for name in names:
        one = context.judged(name)
        if one is not None and one.candidate.script:
            label = title(one.candidate.proposal.recipe)
            parts.append(
                f"## {name}: {label}\n\n{numbers(one.verdict, context)}\n\n{script(one.candidate.script)}"
            )
    return "\n\n".join(parts) or "None."


def one_line(text: str) -> str:
    return " ".join(private(text).split())


def shortened(text: str, most: int) -> str:
    """The beginning and the end; the end, where a traceback says what it is about, is longer."""
    if len(text) <= most:
        return text
    head = most // 3
    return f"{text[:head]}\n[... {len(text) - most:,} characters left out ...]\n{text[-(most - head) :]}"


_SEGMENT: Final = r"[\w.()+@=,~-](?:[\w .()+@=,~-]*[\w()+@=,~-])?"
_PATH: Final = re.compile(rf"(?<![\w/.:~])(?:~|[A-Za-z]:)?(?:[\\/]{_SEGMENT})+[\\/]?")


def private(text: str) -> str:
    """The text with every absolute path cut down to its file's name.

    A path inside an installed package keeps the part from the package on,
    which a debugger needs and which names nobody.
    """
    for place, word in ((str(Path.home()), "~"), (tempfile.gettempdir(), "tmp")):
        if len(place) > 1:
            text = text.replace(place, word)
    user = os.environ.get("USER") or os.environ.get("USERNAME") or ""
    if len(user) > 3:
        text = re.sub(rf"\b{re.escape(user)}\b", "user", text)
    return _PATH.sub(_tail, text)


def _tail(found: re.Match[str]) -> str:
    parts = re.split(r"[\\/]", found[0].rstrip("\\/"))
    for marker in ("site-packages", "dist-packages", "engines"):
        if marker in parts[:-1]:
            at = len(parts) - 1 - parts[::-1].index(marker)
            return "/".join(parts[at if marker == "engines" else at + 1 :])
    return parts[-1] if len(parts) > 2 else found[0]


def repairs_text(failed: Iterable[Judged], context: Context) -> str:
    """What failed before on the way, oldest first."""
    lines = [
        f"- {one.id} ({one_line(one.candidate.proposal.why)}) -> {numbers(one.verdict, context)}"
        for one in failed
    ]
    return "\n".join(lines) or "None."
