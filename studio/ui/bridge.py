"""The worker process: requests go in, its lines come back as batched, typed signals.

Lines are kept as they arrive and taken out every 33 ms, at most 60 of them
and for at most 12 ms, so that fifty thousand never hold the event loop:
showing them takes time too, which those 12 ms do not count.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import QCoreApplication, QObject, QProcess, QProcessEnvironment, QTimer, Signal

from studio.errors import ProtocolError
from studio.record import events as ev
from studio.record.protocol import PROTOCOL, Request, decode_event, encode

FLUSH: Final = 33
"""ms between two batches."""
SLICE: Final = 0.012
"""Seconds of parsing in one batch."""
AT_ONCE: Final = 60
"""Lines in one batch."""
LAST_WORDS: Final = 40
"""Lines of the worker's stderr kept to explain its end."""


class Job(QObject):
    """What was asked of the worker.

    Signals:
        progress(done, total, doing)
        point(curve, at, values): one more point of a curve that grows while it works.
        done(result)
        failed(text, detail): one sentence, and the rest for the log.
        ended(): after done or failed.
    """

    progress = Signal(int, int, str)
    point = Signal(str, int, dict)
    done = Signal(dict)
    failed = Signal(str, str)
    ended = Signal()

    def __init__(self, number: int, command: str) -> None:
        # The application's, not the worker's: a listener that goes with its job may be the last that
        # holds the worker, which would destroy the job, its child, while that is being destroyed.
        super().__init__(QCoreApplication.instance())
        self.number = number
        self.command = command
        self.asks = ""
        """Once it has failed: the argument by which the user can agree to have it done all the same."""
        self.wants = ""
        """Once it has failed: the command that takes what was missing."""


class Worker(QObject):
    """One worker process and the jobs it has.

    Signals:
        events(list[Event]): events of runs, in order, at most every 33 ms.
        vitals(Vitals): load of the machine.
        heard(LlmDelta): a piece of the language model's answer as it streams in.
        ready(WorkerReady): it can be asked now.
        lost(str): it ended by itself; the sentence says how.
        outdated(int): it speaks this other protocol and was ended; `lost` follows.
        said(str): a line of its stderr, for the log.
    """

    events = Signal(list)
    vitals = Signal(object)
    heard = Signal(object)
    ready = Signal(object)
    lost = Signal(str)
    outdated = Signal(int)
    said = Signal(str)

    def __init__(self, home: Path, program: list[str] | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._command = program or [sys.executable, "-m", "studio.work.worker"]
        self._surroundings: Mapping[str, str] = {}
        self._home = home
        self._process: QProcess | None = None
        self._jobs: dict[int, Job] = {}
        self._number = 0
        self._waiting: list[str] = []
        self._partial = b""
        self._lines: deque[bytes] = deque()
        self._stderr: deque[str] = deque(maxlen=LAST_WORDS)
        self._closing = False
        self.is_ready = False
        self._flush = QTimer(self, interval=FLUSH)
        self._flush.timeout.connect(self._take_out)

    @property
    def busy(self) -> bool:
        """Whether any job is under way."""
        return bool(self._jobs)

    @property
    def alive(self) -> bool:
        return self._process is not None

    def use(self, program: list[str], surroundings: Mapping[str, str]) -> None:
        """The program that the next start runs, with variables of its environment."""
        self._command, self._surroundings = program, surroundings

    def start(self) -> None:
        """Start the process; `ready` follows, or `lost`."""
        if self._process is not None:
            return
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        environment.insert("PYTHONIOENCODING", "utf-8")
        for name, value in self._surroundings.items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.setProgram(self._command[0])
        process.setArguments([*self._command[1:], "--home", str(self._home)])
        process.readyReadStandardOutput.connect(self._on_stdout)
        process.readyReadStandardError.connect(self._on_stderr)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._process = process
        self._closing = False
        self._partial = b""
        self._flush.start()
        process.start()

    def restart(self) -> None:
        """End the process, if there is one, and start another."""
        if self._process is not None:
            process, self._process = self._process, None
            self._end_now(process)
            self._give_up("The worker was restarted; ask again.")
        self.start()

    def request(self, command: str, **arguments: Any) -> Job:
        """Ask the worker; the answer comes through the returned job."""
        self._number += 1
        job = Job(self._number, command)
        self._jobs[self._number] = job
        line = encode(Request(job=self._number, command=command, arguments=arguments))
        if self._process is None:
            self.start()
        if self.is_ready and self._process is not None:
            self._process.write(line.encode())
        else:
            self._waiting.append(line)
        return job

    def _end_now(self, process: QProcess) -> None:
        process.finished.disconnect(self._on_finished)
        process.errorOccurred.disconnect(self._on_error)
        process.kill()
        process.waitForFinished(1000)
        process.deleteLater()

    def cancel(self, job: Job) -> None:
        if job.number in self._jobs:
            self.request("cancel", cancel=job.number)

    def close(self, wait: int = 3000) -> None:
        """Close its stdin and give it `wait` ms to finish; what it had done is in the journal."""
        process, self._process = self._process, None
        self._flush.stop()
        self._closing = True
        if process is None:
            return
        process.finished.disconnect(self._on_finished)
        process.errorOccurred.disconnect(self._on_error)
        process.readyReadStandardOutput.disconnect(self._on_stdout)
        process.readyReadStandardError.disconnect(self._on_stderr)
        if self.is_ready:
            self._number += 1
            process.write(
                encode(Request(job=self._number, command="shutdown", arguments={"now": True})).encode()
            )
        process.closeWriteChannel()
        if not process.waitForFinished(wait):
            process.kill()
            process.waitForFinished(1000)
        self.is_ready = False

    # -- what the process says -----------------------------------------------------------------

    def _on_stdout(self) -> None:
        if self._process is None:
            return
        block = self._partial + self._process.readAllStandardOutput().data()
        *lines, self._partial = block.split(b"\n")
        self._lines.extend(line for line in lines if line)

    def _on_stderr(self) -> None:
        if self._process is None:
            return
        for line in bytes(self._process.readAllStandardError().data()).decode(errors="replace").splitlines():
            if line.strip():
                self._stderr.append(line)
                self.said.emit(line)

    def _take_out(self, *, everything: bool = False) -> None:
        until = time.perf_counter() + SLICE
        batch: list[ev.Event] = []
        taken = 0
        while self._lines and (everything or (taken < AT_ONCE and time.perf_counter() < until)):
            taken += 1
            line = self._lines.popleft()
            try:
                item = decode_event(line.decode(errors="replace"))
            except ProtocolError as error:
                self.said.emit(str(error))
                continue
            if item.v > ev.VERSION:
                self.said.emit(f"An event of version {item.v} was left out; this window knows {ev.VERSION}.")
            elif item.type in ev.TRANSIENT:
                if batch:
                    self.events.emit(batch)
                    batch = []
                self._on_transient(item)
            else:
                batch.append(item)
        if batch:
            self.events.emit(batch)
        if taken and self._flush.isActive():
            self._flush.start()  # 33 ms from now on: what was said is drawn first, and a click is heard

    def _on_transient(self, item: ev.Event) -> None:
        try:
            data = item.payload()
        except ValueError as error:
            self.said.emit(f"An event {item.type} could not be read: {error}")
            return
        match data:
            case ev.WorkerReady():
                self._on_ready(data)
            case ev.Vitals():
                self.vitals.emit(data)
            case ev.LlmDelta():
                self.heard.emit(data)
            case ev.JobProgress():
                if job := self._jobs.get(data.job):
                    job.progress.emit(data.done, data.total, data.doing)
            case ev.JobPoint():
                if job := self._jobs.get(data.job):
                    job.point.emit(data.curve, data.at, data.values)
            case ev.JobDone():
                if job := self._jobs.pop(data.job, None):
                    job.done.emit(data.result)
                    job.ended.emit()
                    job.deleteLater()
            case ev.JobFailed():
                if job := self._jobs.pop(data.job, None):
                    job.asks, job.wants = data.asks, data.wants
                    job.failed.emit(data.text, data.detail)
                    job.ended.emit()
                    job.deleteLater()

    def _on_ready(self, data: ev.WorkerReady) -> None:
        if data.protocol != PROTOCOL:
            text = (
                f"The worker speaks protocol {data.protocol} and this window {PROTOCOL}: "
                "two versions are mixed; install Pareto Studio again."
            )
            process, self._process = self._process, None
            if process is not None:
                self._end_now(process)
            self.outdated.emit(data.protocol)
            self._end(text)
            return
        self.is_ready = True
        self.ready.emit(data)
        for line in self._waiting:
            if self._process is not None:
                self._process.write(line.encode())
        self._waiting.clear()

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            process, self._process = self._process, None
            process.deleteLater()
            self._end(f"The worker could not be started ({self._command[0]}); install Pareto Studio again.")

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._on_stdout()
        self._on_stderr()
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        self._take_out(everything=True)
        if status == QProcess.ExitStatus.CrashExit:
            how = "was ended by the system or crashed"
        elif code:
            how = f"ended with status {code}"
        else:
            how = "ended"
        last = f": {self._stderr[-1].strip()[:160]}" if self._stderr and code else ""
        self._end(f"The worker {how}{last}. What had finished is kept; restart it to go on.")

    def _end(self, text: str) -> None:
        self._flush.stop()
        self._give_up(text)
        if not self._closing:
            self.lost.emit(text)

    def _give_up(self, text: str) -> None:
        self.is_ready = False
        self._waiting.clear()
        self._lines.clear()
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            job.failed.emit(text, "\n".join(self._stderr))
            job.ended.emit()
            job.deleteLater()
