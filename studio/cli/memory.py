"""`pareto-studio memory`: what earlier runs learned, and forgetting it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from studio.cli import show
from studio.cli.terminal import Terminal


def memory(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Do the command; 0 when it did what it says.  Raises as `studio.work.memory.forget`."""
    from studio.work import memory as kept

    job = show.job(home, terminal)
    result = kept.forget(job, given.forget) if given.forget else kept.memory(job)
    terminal.document(result)
    _show(terminal, result)
    return 0


def _show(terminal: Terminal, result: dict[str, Any]) -> None:
    if terminal.machine:
        return
    for note in result["notes"]:
        terminal.say(show.escape(note))
    if "forgotten" in result:
        terminal.say(f"[b]{result['forgotten']}[/] verdicts were forgotten.")
    if not result["places"]:
        terminal.say("No run has learned anything yet that is kept.")
        return
    shown = show.table("Name", "Device", "Model", ">Passed", ">Failed", ">Best", "Newest")
    for one in result["places"]:
        best = "" if one["speedup"] is None else f"{one['speedup']:.1f}x"
        shown.add_row(
            one["id"],
            f"{one['device']}: {show.escape(one['processor'] or 'not noted')}",
            f"{one['family']}: {show.escape(one['architecture'] or 'not noted')}",
            str(one["passed"]),
            str(one["failed"]),
            best,
            time.strftime("%Y-%m-%d", time.localtime(one["learned"])),
        )
    terminal.console.print(shown)
    terminal.say(
        f"It is in {show.escape(result['file'])}, and only suggests: a run measures everything anew."
    )
    terminal.say("`memory --forget NAME` forgets one, `--forget all` everything.")
