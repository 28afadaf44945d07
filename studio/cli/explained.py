"""`pareto-studio explain`: why techniques go together or do not."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from studio.cli import show
from studio.cli.terminal import Terminal

if TYPE_CHECKING:
    from engines.techniques.explain import Effect, Explanation, Finding

ANSWERS: Final = {
    "yes": "[green]yes, they go together[/]",
    "if": "[yellow]yes, under a condition[/]",
    "no": "[red]no, they do not go together[/]",
    "unknown": "[yellow]nobody is known to vouch for it: measure it[/]",
}
ALONE: Final = {
    "yes": "[green]usable[/]",
    "if": "[yellow]usable under a condition[/]",
    "no": "[red]not usable[/]",
}
MARKS: Final = {"yes": "[green]yes[/]", "if": "[yellow] if[/]", "no": "[red] no[/]"}


def explained(given: argparse.Namespace, terminal: Terminal) -> int:
    """Answer the question of a command line; 0 also where the answer is no."""
    from engines.techniques.explain import explain

    given_words = [word for word in given.techniques if word not in ("+", "and", ",")]
    card = None
    if given.model:
        from engines.models.card import describe
        from engines.models.load import open_model

        card = describe(open_model(given.model))
    found = explain(" + ".join(given_words), card, given.device)
    terminal.document(asdict(found) | {"together": found.together})
    _show(terminal, found)
    return 0


def _show(terminal: Terminal, found: Explanation) -> None:
    if terminal.machine:
        return
    names = [
        word if word == name else f"{word} ({name} here)"
        for word, name in zip(found.asked, found.names, strict=True)
    ]
    answers = ALONE if len(names) == 1 else ANSWERS
    answer = answers.get(found.answer, "[yellow]not part of this program[/]")
    terminal.say(f"[b]{show.escape(' + '.join(names))}[/]: {answer}")
    terminal.say(f"[dim]for {show.escape(found.model)} on {found.device}[/]")
    for one in found.findings:
        terminal.say(f"{MARKS[one.verdict]}  {show.escape(_sentence(one))}")
    if len(found.order) > 1:
        terminal.say(f"[b]Order[/]: {show.escape(', then '.join(found.order))}.")
        terminal.say(f"[dim]{show.escape(found.order_reason)}[/]")
    terminal.say("[b]Expected effect[/] (the sources' figures, on their hardware; `optimize` measures yours)")
    for effect in found.effects:
        terminal.say(f"  {show.escape(_effect(effect))}")
    if found.together is not None:
        low, high = found.together
        terminal.say(f"  together, if nothing overlapped: {low:.2g}x to {high:.2g}x")


def _sentence(one: Finding) -> str:
    rule = "" if one.number is None else f"rule {one.number}, "
    sure = "" if one.basis == "read" else "inferred, "
    return f"{' + '.join(one.between)}: {one.reason} [{rule}{sure}{one.source}]"


def _effect(one: Effect) -> str:
    from engines.techniques.base import EXPORTS

    factor = "" if one.factor is None else f" {one.factor[0]:g}x to {one.factor[1]:g}x."
    quality = f" Quality: {one.quality}" if one.quality else ""
    here = f" Here: {one.here}" if one.here else ""
    kept = f" In a package: {EXPORTS[one.export]}." if one.export else ""
    return f"{one.name}:{factor} {one.speed}{quality}{here}{kept} [{'; '.join(one.sources)}]"
