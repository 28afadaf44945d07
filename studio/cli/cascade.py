"""The cascade in the terminal: what a few thresholds defer, take and give."""

from __future__ import annotations

from typing import Any

from studio.cli.show import duration, escape, table
from studio.cli.terminal import Terminal
from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval, Operation
from studio.plan.reuse import Reuse

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of deferred prompts that are shown."""


def show_cascade(terminal: Terminal, result: dict[str, Any]) -> None:
    """The pair, the discriminator, and one line for each share of deferred prompts."""
    if terminal.machine:
        return
    cascade = Cascade.from_json(result["cascade"])
    terminal.say(
        f"light {cascade.light} {escape(cascade.light_title)}, heavy {cascade.heavy} "
        f"{escape(cascade.heavy_title)}; {len(cascade.samples)} prompts answered by both"
    )
    terminal.console.print(_scorers(cascade))
    shown = table(">Threshold", ">Deferred", ">Per image", f">{cascade.metric.capitalize()}")
    for operation in chosen(cascade.curve):
        shown.add_row(
            f"{operation.threshold:.2f}",
            f"{operation.share:.0%} ({operation.deferred.low:.0%} to {operation.deferred.high:.0%})",
            duration(operation.seconds.value),
            f"{operation.quality.value:.1%} ({operation.quality.low:.1%} to {operation.quality.high:.1%})",
        )
    terminal.console.print(shown)
    if cascade.reuse is not None:
        terminal.console.print(_options(cascade.reuse))
        terminal.say(escape(cascade.reuse.verdict(cascade.margin)))
        terminal.say(f"[dim]{escape(' '.join(cascade.reuse.notes))}[/]")
    for promised in cascade.guarantees:
        if promised.rate == cascade.guarded_rate:
            terminal.say(escape(promised.sentence()))
    for note in cascade.notes:
        terminal.say(f"[dim]{escape(note)}[/]")


def _scorers(cascade: Cascade) -> Any:
    """Ways to decide, side by side: area under the ROC curve, and quality at a few deferred shares."""
    shares = [at.share for at in cascade.scorers[0].worth] if cascade.scorers else []
    shown = table("Decides", ">ROC area", *(f">{share:.0%} deferred" for share in shares))
    for scorer in cascade.scorers:
        area = "one class only" if scorer.auc is None else _range(scorer.auc, ".2f")
        shown.add_row(escape(scorer.name), area, *(_range(at.quality, ".1%") for at in scorer.worth))
    return shown


def _options(reuse: Reuse) -> Any:
    """What can be done with a deferred prompt, as measured."""
    shown = table("Deferred prompt", ">Further time", ">Quality", ">Against its pair")
    for arm in reuse.arms:
        against = f"{arm.against.value:+.1%} ({arm.against.low:+.1%} to {arm.against.high:+.1%})"
        shown.add_row(escape(arm.title), duration(arm.seconds.value), _range(arm.quality, ".1%"), against)
    return shown


def _range(found: Interval, digits: str) -> str:
    return f"{found.value:{digits}} ({found.low:{digits}} to {found.high:{digits}})"


def chosen(curve: tuple[Operation, ...]) -> list[Operation]:
    """For each share the operation nearest to it, every one once."""
    found = (
        [min(curve, key=lambda operation: abs(operation.share - share)) for share in SHARES] if curve else []
    )
    return list(dict.fromkeys(found))
