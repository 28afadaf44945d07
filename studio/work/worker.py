"""The worker: one process per window that does all model work.

Three threads: the main one reads requests and answers pause, stop, cancel and
shutdown at once; one does light commands; one does heavy commands and runs.
A run lets waiting heavy commands in between two candidates.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from studio import __version__
from studio.errors import ProtocolError
from studio.record import folders
from studio.record.events import JobDone, JobFailed, JobPoint, JobProgress, Notice, Vitals, WorkerReady
from studio.record.protocol import PROTOCOL, Request, decode_request
from studio.work.commands import COMMANDS, perform
from studio.work.control import LONGEST_WISH, Control
from studio.work.failure import explain
from studio.work.job import Job
from studio.work.output import Output, private_streams

RUNS = ("start", "resume", "evaluate")


@dataclass(frozen=True, slots=True)
class Task:
    """A request with its job."""

    request: Request
    job: Job


class Worker:
    """Takes requests, does them, tells about them."""

    def __init__(self, home: Path, output: Output) -> None:
        self._home = home
        self._output = output
        self._light: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._heavy: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._open: dict[int, Task] = {}
        self._run: Task | None = None
        """The run in progress: while it is, the heavy queue is served between its candidates."""
        self._control = Control()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(self._light,), name="light", daemon=True),
            threading.Thread(target=self._serve, args=(self._heavy,), name="heavy", daemon=True),
            threading.Thread(target=self._watch, name="vitals", daemon=True),
        ]

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def start(self) -> None:
        self._output.tell(WorkerReady(version=__version__, protocol=PROTOCOL, pid=os.getpid()))
        for thread in self._threads:
            thread.start()

    def close(self, *, now: bool) -> None:
        """Leave the run after the candidate in flight (`now`: at once) and give other jobs up."""
        self._closing.set()
        self._control.set("leave", abort=now)
        for task in list(self._open.values()):
            if task.request.command not in RUNS:
                task.job.cancelled.set()
        self._light.put(None)
        self._heavy.put(None)

    def join(self) -> None:
        for thread in self._threads[:2]:
            thread.join()

    def take(self, line: str) -> None:
        """Answer one line; a bad one gives a notice and harms nothing."""
        try:
            request = decode_request(line)
        except ProtocolError as error:
            self._output.tell(Notice(level="error", text=str(error)))
            return
        if request.job in self._open:
            self._fail(
                request.job, f"The job {request.job} is still going; give every request a number of its own."
            )
            return
        own: dict[str, Callable[..., dict[str, Any]]] = {
            "pause": self._pause,
            "stop": self._stop,
            "steer": self._steer,
            "decide": self._decide,
            "cancel": self._cancel,
            "shutdown": self._shutdown,
        }
        if request.command in own:
            try:
                result = own[request.command](**request.arguments)
            except TypeError:
                self._fail(
                    request.job, f"The command {request.command} was given arguments that it does not know."
                )
            except ProtocolError as error:
                self._fail(request.job, str(error))
            else:
                self._output.tell(JobDone(job=request.job, result=result))
        elif request.command in COMMANDS:
            self._accept(request)
        else:
            known = ", ".join([*COMMANDS, *own])
            self._fail(request.job, f"There is no command {request.command}; there are: {known}.")

    # -- commands of the worker's own -----------------------------------------------------------

    def _pause(self) -> dict[str, Any]:
        self._control.set("pause")
        return {"run": self._running("pause")}

    def _stop(self, *, certify: bool = False) -> dict[str, Any]:
        run = self._running("stop")
        self._control.certify_on_stop = certify
        self._control.set("stop", abort=not certify)
        return {"run": run}

    def _steer(self, *, text: str) -> dict[str, Any]:
        run = self._running("steer")
        said = " ".join(str(text).split())
        if not 0 < len(said) <= LONGEST_WISH:
            raise ProtocolError(f"Say it in 1 to {LONGEST_WISH} characters.")
        self._control.steer(said)
        return {"run": run}

    def _decide(self, *, candidate: str, run: bool) -> dict[str, Any]:
        name = self._running("decide about")
        self._control.decide(str(candidate), run=bool(run))
        return {"run": name}

    def _cancel(self, *, cancel: int) -> dict[str, Any]:
        task = self._open.get(cancel)
        if task is None:
            return {"cancelled": False}
        if task is self._run:
            self._control.set("leave", abort=True)
        task.job.cancelled.set()
        return {"cancelled": True}

    def _shutdown(self, *, now: bool = False) -> dict[str, Any]:
        self.close(now=now)
        return {}

    def _running(self, wish: str) -> str:
        if self._run is None:
            raise ProtocolError(f"There is no run to {wish}.")
        return self._control.run

    # -- doing ----------------------------------------------------------------------------------

    def _accept(self, request: Request) -> None:
        number = request.job
        if self._run is not None and request.command in RUNS:
            wanted = str(request.arguments.get("run", ""))
            if request.command == "resume" and Path(wanted).name == self._control.run:
                self._control.set("go")
                self._output.tell(JobDone(job=number, result={"run": self._control.run}))
            else:
                self._fail(
                    number, f"The run {self._control.run} is still going; stop it before another is begun."
                )
            return

        def progress(done: int, total: int, doing: str) -> None:
            self._output.tell(JobProgress(job=number, done=done, total=total, doing=doing))

        def point(curve: str, at: int, values: dict[str, float | None]) -> None:
            self._output.tell(JobPoint(job=number, curve=curve, at=at, values=values))

        task = Task(request, Job(self._home, number, progress, on_point=point))
        self._open[number] = task
        if not COMMANDS[request.command].heavy:
            self._light.put(task)
            return
        if request.command in RUNS:
            # Here and not when it begins, so that a pause sent right after the start finds it.
            self._run = task
            self._control = Control(between=self._between)
            task = Task(request, replace(task.job, control=self._control, emit=self._output.send))
            self._open[number] = self._run = task
        elif self._run is not None:
            progress(0, 0, "waiting for the candidate in flight")
        self._heavy.put(task)

    def _serve(self, tasks: queue.SimpleQueue[Task | None]) -> None:
        while (task := tasks.get()) is not None:
            self._do(task)

    def _between(self, seconds: float) -> bool:
        """Do the next waiting job, or wait for one at most `seconds`; whether there was one."""
        try:
            task = self._heavy.get(timeout=seconds) if seconds else self._heavy.get_nowait()
        except queue.Empty:
            return False
        if task is None:
            self._heavy.put(None)
            return False
        self._do(task)
        return True

    def _do(self, task: Task) -> None:
        number = task.request.job
        try:
            if self._closing.is_set():
                task.job.cancelled.set()
            task.job.check()
            result = perform(task.request.command, task.job, task.request.arguments)
        except Exception as error:  # noqa: BLE001 - whatever a job raises ends that job only
            failure = explain(error)
            self._finish(task)
            self._output.tell(
                JobFailed(
                    job=number,
                    text=failure.text,
                    detail=failure.detail,
                    asks=failure.asks,
                    wants=failure.wants,
                )
            )
        else:
            self._finish(task)
            self._output.tell(JobDone(job=number, result=result))

    def _finish(self, task: Task) -> None:
        self._open.pop(task.request.job, None)
        if self._run is task:
            self._run = None

    def _fail(self, job: int, text: str) -> None:
        self._output.tell(JobFailed(job=job, text=text))

    def _watch(self) -> None:
        started = False
        while not self._closing.wait(1.0):
            if not any(COMMANDS[task.request.command].heavy for task in list(self._open.values())):
                continue
            import psutil

            if not started:
                psutil.cpu_percent()
                started = True
                continue
            memory = psutil.virtual_memory()
            self._output.tell(
                Vitals(
                    cpu=psutil.cpu_percent(),
                    memory=memory.total - memory.available,
                    memory_total=memory.total,
                )
            )


def main(arguments: list[str] | None = None) -> int:
    """Read requests until stdin closes or `shutdown` comes; 0 if the end was asked for."""
    parser = argparse.ArgumentParser(prog="python -m studio.work.worker")
    parser.add_argument("--home", type=Path, default=None, help="folder of runs and settings")
    home: Path = parser.parse_args(arguments).home or folders.home()
    requests, answers = private_streams()
    output = Output(answers)
    worker = Worker(home, output)

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    worker.start()
    try:
        for line in requests:
            if line.strip():
                worker.take(line)
            if worker.closing:
                break
        worker.close(now=False)
        worker.join()
    except SystemExit:
        worker.close(now=True)
        worker.join()
    return 1 if output.broken.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
