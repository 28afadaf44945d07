"""The worker as a process: requests in, events out, interruptions of every kind."""

from __future__ import annotations

import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.measure.images import PSNR_CAP
from studio.record import library
from studio.record.events import Event
from studio.record.journal import Journal
from studio.record.protocol import PROTOCOL, Request, decode_event, encode
from studio.record.state import RunState

SCRIPTED = str(Path(__file__).with_name("scripted_worker.py"))
REAL = ["-m", "studio.work.worker"]


class Worker:
    """A worker process, spoken to over its pipes; every line must be an event."""

    def __init__(self, home: Path, program: list[str], seconds: float = 0.02) -> None:
        environment = {**os.environ, "SCRIPTED_SECONDS": str(seconds), "PYTHONPATH": str(Path.cwd())}
        self.log = (home / "stderr.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *program, "--home", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )
        self.events: queue.Queue[Event | None] = queue.Queue()
        self.seen: list[Event] = []
        self._job = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(decode_event(line))
        self.events.put(None)

    def ask(self, command: str, **arguments: Any) -> int:
        self._job += 1
        self.send(encode(Request(job=self._job, command=command, arguments=arguments)))
        return self._job

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def until(self, kind: str, job: int | None = None, timeout: float = 180) -> Event:
        """The next event of a type (and job)."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            assert found is not None, f"the worker ended before {kind}"
            self.seen.append(found)
            if found.type == kind and (job is None or found.data["job"] == job):
                return found
            assert not (found.type == "job.failed" and found.data["job"] == job), found.data

    def result(self, job: int, timeout: float = 180) -> dict[str, Any]:
        answer: dict[str, Any] = self.until("job.done", job, timeout).data["result"]
        return answer

    def failure(self, job: int) -> dict[str, Any]:
        while True:
            found = self.events.get(timeout=180)
            assert found is not None
            self.seen.append(found)
            if found.type == "job.failed" and found.data["job"] == job:
                return found.data
            assert not (found.type == "job.done" and found.data["job"] == job), found.data

    def end(self, timeout: float = 120) -> int:
        """Wait for its end; the rest of the events is in `seen`."""
        code = self.process.wait(timeout)
        self._reader.join(10)
        while (found := self.events.get(timeout=5)) is not None:
            self.seen.append(found)
        return code

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.log):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path, [SCRIPTED])
    yield worker
    worker.close()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path, REAL)
    yield worker
    worker.close()


def one_run(home: Path) -> Path:
    (found,) = (home / "runs").iterdir()
    return found


def start(worker: Worker, **arguments: Any) -> int:
    return worker.ask("start", model="scripted", generations=1, population=6, **arguments)


def test_the_worker_says_first_that_it_is_ready_and_imports_nothing_heavy_for_it(tmp_path: Path) -> None:
    heavy = ("torch", "numpy", "diffusers", "openvino", "scipy", "agent", "engines", "jinja2")
    code = f"import sys, studio.work.worker; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
    worker = Worker(tmp_path, REAL)
    try:
        ready = worker.until("worker.ready")
        assert worker.seen == [ready]
        assert ready.data["protocol"] == PROTOCOL
        assert ready.data["pid"] == worker.process.pid
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense\n", "no request"),
        ('{"job": 5}\n', "no request"),
        ("\u0000\ufffd\n", "no request"),
    ],
)
def test_a_line_that_is_no_request_gives_a_notice_and_the_worker_goes_on(
    real: Worker, line: str, words: str
) -> None:
    real.send(line)
    assert words in real.until("notice").data["text"]
    assert real.result(real.ask("runs")) == {"runs": []}


def test_unknown_commands_and_bad_arguments_fail_with_one_sentence(real: Worker) -> None:
    for command, arguments, words in (
        ("fly", {}, "There is no command fly"),
        ("report", {}, "bad argument run"),
        ("report", {"run": 3}, "bad argument run"),
        ("runs", {"extra": 1}, "bad argument extra"),
        ("pause", {}, "There is no run to pause"),
        ("stop", {"hard": True}, "does not know"),
        ("report", {"run": "nothing"}, "There is no run nothing"),
        ("report", {"run": "last"}, "There is no run"),
    ):
        failed = real.failure(real.ask(command, **arguments))
        assert words in failed["text"]
        assert "\n" not in failed["text"]


def test_shutdown_and_closed_stdin_end_the_worker_with_0(tmp_path: Path) -> None:
    first = Worker(tmp_path, REAL)
    first.result(first.ask("shutdown"))
    assert first.end() == 0
    first.close()
    second = Worker(tmp_path, REAL)
    second.until("worker.ready")
    second.close_stdin()
    assert second.end() == 0
    second.close()


def test_a_run_is_told_as_it_is_journalled_and_ends_certified(scripted: Worker, tmp_path: Path) -> None:
    job = start(scripted)
    result = scripted.result(job)
    assert result["reason"] == "done"
    folder = one_run(tmp_path)
    recorded = Journal.read(folder)
    told = [item for item in scripted.seen if item.seq]
    assert told == recorded
    assert [item.seq for item in told] == list(range(1, len(told) + 1))
    assert told[0].type == "run.started"
    state = RunState.replay(recorded)
    assert state.phase == "done"
    assert state.judged >= 7
    assert {one.claim for one in state.certified} == {
        "adherence loss under 2 points",
        "PSNR of 30 dB or more",
    }
    assert state.winner == state.certified[0].id
    for candidate in state.candidates.values():
        assert (folder / candidate.proposal.script).read_text(encoding="utf-8").startswith('"""')
    assert state.baseline is not None
    assert state.baseline.verdict is not None
    assert state.baseline.verdict.metrics["psnr"].value == PSNR_CAP
    log = (tmp_path / "stderr.log").read_text()
    assert "a library prints" in log
    assert "descriptor itself" in log


def test_pause_is_answered_at_once_and_other_work_is_done_while_paused(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [SCRIPTED], seconds=0.1)
    try:
        job = start(worker)
        worker.until("candidate.judged")
        asked = time.monotonic()
        paused = worker.result(worker.ask("pause"))
        assert time.monotonic() - asked < 1
        assert paused["run"] == one_run(tmp_path).name
        worker.until("run.paused")
        failed = worker.failure(worker.ask("certify", run=paused["run"], candidate="c999"))
        assert "no candidate c999" in failed["text"]
        judged = sum(item.type == "candidate.judged" for item in Journal.read(one_run(tmp_path)))
        time.sleep(0.5)
        assert sum(item.type == "candidate.judged" for item in Journal.read(one_run(tmp_path))) == judged
        worker.result(worker.ask("resume", run=paused["run"]))
        worker.until("run.resumed")
        assert worker.result(job)["reason"] == "done"
    finally:
        worker.close()


def test_a_second_run_is_refused_while_one_goes_on(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [SCRIPTED], seconds=0.2)
    try:
        start(worker)
        worker.until("run.started")
        failed = worker.failure(start(worker))
        assert "still going" in failed["text"]
        other = Worker(tmp_path, [SCRIPTED])
        try:
            failed = other.failure(other.ask("resume", run=one_run(tmp_path).name))
            assert f"process {worker.process.pid}" in failed["text"]
        finally:
            other.close()
    finally:
        worker.close()


def test_stop_gives_up_the_candidate_in_flight_and_the_run_can_be_continued(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [SCRIPTED], seconds=3)
    try:
        job = start(worker)
        worker.until("candidate.stage")
        worker.result(worker.ask("stop"))
        asked = time.monotonic()
        assert worker.result(job)["reason"] == "stopped"
        assert time.monotonic() - asked < 2.5
    finally:
        worker.close()
    state = RunState.replay(Journal.read(one_run(tmp_path)))
    assert state.judged == 1
    again = Worker(tmp_path, [SCRIPTED])
    try:
        assert again.result(again.ask("resume", run="last"))["reason"] == "done"
    finally:
        again.close()
    state = RunState.replay(Journal.read(one_run(tmp_path)))
    assert state.phase == "done"
    assert state.judged == len(state.candidates) >= 7


def test_closed_stdin_finishes_the_candidate_in_flight_and_leaves_the_run_to_be_resumed(
    tmp_path: Path,
) -> None:
    worker = Worker(tmp_path, [SCRIPTED], seconds=0.1)
    try:
        start(worker)
        while worker.until("candidate.stage").data["id"] != "c002":
            continue
        worker.close_stdin()
        assert worker.end() == 0
    finally:
        worker.close()
    folder = one_run(tmp_path)
    state = RunState.replay(Journal.read(folder))
    assert state.candidates["c002"].verdict is not None
    assert list(state.candidates) == ["c000", "c001", "c002"]
    assert library.standing(folder, state) == "interrupted"


def test_sigterm_ends_the_worker_soon(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [SCRIPTED], seconds=5)
    try:
        start(worker)
        worker.until("candidate.stage")
        worker.process.terminate()
        assert worker.end(timeout=5) == 0
    finally:
        worker.close()


def killed_again_and_again(home: Path, kills: int, rng: random.Random) -> None:
    """Kill the worker at random moments; whatever was told stays, and the run ends as if nothing had been."""
    told: dict[int, Event] = {}
    run = ""
    for number in range(kills + 1):
        worker = Worker(home, [SCRIPTED], seconds=0.03)
        job = worker.ask("resume", run=run) if run else start(worker)
        try:
            if number == kills:
                worker.result(job, timeout=120)
            else:
                worker.until("run.resumed" if run else "run.started")
                time.sleep(rng.uniform(0, 1.2))
                worker.process.kill()
                worker.end()
        finally:
            worker.close()
        folder = one_run(home)
        run = folder.name
        recorded = {item.seq: item for item in Journal.read(folder)}
        for item in worker.seen:
            if item.seq:
                assert told.setdefault(item.seq, item) == item
        assert all(recorded[seq] == item for seq, item in told.items())
        if RunState.replay(recorded.values()).finished is not None:
            break
    state = RunState.replay(Journal.read(one_run(home)))
    assert state.phase == "done"
    judged = [item.data["id"] for item in Journal.read(one_run(home)) if item.type == "candidate.judged"]
    assert len(judged) == len(set(judged)), "a finished candidate was evaluated again"
    assert all(candidate.verdict is not None for candidate in state.candidates.values())
    assert len(state.candidates) >= 7
    assert library.entry(one_run(home)).state == "done"


def test_three_kills_at_random_moments_lose_nothing_that_was_finished(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, 3, random.Random(7))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_twenty_kills_at_random_moments_lose_nothing_that_was_finished(tmp_path: Path, seed: int) -> None:
    killed_again_and_again(tmp_path, 20, random.Random(seed))


def test_a_full_disk_ends_the_run_with_one_sentence_and_it_can_be_resumed(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [SCRIPTED], seconds=0.1)
    try:
        job = start(worker)
        worker.until("candidate.judged")
        candidates = one_run(tmp_path) / "candidates"
        candidates.rename(candidates.with_name("moved"))
        candidates.write_text("a file in the way of the scripts")
        failed = worker.failure(job)
        assert "\n" not in failed["text"]
        candidates.unlink()
        candidates.with_name("moved").rename(candidates)
        assert worker.result(worker.ask("resume", run="last"))["reason"] == "done"
    finally:
        worker.close()


def test_vitals_come_while_something_runs(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [SCRIPTED], seconds=0.3)
    try:
        start(worker)
        vitals = worker.until("vitals").data
        assert 0 <= vitals["cpu"] <= 100
        assert 0 < vitals["memory"] < vitals["memory_total"]
        json.dumps(vitals)
    finally:
        worker.close()
