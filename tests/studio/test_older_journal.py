"""A run that the first version of the Studio wrote is listed, read, shown and continued by today's.

`tests/data/journals/2026-11-20.sqlite.gz` is the journal of the first recorded run, in the file that the
sources of that day wrote: events without what came later (machines, walls, talk, counts).
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from studio.record import events, library
from studio.record.journal import NAME, Journal
from studio.record.state import RunState
from studio.ui.models.run import LogLine, RunModel

RECORDED = Path(__file__).resolve().parents[1] / "data" / "journals" / "2026-11-20.sqlite.gz"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "recorded-run"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(gzip.decompress(RECORDED.read_bytes()))
    return folder


def test_every_event_of_it_is_read_and_makes_the_same_run(run: Path) -> None:
    found = Journal.read(run)
    assert len(found) == 487
    assert all(one.payload() for one in found)
    state = RunState.replay(found)
    assert (state.phase, state.winner, len(state.candidates), len(state.certified)) == ("done", "c016", 29, 5)
    assert set(state.front) == {"c023", "c014", "c024", "c012", "c007", "c021"}
    assert library.entry(run).state == "done"


def test_it_can_be_written_on(run: Path) -> None:
    with Journal.open(run) as journal:
        made = journal.append(events.Notice(level="info", text="opened again"))
    assert made.seq == 488
    assert Journal.read(run)[-1].payload() == events.Notice(level="info", text="opened again")


def test_the_window_shows_all_of_it(run: Path) -> None:
    model, lines = RunModel(), list[LogLine]()
    model.logged.connect(lines.extend)
    model.open(Journal.read(run), run)
    assert not [line.text for line in lines if "could not be read" in line.text]
    assert {model.standing(name) for name in model.state.candidates} >= {"baseline", "front", "passed"}
