"""The journal of a run: events in SQLite, appended, never changed.

One file, `RUN/journal.sqlite`, in write-ahead mode: readers never wait for
the writer, and a process killed at any moment leaves every event that
`append` has returned.  State is derived by replaying (`record.state`).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from studio.errors import JournalError
from studio.record.data import Data
from studio.record.events import TRANSIENT, VERSION, Event, event

NAME: Final = "journal.sqlite"
SCHEMA: Final = 1
APPLICATION_ID: Final = 0x50535444
"""`PSTD`: says that an SQLite file is one of ours."""

_SYNCED: Final = frozenset({"run.started", "candidate.judged", "certified", "run.finished"})
"""Types that also survive a power cut, with all before them; the others survive any kill."""

_TABLE: Final = """
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY,
    v    INTEGER NOT NULL,
    run  TEXT NOT NULL,
    time REAL NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT
"""


class Journal:
    """Appends and replays the events of one run.

    Safe to use from several threads.  Who may append is not decided here but
    by `record.lock`.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, run: str) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._next = 1
        self.path = path
        self.run = run

    @classmethod
    def create(cls, folder: Path) -> Journal:
        """A new, empty journal; the run's id is the folder's name.

        Raises:
            JournalError: there is one already, or the folder cannot be written.
        """
        path = folder / NAME
        if path.exists():
            raise JournalError(
                f"The folder {folder} already holds a run; resume it or choose another folder."
            )
        try:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute(_TABLE)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(
                f"No journal can be written in {folder} ({error}); check space and rights."
            ) from error
        return cls(connection, path, folder.name)

    @classmethod
    def open(cls, folder: Path) -> Journal:
        """An existing journal, to be continued.

        Raises:
            JournalError: missing, damaged, of another program or of a newer version; the file is kept.
        """
        path = _existing(folder)
        try:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            connection.execute("PRAGMA synchronous = NORMAL")
            _check(connection, path)
            journal = cls(connection, path, folder.name)
            journal._next = 1 + connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        except sqlite3.Error as error:
            raise _damaged(path, error) from error
        return journal

    @staticmethod
    def read(folder: Path, from_seq: int = 1) -> list[Event]:
        """All events from `from_seq` on, without the right to write; also while another process appends.

        Raises:
            JournalError: as `open`.
        """
        path = _existing(folder)
        try:
            connection = _reader(path)
            try:
                _check(connection, path)
                return list(_events(connection, path, from_seq))
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise _damaged(path, error) from error

    def append(self, data: Data) -> Event:
        """Give the next number to an event and commit it; no kill can lose it when this has returned.

        Raises:
            JournalError: the disk is full or the journal can no longer be written.
        """
        with self._lock:
            made = event(data, run=self.run, seq=self._next)
            if made.type in TRANSIENT:
                raise ValueError(f"{made.type} is not journalled")
            level = "FULL" if made.type in _SYNCED else "NORMAL"
            try:
                self._connection.execute(f"PRAGMA synchronous = {level}")
                self._connection.execute(
                    "INSERT INTO events (seq, v, run, time, type, data) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        made.seq,
                        made.v,
                        made.run,
                        made.time,
                        made.type,
                        json.dumps(made.data, allow_nan=False),
                    ),
                )
            except sqlite3.Error as error:
                raise JournalError(
                    f"The journal {self.path} cannot be written ({error}); "
                    "free some space, then resume the run."
                ) from error
            self._next += 1
            return made

    def replay(self, from_seq: int = 1) -> Iterator[Event]:
        """The events from `from_seq` on, in order."""
        with self._lock:
            found = list(_events(self._connection, self.path, from_seq))
        return iter(found)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _existing(folder: Path) -> Path:
    path = folder / NAME
    if not path.is_file():
        raise JournalError(f"There is no run in {folder}; choose a folder that holds {NAME}.")
    return path


def _reader(path: Path) -> sqlite3.Connection:
    address = "file:" + quote(str(path.resolve()))
    connection = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=10)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.OperationalError:
        # A folder that cannot be written has no room for the shared memory of
        # the write-ahead log; without a log the file can be read as it stands.
        connection.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size > 0:
            raise
        connection = sqlite3.connect(f"{address}?immutable=1", uri=True)
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise JournalError(f"{path} is not a journal of Pareto Studio; choose another run.")
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if schema > SCHEMA:
        raise JournalError(
            f"The journal {path} was written by a newer Pareto Studio "
            f"(version {schema}, this one reads {SCHEMA}); update the program to open this run."
        )


def _events(connection: sqlite3.Connection, path: Path, from_seq: int) -> Iterator[Event]:
    expected = from_seq
    rows = connection.execute(
        "SELECT seq, v, run, time, type, data FROM events WHERE seq >= ? ORDER BY seq", (from_seq,)
    )
    for seq, version, run, moment, kind, data in rows:
        if version > VERSION:
            raise JournalError(
                f"The journal {path} holds events of a newer Pareto Studio; "
                "update the program to open this run."
            )
        if seq != expected:
            raise _damaged(path, f"event {expected} is missing")
        try:
            yield Event(v=version, seq=seq, run=run, time=moment, type=kind, data=json.loads(data))
        except ValueError as error:
            raise _damaged(path, f"event {seq} cannot be read") from error
        expected += 1


def _damaged(path: Path, why: object) -> JournalError:
    return JournalError(
        f"The journal {path} is damaged ({why}); it was left as it is, "
        "restore it from a copy or start a new run."
    )
