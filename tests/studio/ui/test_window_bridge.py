"""The bridge with real processes: small workers written here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from studio.record.protocol import PROTOCOL
from studio.ui.bridge import Worker

READY = f"""
import json, sys, time, os
def say(kind, run="", seq=0, **data):
    print(json.dumps(dict(v=1, seq=seq, run=run, time=time.time(), type=kind, data=data)), flush=True)
say("worker.ready", version="1", protocol={PROTOCOL}, pid=os.getpid())
"""
ECHO = (
    READY
    + """
for line in sys.stdin:
    asked = json.loads(line)
    if asked["command"] == "shutdown":
        break
    if asked["command"] == "die":
        print("a reason on stderr", file=sys.stderr, flush=True)
        os._exit(3)
    if asked["command"] == "fail":
        say("job.failed", job=asked["job"], text="It was wrong; do it right.", detail="where")
        continue
    say("job.progress", job=asked["job"], done=1, total=2, doing="half")
    say("job.done", job=asked["job"], result=asked["arguments"])
"""
)
FLOOD = (
    READY
    + """
for at in range(20000):
    say("notice", run="r", seq=at + 1, level="info", text=f"line {at}")
sys.stdin.read()
"""
)


@pytest.fixture
def start(qtbot: QtBot, tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    made: list[Worker] = []

    def begin(body: str) -> Worker:
        script = tmp_path / f"worker{len(made)}.py"
        script.write_text(body, encoding="utf-8")
        worker = Worker(tmp_path, [sys.executable, str(script)])
        made.append(worker)
        worker.start()
        return worker

    yield begin
    for worker in made:
        worker.close()


def test_a_request_made_before_the_worker_is_ready_is_answered(
    qtbot: QtBot, start: Callable[[str], Worker]
) -> None:
    worker = start(ECHO)
    job = worker.request("inspect", model="x")
    steps: list[tuple[int, int, str]] = []
    job.progress.connect(lambda *step: steps.append(step))
    with qtbot.waitSignal(job.done, timeout=10_000) as found:
        pass
    assert found.args == [{"model": "x"}]
    assert steps == [(1, 2, "half")]
    assert not worker.busy


def test_a_failure_is_one_sentence_with_its_detail(qtbot: QtBot, start: Callable[[str], Worker]) -> None:
    worker = start(ECHO)
    with qtbot.waitSignal(worker.request("fail").failed, timeout=10_000) as found:
        pass
    assert found.args == ["It was wrong; do it right.", "where"]


def test_a_dead_worker_fails_its_jobs_and_can_be_started_again(
    qtbot: QtBot, start: Callable[[str], Worker]
) -> None:
    worker = start(ECHO)
    with qtbot.waitSignal(worker.ready, timeout=10_000):
        pass
    job = worker.request("die")
    with qtbot.waitSignals([job.failed, worker.lost], timeout=10_000):
        pass
    assert not worker.alive
    with qtbot.waitSignal(worker.ready, timeout=10_000):
        worker.restart()
    with qtbot.waitSignal(worker.request("inspect", model="again").done, timeout=10_000):
        pass


def test_the_sentence_about_a_dead_worker_says_why(qtbot: QtBot, start: Callable[[str], Worker]) -> None:
    worker = start(ECHO)
    worker.request("die")
    with qtbot.waitSignal(worker.lost, timeout=10_000) as found:
        pass
    text = str((found.args or [""])[0])
    assert "status 3" in text
    assert "a reason on stderr" in text
    assert "restart it" in text


def test_a_worker_of_another_protocol_is_refused(qtbot: QtBot, start: Callable[[str], Worker]) -> None:
    worker = start(READY.replace(f"protocol={PROTOCOL}", "protocol=99") + "sys.stdin.read()")
    with qtbot.waitSignal(worker.lost, timeout=10_000) as found:
        pass
    assert "protocol 99" in str((found.args or [""])[0])
    assert not worker.alive


def test_a_worker_that_cannot_be_started_is_said(qtbot: QtBot, tmp_path: Path) -> None:
    worker = Worker(tmp_path, ["/no/such/program"])
    with qtbot.waitSignal(worker.lost, timeout=10_000) as found:
        worker.start()
    assert "could not be started" in str((found.args or [""])[0])


def test_a_worker_may_go_with_the_listener_of_its_last_job(qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO, encoding="utf-8")
    worker = Worker(tmp_path, [sys.executable, str(tmp_path / "echo.py")])
    gone: list[bool] = []
    worker.destroyed.connect(lambda: gone.append(True))
    # A worker that held its job would destroy it a second time, and the heap with it.
    worker.request("inspect").done.connect(lambda _, kept=worker: kept.close())
    del worker
    qtbot.waitUntil(lambda: gone == [True], timeout=10_000)


def test_a_flood_of_lines_arrives_whole_in_order_and_in_batches(
    qtbot: QtBot, start: Callable[[str], Worker]
) -> None:
    worker = start(FLOOD)
    batches: list[list[Any]] = []
    worker.events.connect(batches.append)
    qtbot.waitUntil(lambda: sum(map(len, batches)) == 20_000, timeout=60_000)
    assert [event.seq for batch in batches for event in batch] == list(range(1, 20_001))
    assert len(batches) < 4000


def test_lines_that_are_no_events_go_to_the_log(qtbot: QtBot, start: Callable[[str], Worker]) -> None:
    worker = start(
        READY
        + "print('not json', flush=True)\n"
        + "say('notice', run='r', seq=1, level='info', text='x')\n"
        + "sys.stdin.read()"
    )
    said: list[str] = []
    worker.said.connect(said.append)
    with qtbot.waitSignal(worker.events, timeout=10_000):
        pass
    assert any("not json" in line for line in said)
