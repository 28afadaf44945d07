"""The whole main job in the terminal: evolve, compare, cascade, export, verify, report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.cli import show
from studio.cli.follow import follow
from studio.cli.terminal import Terminal
from studio.errors import CascadeError, RunError
from studio.record.default_pair import light_and_heavy
from studio.record.journal import Journal
from studio.record.library import find_run
from studio.record.state import RunState
from studio.work.failure import explain
from studio.work.job import Job

PICTURES = 16
SEARCH = 8 * 60.0
"""Seconds for the search where the user gives none."""


def main_job(
    terminal: Terminal, home: Path, wanted: Path, budget: float | None, *, without_walls: bool = False
) -> int:
    """Do it all on the bundled model and leave package, report and images in a folder; the exit status.

    A step that fails is said and does not keep the later ones from being tried.
    """
    from studio.work.runs import ask_first, start

    ask_first(without_walls=without_walls)
    out = unused_folder(wanted)
    terminal.say("[b]Pareto Studio[/], without a window: the main job on the bundled model.")
    terminal.say(f"Results will be in {show.escape(out)}\n")
    terminal.say("[b]1  Evolve[/]")
    status, run = follow(
        terminal,
        home,
        lambda job: start(job, model="tiny-scenes", generations=4, population=7, budget=budget or SEARCH),
    )
    if status or run.get("winner") is None:
        if not status:
            terminal.fail("No candidate passed, so there is nothing to export; the report says why.")
        _report(terminal, home, run, out)
        return status or 1
    failures: list[str] = []
    document: dict[str, Any] = {"run": run, "out": str(out)}

    def step(title: str, name: str, action: Callable[[], dict[str, Any]]) -> None:
        terminal.say(f"\n[b]{title}[/]")
        try:
            document[name] = action()
        except Exception as error:  # noqa: BLE001 - the other steps are still worth doing
            failure = explain(error)
            failures.append(failure.text)
            terminal.fail(failure.text, failure.detail, expected=failure.expected)

    step("2  Compare", "compare", lambda: _compare(terminal, home, run, out))
    step("3  Cascade", "cascade", lambda: _cascade(terminal, home, run))
    step("4  Export and verify", "export", lambda: _export(terminal, home, run, out))
    step("5  Report", "report", lambda: _report(terminal, home, run, out))
    document["failures"] = failures
    terminal.document(document)
    if failures:
        terminal.say(f"\n[b]{len(failures)} of 4 steps failed[/]; what was made is in {show.escape(out)}")
    else:
        terminal.say(f"\n[b]Done.[/] Package, report and images: {show.escape(out)}")
    terminal.say(f"The same run in the window, on a machine with a display: pareto-studio, run {run['run']}")
    return 1 if failures else 0


def unused_folder(wanted: Path) -> Path:
    """`wanted`, or with a number where it holds something already; created.

    Raises:
        RunError: it cannot be created.
    """
    for number in range(1, 1000):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not any(folder.iterdir()):
                return folder.resolve()
        except OSError as error:
            raise RunError(
                f"The folder {folder} cannot be used ({error.strerror or error}); "
                "give another one with --out."
            ) from error
    raise RunError(
        f"There are already 999 folders like {wanted}; remove some or give another one with --out."
    )


def _compare(terminal: Terminal, home: Path, run: dict[str, Any], out: Path) -> dict[str, Any]:
    from studio.work.compare import compare

    with show.progress(terminal) as job_of:
        result: dict[str, Any] = compare(
            job_of(home), run=run["run"], a="baseline", b="winner", count=PICTURES
        )
    folder = Path(result["folder"])
    images = out / "images"
    images.mkdir(exist_ok=True)
    for number, row in enumerate(result["rows"]):
        for side in ("a", "b"):
            shutil.copyfile(folder / row[side], images / f"{number:02d}-{result[side]}.png")
    _sheet([[folder / row["a"], folder / row["b"]] for row in result["rows"]], images / "contact-sheet.png")
    show.comparison(terminal, result)
    return result


def _sheet(rows: list[list[Path]], path: Path, zoom: int = 192) -> None:
    """Baseline above candidate, eight pairs a line."""
    from PIL import Image

    across = 8
    lines = (len(rows) + across - 1) // across
    gap = 8
    sheet = Image.new(
        "RGB", (across * (zoom + gap) + gap, lines * (2 * zoom + 3 * gap) + gap), (119, 119, 119)
    )
    for number, pair in enumerate(rows):
        left = gap + (number % across) * (zoom + gap)
        top = gap + (number // across) * (2 * zoom + 3 * gap)
        for place, file in enumerate(pair):
            with Image.open(file) as picture:
                shown = picture.convert("RGB").resize((zoom, zoom), Image.Resampling.LANCZOS)
            sheet.paste(shown, (left, top + place * (zoom + gap)))
    sheet.save(path)


def _cascade(terminal: Terminal, home: Path, run: dict[str, Any]) -> dict[str, Any]:
    from studio.cli.cascade import show_cascade
    from studio.work.discriminator import discriminator

    state = RunState.replay(Journal.read(find_run(home, run["run"])))
    light, heavy = light_and_heavy(state)
    try:
        with show.progress(terminal) as job_of:
            result: dict[str, Any] = discriminator(job_of(home), run=run["run"], light=light, heavy=heavy)
    except CascadeError as error:
        # A light model that is as good as the heavy one is a finding, not a failure.
        terminal.say(f"No cascade of {light} and {heavy}: {show.escape(error)}")
        return {"light": light, "heavy": heavy, "note": str(error)}
    show_cascade(terminal, result)
    return result


def _export(terminal: Terminal, home: Path, run: dict[str, Any], out: Path) -> dict[str, Any]:
    from studio.work.export import export
    from studio.work.trust import verify

    with show.progress(terminal) as job_of:
        result = export(job_of(home), run=run["run"], candidate=run["winner"], out=str(out / "package"))
    show.package(terminal, result)
    with show.progress(terminal) as job_of:
        checked = verify(job_of(home), package=result["package"])
    show.checks(terminal, checked)
    return {**result, "verified": checked}


def _report(terminal: Terminal, home: Path, run: dict[str, Any], out: Path) -> dict[str, Any]:
    from studio.work.report import report

    result = report(Job(home), run["run"], str(out / "report.html"))
    terminal.say(f"The report is in {show.escape(result['path'])}")
    return result
