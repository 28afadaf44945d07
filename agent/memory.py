"""What worked where: verdicts of earlier runs, kept per processor or card and per architecture of the model.

A small SQLite file in the data folder.  It only ever suggests: everything
that a planner takes from it is measured again.  What another processor or
another architecture of the same family found is offered as well, and says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.candidate import Recipe, Step
from agent.errors import MemoryFileError
from agent.evolution.front import Judged

if TYPE_CHECKING:
    from engines.models.card import Card

_VERSION: Final = 2
_TABLE: Final = """
create table if not exists verdicts (
    device text not null, processor text not null, family text not null, architecture text not null,
    model text not null, recipe text not null, metric text not null, state text not null, stage text not null,
    speedup real, loss real, psnr real, reason text not null, learned real not null,
    primary key (device, processor, family, architecture, model, recipe, metric)
)
"""
_FROM_FIRST: Final = """
insert into verdicts select device, '', family, '', model, recipe, metric, state, '', speedup, loss, psnr,
    reason, learned from verdicts_1
"""
"""The first version knew kinds of device only."""
_KEPT: Final = "device = ? and processor = ? and family = ? and architecture = ?"


@dataclass(frozen=True, slots=True)
class Place:
    """Where verdicts hold."""

    device: str
    processor: str
    """The processor or the card, as it calls itself; empty where an old file did not say."""
    family: str
    architecture: str
    """The denoiser's class and size; empty where an old file did not say."""

    @property
    def id(self) -> str:
        """By which a user names it."""
        said = json.dumps([self.device, self.processor, self.family, self.architecture])
        return hashlib.sha256(said.encode()).hexdigest()[:8]

    def elsewhere(self, other: Place) -> str:
        """How another place differs from this one, as a remark; empty where it does not."""
        if other.processor != self.processor:
            return f"from another processor: {other.processor or 'not noted'}"
        if other.architecture != self.architecture:
            return f"from another architecture: {other.architecture or 'not noted'}"
        return ""


def place_of(card: Card, device: str) -> Place:
    """Where what a run learns about a model on a device holds."""
    from engines.devices import device_name

    parts = (card.component(name) for name in ("transformer", "unet", "prior", "upscaler"))
    found = next((part for part in parts if part is not None), None)
    size = "" if found is None else f"{found.kind}, {found.parameters / 1e6:.3g} M parameters"
    return Place(device, device_name(device), card.family, size)


@dataclass(frozen=True, slots=True)
class Holding:
    """What is kept of one place."""

    place: Place
    passed: int
    failed: int
    speedup: float | None
    """The largest."""
    learned: float
    """When the newest was learned, in seconds since 1970."""


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
    stage: str = ""
    """Where it failed; empty where it did not, or an old file did not say."""
    elsewhere: str = ""
    """That it was found on another processor, or another architecture, and which; empty: here."""


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
            connection.execute("begin immediate")
            (version,) = connection.execute("pragma user_version").fetchone()
            if version > _VERSION:
                raise sqlite3.DatabaseError(f"it was written by a newer version ({version})")
            if version == 1:
                connection.execute("alter table verdicts rename to verdicts_1")
            connection.execute(_TABLE)
            if version == 1:
                connection.execute(_FROM_FIRST)
                connection.execute("drop table verdicts_1")
            connection.execute("select processor, recipe, speedup, psnr from verdicts limit 1").fetchall()
            connection.execute(f"pragma user_version = {_VERSION}")

    def learn(self, place: Place, model: str, metric: str, judged: Sequence[Judged]) -> None:
        """Keep what a run found; a later verdict on the same recipe replaces the earlier one."""
        rows = []
        for one in judged:
            verdict, recipe = one.verdict, one.candidate.proposal.recipe
            if one.is_baseline or not recipe:
                continue
            found = (verdict.speedup, verdict.loss, verdict.metrics.get("psnr"))
            values = (None if one_value is None else one_value.value for one_value in found)
            where = (*_columns(place), model, _to_text(recipe), metric)
            stage = "" if verdict.state == "passed" else verdict.stage
            rows.append((*where, verdict.state, stage, *values, verdict.reason, time.time()))
        try:
            with self._open() as connection:
                marks = ", ".join("?" * 14)
                connection.executemany(f"insert or replace into verdicts values ({marks})", rows)  # noqa: S608
        except (sqlite3.Error, OSError) as error:
            self._note(error)

    def recall(self, place: Place, limit: int = 200, failed: int = 40) -> list[Remembered]:
        """What is known for a place: first what was found there; empty where it cannot be read.

        At most `limit` that passed, fastest first, and behind them at most
        `failed` that did not, newest first.
        """
        return [
            *self._recalled(place, "state = 'passed'", "speedup is null, speedup desc", limit),
            *self._recalled(place, "state != 'passed'", "learned desc", failed),
        ]

    def _recalled(self, place: Place, which: str, order: str, limit: int) -> list[Remembered]:
        query = (
            "select processor, architecture, "  # noqa: S608 - no value stands in the text
            "recipe, model, metric, state, speedup, loss, psnr, reason, stage "
            f"from verdicts where device = ? and family = ? and {which} "
            f"order by processor = ? desc, architecture = ? desc, {order} limit ?"
        )
        asked = (place.device, place.family, place.processor, place.architecture, limit)
        try:
            with self._open() as connection:
                rows = connection.execute(query, asked).fetchall()
            return [
                replace(
                    Remembered(_from_text(text), *rest),
                    elsewhere=place.elsewhere(Place(place.device, processor, place.family, architecture)),
                )
                for processor, architecture, text, *rest in rows
            ]
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._note(error)
            return []

    def holdings(self) -> list[Holding]:
        """What is kept, the newest place first; empty where nothing can be read."""
        query = (
            "select device, processor, family, architecture, sum(state = 'passed'), sum(state != 'passed'), "
            "max(speedup), max(learned) from verdicts group by 1, 2, 3, 4 order by 8 desc"
        )
        try:
            with self._open() as connection:
                rows = connection.execute(query).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._note(error)
            return []
        return [Holding(Place(*row[:4]), *row[4:]) for row in rows]

    def forget(self, place: Place) -> int:
        """Forget everything of a place; how many verdicts that were.

        Raises:
            MemoryFileError: the file cannot be written.
        """
        try:
            with self._open() as connection:
                return connection.execute(f"delete from verdicts where {_KEPT}", _columns(place)).rowcount  # noqa: S608
        except (sqlite3.Error, OSError) as error:
            raise MemoryFileError(
                f"What earlier runs learned ({self.path}) cannot be changed ({error}); "
                "check that the file can be written."
            ) from error


def _columns(place: Place) -> tuple[str, str, str, str]:
    return (place.device, place.processor, place.family, place.architecture)
