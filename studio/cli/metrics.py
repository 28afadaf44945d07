"""The metrics pack and the hub's token at the command line."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from studio.cli import show
from studio.cli.metrics_arguments import NAMES
from studio.cli.terminal import Terminal
from studio.errors import RunError


def metrics(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Do the command; the exit status.

    Raises:
        RunError: a word is missing or too many, or nobody can agree to a download.
        MetricsError: as `studio.work.metrics`.
    """
    from studio.work import metrics as work

    if given.what == "list":
        if given.name:
            raise RunError("`metrics list` takes no name; say `metrics get NAME` or `metrics use NAME PATH`.")
        result = work.metrics(show.job(home, terminal))
        terminal.document(result)
        _table(terminal, result["networks"])
        return 0
    if given.name is None or (given.what == "use") != (given.path is not None):
        raise RunError(f"Say `metrics get NAME` or `metrics use NAME PATH`; names are {', '.join(NAMES)}.")
    if given.what == "use":
        fact = work.metrics_use(show.job(home, terminal), given.name, str(given.path))
    else:
        known = {one["name"]: one for one in work.metrics(show.job(home, terminal))["networks"]}
        if not known[given.name]["present"] and not _agreed(given, terminal, known[given.name]):
            terminal.say("Nothing was downloaded.")
            return 1
        with show.progress(terminal) as job_of:
            fact = work.metrics_get(job_of(home), given.name)
    terminal.document(fact)
    terminal.say(f"[green]✓[/] {show.escape(fact['title'])}  {show.escape(fact['text'])}")
    terminal.say(f"  {show.megabytes(fact['size'])}, SHA-256 {fact['sha256']}")
    return 0


def hub_token(_given: argparse.Namespace, _home: Path, terminal: Terminal) -> int:
    """Keep the token for gated hub models in the system keyring; it is not shown."""
    from engines.models import hub_token as token

    typed = (
        getpass.getpass("Token of the hub (empty: forget it): ")
        if sys.stdin.isatty()
        else sys.stdin.readline()
    )
    kept = token.keep(typed)
    terminal.document({"kept": kept})
    terminal.say(
        "The token is in the system keyring." if kept else "There is no token in the system keyring."
    )
    return 0


def _agreed(given: argparse.Namespace, terminal: Terminal, network: dict[str, Any]) -> bool:
    words = (
        f"{network['title']}: {show.megabytes(network['size'])} from {network['source']},"
        f" licence {network['licence']}, SHA-256 {network['sha256']}"
    )
    if given.yes:
        terminal.say(show.escape(words))
        return True
    if terminal.machine or not sys.stdin.isatty():
        raise RunError(f"A download needs consent: {words}. Give --yes to agree to it.")
    terminal.say(show.escape(words))
    return input("Download it? [y/N] ").strip().lower() in ("y", "yes")


def _table(terminal: Terminal, networks: list[dict[str, Any]]) -> None:
    if terminal.machine:
        return
    for one in networks:
        mark = "[green]✓[/]" if one["present"] else "[dim]○[/]"
        terminal.say(f"{mark} [b]{one['name']}[/]  {show.escape(one['title'])}")
        terminal.say(f"  for {show.escape(one['gives'])}")
        terminal.say(f"  {show.megabytes(one['size'])}, {one['licence']}, SHA-256 {one['sha256']}")
        terminal.say(f"  {show.escape(one['text'])}")
    terminal.say("Without them: HaarPSI, which measures difference and not worth, and component parity.")
