"""The runs under a home folder: which there are, and how far each has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from studio.errors import JournalError, RunError
from studio.record.journal import NAME, Journal
from studio.record.lock import is_locked
from studio.record.state import Phase, RunState

Standing = Literal[Phase, "interrupted", "damaged"]
"""`interrupted`: not finished, and no process is writing it; it can be resumed."""


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One line of the list of runs."""

    id: str
    folder: str
    model: str
    state: Standing
    started: float
    candidates: int
    front: int
    winner: str | None
    note: str = ""
    """Why the run cannot be read, where `state` is `damaged`."""

    def json(self) -> dict[str, Any]:
        return asdict(self)


def standing(folder: Path, state: RunState) -> Standing:
    """The phase of a run, told apart from a run whose writer has died."""
    phase = state.phase
    return "interrupted" if phase in ("running", "paused") and not is_locked(folder) else phase


def entry(folder: Path) -> RunEntry:
    """Describe one run; a damaged one is described as such, never hidden."""
    try:
        state = RunState.replay(Journal.read(folder))
    except JournalError as error:
        return RunEntry(
            folder.name, str(folder), "", "damaged", folder.stat().st_mtime, 0, 0, None, str(error)
        )
    return RunEntry(
        id=folder.name,
        folder=str(folder),
        model="" if state.model is None else state.model.name,
        state=standing(folder, state),
        started=state.started_at,
        candidates=len(state.candidates),
        front=len(state.front),
        winner=state.winner,
    )


def runs(home: Path) -> list[RunEntry]:
    """All runs below `home / "runs"`, newest first."""
    base = home / "runs"
    if not base.is_dir():
        return []
    found = [entry(folder) for folder in base.iterdir() if (folder / NAME).is_file()]
    return sorted(found, key=lambda run: run.started, reverse=True)


def find_run(home: Path, run: str) -> Path:
    """The folder of a run given by id, by the beginning of its id, by its path or as `last`.

    Raises:
        RunError: there is none, or more than one.
    """
    given = Path(run).expanduser()
    if (given / NAME).is_file():
        return given.resolve()
    base = home / "runs"
    if run == "last":
        newest = runs(home)
        if newest:
            return Path(newest[0].folder)
        raise RunError(f"There is no run in {base} yet; start one with: pareto-studio optimize tiny-scenes.")
    names = sorted(folder.name for folder in base.iterdir()) if base.is_dir() else []
    matches = [name for name in names if name == run] or [
        name for name in names if run and name.startswith(run)
    ]
    if len(matches) == 1 and (base / matches[0] / NAME).is_file():
        return base / matches[0]
    if len(matches) > 1:
        raise RunError(f"More than one run begins with {run}: {', '.join(matches)}; give more of its name.")
    raise RunError(f"There is no run {run}, neither as a folder nor in {base}; see: pareto-studio runs.")
