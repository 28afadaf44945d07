"""The cascade in the terminal: what a few thresholds defer, take and give."""

from __future__ import annotations

from typing import Any

from studio.cli.show import duration, escape, table
from studio.cli.terminal import Terminal
from studio.plan.cascade import Cascade
from studio.plan.deferral import Operation

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
    for scorer in cascade.scorers:
        if scorer.auc is not None:
            terminal.say(
                f"  {escape(scorer.name)}: area under the ROC curve {scorer.auc.value:.2f} "
                f"({scorer.auc.low:.2f} to {scorer.auc.high:.2f})"
            )
    shown = table(">Threshold", ">Deferred", ">Per image", f">{cascade.metric.capitalize()}")
    for operation in chosen(cascade.curve):
        shown.add_row(
            f"{operation.threshold:.2f}",
            f"{operation.share:.0%}",
            duration(operation.seconds.value),
            f"{operation.quality.value:.1%} ({operation.quality.low:.1%} to {operation.quality.high:.1%})",
        )
    terminal.console.print(shown)
    for note in cascade.notes:
        terminal.say(f"[dim]{escape(note)}[/]")


def chosen(curve: tuple[Operation, ...]) -> list[Operation]:
    """For each share the operation nearest to it, every one once."""
    found = (
        [min(curve, key=lambda operation: abs(operation.share - share)) for share in SHARES] if curve else []
    )
    return list(dict.fromkeys(found))
