"""The journal, the state derived from it, the lock, the settings and the list of runs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from studio.errors import JournalError, ProtocolError, RunError, RunLocked
from studio.record import events, library, protocol, settings
from studio.record.data import Interval
from studio.record.described import Metric, ModelCard
from studio.record.folders import new_run_folder
from studio.record.journal import NAME, Journal
from studio.record.lock import RunLock, is_locked
from studio.record.state import RunState
from studio.record.verdict import Verdict

CARD = ModelCard(
    name="tiny",
    source="tiny",
    family="sd",
    task="text-to-image",
    size=64,
    steps=30,
    guidance=3.0,
    licence="Apache-2.0",
    components=(),
    hash="abc",
    memory=1,
)


def started(folder: Path) -> events.RunStarted:
    return events.RunStarted(
        model=CARD,
        target="cpu",
        workload={},
        metric=Metric(name="adherence", title="Adherence loss", unit="points"),
        preset="quick",
        generations=1,
        population=2,
        budget=None,
        seed=0,
        reference=(2.0, 0.5),
        folder=str(folder),
    )


def proposed(name: str) -> events.CandidateProposed:
    return events.CandidateProposed(
        id=name,
        generation=1,
        origin="seed",
        parents=(),
        recipe=(),
        title=name,
        why="",
        script=f"candidates/{name}.py",
    )


def judged(name: str) -> events.CandidateJudged:
    return events.CandidateJudged(
        id=name,
        verdict=Verdict(
            state="passed",
            stage="gate",
            latency=Interval(value=1, low=0.9, high=1.1),
            throughput={1: 2.0, 4: 3.0},
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "runs" / "r1"
    made.mkdir(parents=True)
    return made


def test_what_was_appended_is_replayed_without_gaps_in_the_same_shape(folder: Path) -> None:
    with Journal.create(folder) as journal:
        made = [journal.append(data) for data in (started(folder), proposed("c000"), judged("c000"))]
        assert [item.seq for item in made] == [1, 2, 3]
        assert list(journal.replay()) == made
        assert list(journal.replay(3)) == made[2:]
    with Journal.open(folder) as again:
        assert again.append(proposed("c001")).seq == 4
    assert [item.payload() for item in Journal.read(folder)][2] == judged("c000")


def test_threads_appending_together_leave_no_gap(folder: Path) -> None:
    with Journal.create(folder) as journal:
        notice = events.Notice(level="info", text="x")
        threads = [
            threading.Thread(target=lambda: [journal.append(notice) for _ in range(20)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [item.seq for item in Journal.read(folder)] == list(range(1, 81))


def test_transient_events_are_refused(folder: Path) -> None:
    with Journal.create(folder) as journal, pytest.raises(ValueError, match="not journalled"):
        journal.append(events.JobDone(job=1, result={}))


@pytest.mark.parametrize("damage", ["text", "newer", "newer event", "gap", "cut", "foreign", "json"])
def test_a_journal_that_cannot_be_trusted_gives_one_sentence_and_is_kept(folder: Path, damage: str) -> None:
    with Journal.create(folder) as journal:
        for _ in range(60):
            journal.append(started(folder))
    path = folder / NAME
    if damage == "text":
        path.write_text("not a database at all, but long enough to look like one" * 50)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20000])
    else:
        with sqlite3.connect(path) as connection:
            connection.execute(
                {
                    "newer": "PRAGMA user_version = 99",
                    "newer event": "UPDATE events SET v = 99 WHERE seq = 2",
                    "gap": "DELETE FROM events WHERE seq = 2",
                    "foreign": "PRAGMA application_id = 7",
                    "json": "UPDATE events SET data = '{' WHERE seq = 2",
                }[damage]
            )
        connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        RunState.replay(Journal.read(folder))
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert path.read_bytes() == before
    assert library.entry(folder).state == "damaged"
    assert library.entry(folder).note == text


def test_a_second_journal_in_the_same_folder_is_refused(folder: Path) -> None:
    Journal.create(folder).close()
    with pytest.raises(JournalError, match="already holds a run"):
        Journal.create(folder)


def test_a_journal_in_a_folder_that_cannot_be_written_is_still_read(folder: Path) -> None:
    with Journal.create(folder) as journal:
        journal.append(started(folder))
    folder.chmod(0o555)
    try:
        assert len(Journal.read(folder)) == 1
    finally:
        folder.chmod(0o755)


def test_a_reader_sees_events_while_the_writer_is_open(folder: Path) -> None:
    with Journal.create(folder) as journal:
        journal.append(started(folder))
        assert len(Journal.read(folder)) == 1
        journal.append(proposed("c000"))
        assert [item.type for item in Journal.read(folder, from_seq=2)] == ["candidate.proposed"]


def test_a_killed_writer_loses_nothing_that_append_returned(folder: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from studio.record.journal import Journal\n"
        "from studio.record import events\n"
        "journal = Journal.create(pathlib.Path(sys.argv[1]))\n"
        "while True:\n"
        "    print(journal.append(events.Notice(level='info', text='x')).seq, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        seen = int(line)
        if seen == 25:
            process.send_signal(signal.SIGKILL)
            break
    seen = max([seen, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
    process.wait()
    process.stdout.close()
    assert len(Journal.read(folder)) in (seen, seen + 1)


def test_the_state_is_what_the_events_say(folder: Path) -> None:
    with Journal.create(folder) as journal:
        for data in (
            started(folder),
            events.GenerationStarted(generation=1, planned=2),
            proposed("c000"),
            events.CandidateStage(id="c000", stage="gate", message="measuring"),
            judged("c000"),
            proposed("c001"),
            events.FrontUpdated(generation=1, front=("c000",), knee="c000", hypervolume=0.4),
            events.RunPaused(),
        ):
            journal.append(data)
        state = RunState.replay(journal.replay())
        assert state.phase == "paused"
        assert state.candidate("winner").id == "c000"
        assert state.candidate("baseline").passed
        assert state.candidates["c001"].verdict is None
        assert state.hypervolumes == [(1, 0.4)]
        for last in (events.RunResumed(), events.RunFinished(reason="done", text="", winner="c001")):
            state.apply(journal.append(last))
        assert (state.phase, state.winner, state.seq) == ("done", "c001", 10)
        with pytest.raises(RunError, match="no candidate c9"):
            state.candidate("c9")
    assert library.standing(folder, state) == "done"


def test_a_run_whose_writer_is_gone_is_called_interrupted(folder: Path) -> None:
    with Journal.create(folder) as journal:
        journal.append(started(folder))
        assert library.entry(folder).state == "interrupted"
        with RunLock(folder):
            assert library.entry(folder).state == "running"


def test_the_lock_refuses_a_second_writer_and_is_free_after_a_kill(folder: Path) -> None:
    with RunLock(folder):
        with pytest.raises(RunLocked, match=str(os.getpid())):
            RunLock(folder, wait=0)
        probe = (
            "from pathlib import Path; from studio.record.lock import is_locked; "
            f"print(is_locked(Path({str(folder)!r})))"
        )
        seen = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
        assert seen.stdout == "True\n", "the refusal gave the lock away"
    code = (
        "import sys, pathlib, time\n"
        "from studio.record.lock import RunLock\n"
        "lock = RunLock(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert is_locked(folder)
    with pytest.raises(RunLocked, match=str(process.pid)):
        RunLock(folder, wait=0)
    process.kill()
    process.wait()
    process.stdout.close()
    RunLock(folder, wait=0).release()
    assert not is_locked(folder)


def test_runs_are_found_by_name_beginning_path_and_last(tmp_path: Path) -> None:
    first = new_run_folder(tmp_path, "Tiny Scenes")
    second = new_run_folder(tmp_path, "Tiny Scenes")
    assert first != second
    for number, folder in enumerate((first, second)):
        with Journal.create(folder) as journal:
            journal.append(started(folder).model_copy(update={"seed": number}))
    assert library.find_run(tmp_path, first.name) == first
    assert library.find_run(tmp_path, str(second)) == second.resolve()
    assert library.find_run(tmp_path, "last") == second
    assert [run.id for run in library.runs(tmp_path)] == [second.name, first.name]
    with pytest.raises(RunError, match="no run nothing"):
        library.find_run(tmp_path, "nothing")
    with pytest.raises(RunError, match="More than one"):
        library.find_run(tmp_path, first.name[:6])


def test_a_run_folder_that_cannot_be_made_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(RunError, match="cannot be created"):
        new_run_folder(tmp_path, "x")


def test_settings_come_back_as_saved(tmp_path: Path) -> None:
    assert settings.load(tmp_path) == (settings.Settings(), [])
    mine = (
        settings.Settings(theme="light", budget=240, workload=settings.SavedWorkload(steps=12))
        .opened("a")
        .opened("b")
    )
    settings.save(tmp_path, mine)
    assert settings.load(tmp_path) == (mine, [])
    assert mine.opened("a").recent_models == ("a", "b")


def test_a_bad_or_unknown_setting_is_kept_aside_and_the_others_are_used(tmp_path: Path) -> None:
    (tmp_path / settings.NAME).write_text(json.dumps({"theme": "pink", "generations": 9, "later": [1]}))
    loaded, notices = settings.load(tmp_path)
    assert (loaded.theme, loaded.generations) == ("system", 9)
    assert sorted(notice.text.split()[2] for notice in notices) == ["later", "theme"]
    assert json.loads((tmp_path / settings.ASIDE).read_text()) == {"theme": "pink", "later": [1]}
    assert settings.load(tmp_path) == (loaded, [])


def test_a_setting_that_has_another_name_now_is_kept(tmp_path: Path) -> None:
    (tmp_path / settings.NAME).write_text('{"llm_approve": true}')
    found, notices = settings.load(tmp_path)
    assert found.approve
    assert not notices


def test_a_damaged_settings_file_is_kept_under_another_name(tmp_path: Path) -> None:
    (tmp_path / settings.NAME).write_text("{")
    loaded, notices = settings.load(tmp_path)
    assert loaded == settings.Settings()
    assert len(notices) == 1
    assert (tmp_path / "settings.damaged-1.json").read_text() == "{"


def test_requests_and_events_survive_the_line(folder: Path) -> None:
    request = protocol.Request(job=3, command="inspect", arguments={"model": "a\nb"})
    line = protocol.encode(request)
    assert line.count("\n") == 1
    assert protocol.decode_request(line) == request
    made = events.event(judged("c000"), run="r", seq=4)
    assert protocol.decode_event(protocol.encode(made)) == made
    assert protocol.decode_event(protocol.encode(made)).payload() == judged("c000")


@pytest.mark.parametrize(
    "line", ["", "nonsense", "{}", '{"job": 0, "command": "x"}', '{"job": 1}', "[1]", "x" * (1 << 23)]
)
def test_a_line_that_is_no_request_gives_one_sentence(line: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.decode_request(line)
    assert "\n" not in str(caught.value)
