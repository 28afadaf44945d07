"""`verify`, `sign`, `diff` and `package`: what is done with a package once it is there."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from studio.cli import show
from studio.cli.terminal import Terminal


def _text(path: Path | None) -> str:
    return str(path.expanduser()) if path is not None else ""


def _verify(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.trust import verify

    with show.progress(terminal) as job_of:
        result = verify(
            job_of(home),
            package=_text(given.package),
            key=_text(given.key),
            certificates=[_text(one) for one in given.certificate],
        )
    terminal.document(result)
    show.checks(terminal, result)
    if not result["ok"]:
        terminal.fail(str(result["text"]))
        return 1
    return 0


def _sign(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.trust import sign

    with show.progress(terminal) as job_of:
        result = sign(
            job_of(home),
            package=_text(given.package),
            key=_text(given.key),
            certificate=_text(given.certificate),
            chain=[_text(one) for one in given.chain],
            new=_text(given.new_key),
        )
    terminal.document(result)
    terminal.say(show.escape(result["text"]))
    return 0


def _diff(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """0 where they are the same, 1 where not, as `diff` has it."""
    from studio.work.difference import diff

    with show.progress(terminal) as job_of:
        result = diff(job_of(home), _text(given.a), _text(given.b))
    terminal.document(result)
    if not terminal.machine:
        _show_difference(terminal, result)
    return 0 if result["same"] else 1


def _show_difference(terminal: Terminal, result: dict[str, Any]) -> None:
    for side in ("a", "b"):
        one = result[side]
        terminal.say(f"{side}  {show.escape(one['name'])}  {one['id'][:19]}  {show.megabytes(one['bytes'])}")
    if result["same"]:
        terminal.say("They are the same.")
        return
    for part in ("recipe", "numbers", "facts", "variants", "wheels"):
        if result[part]:
            table = show.table(part.capitalize(), "a", "b")
            for change in result[part]:
                table.add_row(*(show.escape(_shown(change[key])) for key in ("name", "a", "b")))
            terminal.console.print(table)
    for part in ("added", "removed", "changed"):
        if result[part]:
            terminal.say(f"Files {part}: {show.escape(', '.join(result[part]))}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _package(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.work.add_variant import add_variant

    with show.progress(terminal) as job_of:
        result = add_variant(
            job_of(home),
            package=_text(given.package),
            engine=given.engine or "",
            device=given.device,
            precision=given.precision,
            other=_text(given.other),
            run=given.run,
            first=given.first,
        )
    terminal.document(result)
    terminal.say(f"Added {show.escape(', '.join(result['added']))}. {show.escape(result['text'])}")
    if not terminal.machine:
        table = show.table("Tried in this order", "Device", "Components", "")
        for row in result["variants"]:
            state = "verified" if row["verified"] else "built, not verified on device"
            table.add_row(row["name"], row["device"], ", ".join(row["components"]), state)
        terminal.console.print(table)
    if result["unsigned"]:
        terminal.say("[yellow]The package was signed; it is another one now, so sign it again.[/]")
    terminal.say(f"id        {result['id']}")
    return 0


COMMANDS: Final[dict[str, Callable[[argparse.Namespace, Path, Terminal], int]]] = {
    "verify": _verify,
    "sign": _sign,
    "diff": _diff,
    "package": _package,
}
