"""What worked where: verdicts of earlier runs, kept per device and kind of model.

A small SQLite file in the data folder.  It only ever suggests: everything
that a planner takes from it is measured again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.candidate import Recipe, Step
from agent.evolution.front import Judged

_VERSION: Final = 1
_TABLE: Final = """
create table if not exists verdicts (
    device text not null, family text not null, model text not null, recipe text not null,
    metric text not null, state text not null, speedup real, loss real, psnr real,
    reason text not null, learned real not null,
    primary key (device, family, model, recipe, metric)
)
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """One recipe as an earlier run found it."""

    recipe: Recipe
    model: str
    """Digest of the model's weights."""
    metric: str
    state: str
    speedup: float | None
    loss: float | None
    psnr: float | None
    reason: str = ""


def _to_text(recipe: Recipe) -> str:
    return json.dumps([[step.technique, dict(sorted(step.parameters.items()))] for step in recipe])


def _from_text(text: str) -> Recipe:
    return tuple(Step(str(name), dict(parameters)) for name, parameters in json.loads(text))


class Memory:
    """Opened by path; a file that cannot be read is set aside under another name, never repaired in place.

    `notes` are sentences for the user about what was set aside.  Nothing here
    raises for a bad or read-only file: a run without memory is still a run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                self._note(error)
            else:
                self._set_aside(error)
        except OSError as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        self.notes.append(
            f"What earlier runs learned ({self.path}) cannot be used ({error}); "
            "this run goes on without it. Check that the folder can be written."
        )

    def _set_aside(self, error: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{int(time.time())}")
        try:
            self.path.replace(aside)
            for extra in ("-wal", "-shm"):
                self.path.with_name(self.path.name + extra).unlink(missing_ok=True)
            self._prepare()
        except (OSError, sqlite3.Error) as second:
            self._note(second)
            return
        self.notes.append(
            f"What earlier runs learned was damaged ({error}); it was set aside as {aside.name} "
            "and a new file begun."
        )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=5)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def _prepare(self) -> None:
        with self._open() as connection:
            (version,) = connection.execute("pragma user_version").fetchone()
            if version > _VERSION:
                raise sqlite3.DatabaseError(f"it was written by a newer version ({version})")
            connection.execute(_TABLE)
            connection.execute("select device, recipe, speedup, loss, psnr from verdicts limit 1").fetchall()
            connection.execute(f"pragma user_version = {_VERSION}")

    def learn(self, device: str, family: str, model: str, metric: str, judged: Sequence[Judged]) -> None:
        """Keep what a run found; a later verdict on the same recipe replaces the earlier one."""
        rows = []
        for one in judged:
            verdict, recipe = one.verdict, one.candidate.proposal.recipe
            if one.is_baseline or not recipe:
                continue
            found = (verdict.speedup, verdict.loss, verdict.metrics.get("psnr"))
            values = (None if one_value is None else one_value.value for one_value in found)
            place = (device, family, model, _to_text(recipe), metric)
            rows.append((*place, verdict.state, *values, verdict.reason, time.time()))
        try:
            with self._open() as connection:
                marks = ", ".join("?" * 11)
                connection.executemany(f"insert or replace into verdicts values ({marks})", rows)  # noqa: S608
        except (sqlite3.Error, OSError) as error:
            self._note(error)

    def recall(self, device: str, family: str, limit: int = 200) -> list[Remembered]:
        """What is known for a device and a kind of model, fastest first; empty where nothing can be read."""
        try:
            with self._open() as connection:
                rows = connection.execute(
                    "select recipe, model, metric, state, speedup, loss, psnr, reason from verdicts "
                    "where device = ? and family = ? order by speedup is null, speedup desc limit ?",
                    (device, family, limit),
                ).fetchall()
            return [Remembered(_from_text(text), *rest) for text, *rest in rows]
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._note(error)
            return []
