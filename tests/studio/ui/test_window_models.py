from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from studio.record.events import Event
from studio.record.journal import Journal
from studio.ui import text
from studio.ui.models.candidates import COLUMNS, ID, CandidateTable
from studio.ui.models.pairs import badness, compared_pairs, gate_pairs
from studio.ui.models.run import Changes, LogLine, RunModel
from studio.ui.theme import Theme
from tests.studio.ui.window_recording import write_run


@pytest.fixture
def run(recorded_run: Path, qapp: object) -> RunModel:
    model = RunModel()
    model.open(Journal.read(recorded_run), recorded_run)
    return model


def test_live_events_and_a_journal_give_the_same_state(recorded_run: Path, run: RunModel) -> None:
    recorded = Journal.read(recorded_run)
    live = RunModel()
    for at in range(0, len(recorded), 5):
        live.feed(recorded[at : at + 5])
    assert live.state == run.state
    assert live.folder == recorded_run


def test_events_that_were_seen_before_change_nothing(recorded_run: Path) -> None:
    recorded = Journal.read(recorded_run)
    live = RunModel()
    live.feed(recorded)
    lines: list[LogLine] = []
    live.logged.connect(lines.extend)
    live.feed(recorded[-20:])
    assert lines == []


def test_the_end_of_a_run_is_not_taken_for_that_of_the_next(recorded_run: Path) -> None:
    recorded = Journal.read(recorded_run)
    live = RunModel()
    ended: list[object] = []
    live.ended.connect(ended.append)
    live.feed([*recorded, *(one.model_copy(update={"run": "next"}) for one in recorded[:3])])
    assert live.id == "next"
    assert live.live
    assert ended == []


def test_a_run_whose_worker_is_gone_is_interrupted(tmp_path: Path) -> None:
    folder = write_run(tmp_path, generations=1, finished=False, pictures=False)
    live = RunModel()
    live.feed(Journal.read(folder))
    assert live.phase == "running"
    live.lost()
    assert live.phase == "interrupted"


def test_the_table_obeys_qts_rules_while_a_run_goes_on(
    recorded_run: Path, qtmodeltester: ModelTester
) -> None:
    live = RunModel()
    table = CandidateTable(live, Theme("dark"))
    qtmodeltester.check(table)
    recorded = Journal.read(recorded_run)
    for at in range(0, len(recorded), 7):
        live.feed(recorded[at : at + 7])
    qtmodeltester.check(table)
    assert table.rowCount() == 29
    assert [table.data(table.index(row, 0), ID) for row in range(3)] == ["c000", "c001", "c002"]


def test_rows_are_inserted_once_a_batch_and_never_reset(qtbot: QtBot, recorded_run: Path) -> None:
    live = RunModel()
    table = CandidateTable(live, Theme("dark"))
    recorded = Journal.read(recorded_run)
    live.feed(recorded[:1])
    inserted: list[int] = []
    resets: list[int] = []
    table.rowsInserted.connect(lambda _, first, last: inserted.append(last - first + 1))
    table.modelReset.connect(lambda: resets.append(1))
    live.feed(recorded[1:])
    assert inserted == [29]
    assert resets == []


def test_memory_is_the_cards_where_a_candidate_ran_on_one(recorded_run: Path) -> None:
    def on_card(event: Event) -> Event:
        if event.type != "candidate.judged" or event.data["id"] != "c001":
            return event
        verdict = event.data["verdict"] | {"memory": 900.0, "card_memory": 3000.0}
        return event.model_copy(update={"data": event.data | {"verdict": verdict}})

    live = RunModel()
    table = CandidateTable(live, Theme("dark"))
    live.feed([on_card(event) for event in Journal.read(recorded_run)])
    column = [one.title for one in COLUMNS].index("Memory")
    rows = {table.data(table.index(row, 0), ID): row for row in range(table.rowCount())}
    assert table.data(table.index(rows["c001"], column)) == text.size(3000 * 2**20)


def test_what_changed_is_said_once_a_batch(recorded_run: Path) -> None:
    live = RunModel()
    seen: list[Changes] = []
    live.changed.connect(seen.append)
    live.feed(Journal.read(recorded_run))
    assert len(seen) == 1
    assert seen[0].everything
    assert seen[0].front


def test_pairs_come_worst_first(run: RunModel) -> None:
    pairs = gate_pairs(run, "c000", run.state.front[0])
    assert len(pairs) == 8
    assert [badness(pair) for pair in pairs] == sorted((badness(pair) for pair in pairs), reverse=True)
    assert all(pair.a.is_file() and pair.b.is_file() for pair in pairs)


def test_pairs_of_the_worker_keep_its_order(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "seed": seed, "a": "compare/a.png", "b": "compare/b.png", "metrics": {"psnr": 20.0}}
        for seed in (5, 3)
    ]
    pairs = compared_pairs({"folder": str(tmp_path), "rows": rows})
    assert [pair.seed for pair in pairs] == [5, 3]
    assert pairs[0].a == tmp_path / "compare" / "a.png"


def test_each_candidate_stands_where_its_verdict_puts_it(run: RunModel) -> None:
    standings = {name: run.standing(name) for name in run.state.candidates}
    assert standings["c000"] == "baseline"
    assert {"front", "passed", "failed", "quarantined"} <= set(standings.values())
