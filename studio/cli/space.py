"""`pareto-studio cache`: what the cache holds, and emptying it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studio.cli import show
from studio.cli.terminal import Terminal


def cache(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Do the command; 0 when it did what it says.  Raises `EngineError` as `studio.work.space`."""
    from studio.work import space

    job = show.job(home, terminal)
    result = space.empty(job, given.empty) if given.empty else space.space(job)
    terminal.document(result)
    _show(terminal, result)
    return 0


def _show(terminal: Terminal, result: dict[str, Any]) -> None:
    if terminal.machine:
        return
    if "freed" in result:
        terminal.say(f"[b]{show.megabytes(result['freed'])}[/] were freed.")
    shown = show.table("Name", "What", ">Size", ">Files", "If it is emptied")
    for one in result["kinds"]:
        size = show.megabytes(one["bytes"])
        shown.add_row(one["name"], one["title"], size, f"{one['files']:,}", one["loses"])
    terminal.console.print(shown)
    terminal.say(f"{show.escape(result['folder'])}; {show.megabytes(result['free'])} are free there.")
    terminal.say("`cache --empty NAME` empties one, `--empty all` everything; no run or package is in it.")
