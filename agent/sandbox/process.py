"""A candidate's process, seen from outside: requests, limits, memory, its end."""

from __future__ import annotations

import json
import os
import queue
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import psutil

from agent.sandbox import account, graphics
from agent.sandbox.answer import Answer, CandidateFailure, Pixels, components, numbers
from agent.sandbox.limits import Isolation, Limits
from agent.sandbox.printed import Printed, shortened
from agent.sandbox.tap import Tap
from engines.measure import memory
from engines.workload import Workload

_HEADER_BYTES: Final = 1 << 20
_PICTURE_BYTES: Final = 3 * 4096 * 4096
_WATCH_SECONDS: Final = 0.02
_CHILDREN_SECONDS: Final = 0.25


class Process:
    """Talks to one candidate's process and ends it when it breaks a limit.

    `kill` is called with the process's id to end it and all it started, `code`
    tells its exit code once it has ended; both differ between a forked and a
    spawned process.
    """

    def __init__(
        self,
        pid: int,
        streams: tuple[IO[bytes], IO[bytes], IO[bytes]],
        folder: Path,
        limits: Limits,
        kill: Callable[[int], None],
        code: Callable[[], int | None],
    ) -> None:
        self.pid = pid
        self.folder = folder
        self.limits = limits
        self.isolation: Isolation = "none"
        self._user = 0
        self.peak = 0.0
        """Most resident memory seen, MiB, all its processes together."""
        self.calls = 0
        """Requests for pictures that it was given."""
        self._on_card, self._card_before, self._card_grown = 0.0, 0.0, 0.0
        self.answers_for_growth = True
        """Whether what others take of the card since it was loaded may be its own doing."""
        self._requests, self._answers, self._errors = streams
        self._kill, self._code = kill, code
        self._handle: psutil.Process | None = None
        with suppress(psutil.Error):
            self._handle = psutil.Process(pid)
        self._inbox: queue.SimpleQueue[tuple[dict[str, Any], bytes, float] | None] = queue.SimpleQueue()
        self._ticket = 0
        self._printed = Printed()
        self._broke = ""
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=task, name=f"candidate-{pid}-{task.__name__}", daemon=True)
            for task in (self._read_answers, self._read_errors, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    # -- requests --------------------------------------------------------------------------------

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Wait for the first line; raises `CandidateFailure` where none comes."""
        answer, _, _ = self._receive(timeout, "start")
        self.isolation = answer.get("isolation", "none")
        self._user = int(answer.get("user", 0))

    def load(self, script: Path, model: str, device: str, workload: Workload) -> float:
        """Load a script; returns the seconds it took, on this side's clock."""
        self._card_before = graphics.in_use() if self.limits.gpu_memory else 0.0
        started = time.perf_counter()
        self._ask(
            {
                "op": "load",
                "script": str(script),
                "model": model,
                "device": device,
                "workload": workload.model_dump(mode="json"),
            },
            self.limits.load_seconds,
            "load",
        )
        return time.perf_counter() - started

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> Answer:
        """Pictures for prompts and seeds; the time is from the request to the last byte.

        Raises:
            CandidateFailure: none came, they do not fit the request, or the pipeline calls them broken.
        """
        seeds = [int(seed) for seed in seeds]
        before = self.cpu_seconds()
        self.calls += 1
        answer, payload, seconds = self._ask(
            {"op": "generate", "prompts": list(prompts), "seeds": seeds},
            self.limits.generate_seconds,
            "generate",
        )
        images = self._pictures(answer, payload, len(prompts))
        if broken := {index for index in answer.get("broken") or () if isinstance(index, int)}:
            # What is no number was drawn black: a picture that breaks in part would pass for a picture.
            raise self._failure(
                f"{len(broken)} of {len(prompts)} pictures hold values that are not finite: numbers left the"
                " range of the precision; compute the denoiser and the decoder in a wider one."
            )
        return Answer(
            images,
            seconds,
            numbers(answer.get("stages"), float),
            numbers(answer.get("calls"), int),
            numbers(answer.get("rows"), int),
            tuple(str(text) for text in answer.get("fallbacks") or ()),
            max(self.cpu_seconds() - before, 0.0),
            components(answer.get("components")),
        )

    def census(
        self, prompts: Sequence[str], seeds: Sequence[int], seal: str, on_trace: Callable[[bytes], None]
    ) -> tuple[dict[str, Any], Answer]:
        """Draw while torch writes down what it does (`engines.census`).

        Returns what the process says of itself, and its answer; `on_trace` is given what was written, as it
        is written, in another thread; `seal` is a word that stands in it first and last.

        Raises:
            CandidateFailure: as `generate`, or its folder is full.
        """
        try:
            tap = Tap(self.folder, on_trace)
        except OSError as error:
            raise self._failure(f"The script's folder cannot be written ({error}).") from error
        with tap:
            answer, payload, seconds = self._ask(
                {
                    "op": "census",
                    "prompts": list(prompts),
                    "seeds": [int(seed) for seed in seeds],
                    "trace": str(tap.path),
                    "seal": seal,
                },
                5 * self.limits.generate_seconds,
                "census",
            )
        found = answer.get("census")
        found = found if isinstance(found, dict) else {}
        images = self._pictures(answer, payload, len(prompts))
        return found, Answer(images, seconds, components=components(found.get("components")))

    def _pictures(self, answer: Mapping[str, Any], payload: bytes, count: int) -> Pixels:
        shape = answer.get("shape")
        if (
            not isinstance(shape, list)
            or not all(isinstance(side, int) and side > 0 for side in shape)
            or len(shape) not in (4, 5)
            or shape[0] != count
            or shape[-1] != 3
            or len(payload) != int(np.prod(shape))
        ):
            self.kill("The answer's shape does not fit its pictures")
            raise self._failure(
                "The script answered with pictures that do not fit the request; return (N, H, W, 3), or"
                " (N, F, H, W, 3) for videos."
            )
        return np.frombuffer(payload, dtype=np.uint8).reshape(shape)

    def running(self) -> bool:
        """Whether any of its threads wants the processor at this moment (Linux; elsewhere no)."""
        for process in self.processes():
            with suppress(OSError):
                for task in Path(f"/proc/{process.pid}/task").iterdir():
                    with suppress(OSError, IndexError):
                        state = (task / "stat").read_text(encoding="ascii", errors="replace")
                        if state.rpartition(")")[2].split()[0] == "R":
                            return True
        return False

    def cpu_seconds(self) -> float:
        """CPU time of the process and all it started so far, user and system."""
        total = 0.0
        for process in self.processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + getattr(times, "children_user", 0.0)
        return total

    def _ask(self, request: dict[str, Any], timeout: float, what: str) -> tuple[dict[str, Any], bytes, float]:
        self._ticket = secrets.randbits(62)  # by chance: a script that counts cannot answer for itself
        line = json.dumps(request | {"ticket": self._ticket}).encode() + b"\n"
        started = time.perf_counter()
        try:
            self._requests.write(line)
            self._requests.flush()
        except (OSError, ValueError):
            raise self._failure(self._ending(what)) from None
        answer, payload, arrived = self._receive(timeout, what)
        # A quick script is done before the first poll; its time has been taken already.
        self.peak = max(self.peak, memory.high_water(self.pid))
        if self.limits.gpu_memory:
            self._look_at_card([process.pid for process in self.processes()])
        if answer.get("ticket") != self._ticket:
            self.kill("answered out of turn")
            raise self._failure(
                "The script wrote an answer of its own into the protocol; only return pictures."
            )
        if not answer.get("ok"):
            raise CandidateFailure(
                str(answer.get("error", "The script failed without a word.")),
                shortened(
                    "\n".join(part for part in (str(answer.get("traceback", "")), self.output) if part)
                ),
            )
        return answer, payload, arrived - started

    def _receive(self, timeout: float, what: str) -> tuple[dict[str, Any], bytes, float]:
        try:
            found = self._inbox.get(timeout=timeout)
        except queue.Empty:
            self.kill(
                f"The script did not finish {what} within its time limit of {timeout:.0f} s; make it faster."
            )
            raise self._failure(self._broke) from None
        if found is None:
            raise self._failure(self._ending(what))
        return found

    def _failure(self, text: str) -> CandidateFailure:
        self._threads[1].join(1.0)
        return CandidateFailure(text, self.output)

    def _ending(self, what: str) -> str:
        """Why the process is no longer there."""
        if self._broke:
            return self._broke
        code = None
        for _ in range(50):
            code = self._code()
            if code is not None:
                break
            time.sleep(0.02)
        if self._broke:
            return self._broke
        if code is not None and code < 0:
            with suppress(ValueError):
                name = signal.Signals(-code).name
                return f"The script's process crashed in {what} ({name}); see its output."
        return f"The script's process ended in {what} (exit code {code}); it must return instead."

    # -- the watch -------------------------------------------------------------------------------

    @property
    def output(self) -> str:
        """What the process printed, shortened in the middle."""
        return self._printed.text

    def processes(self) -> list[psutil.Process]:
        """This process and all that it started."""
        if self._handle is None:
            return []
        with suppress(psutil.Error):
            return [self._handle, *self._others(self._handle)]
        return []

    def _others(self, handle: psutil.Process) -> list[psutil.Process]:
        """What the process started: all of its user's processes where it has a user of its own."""
        if not self._user:
            return handle.children(recursive=True)
        found = []
        for pid in account.processes(self._user):
            if pid != self.pid:
                with suppress(psutil.Error):
                    found.append(psutil.Process(pid))
        return found

    def _read_answers(self) -> None:
        try:
            while True:
                line = self._answers.readline(_HEADER_BYTES)
                if not line:
                    break
                answer = json.loads(line)
                size = answer.get("bytes", 0)
                if not isinstance(size, int) or not 0 <= size <= 64 * _PICTURE_BYTES:
                    raise ValueError(size)
                payload = self._answers.read(size) if size else b""
                self._inbox.put((answer, payload, time.perf_counter()))
        except (OSError, ValueError, AttributeError, RecursionError):
            if not self._closed.is_set():
                self.kill("The script wrote something of its own into the protocol; print to stdout instead.")
        self._inbox.put(None)

    def _read_errors(self) -> None:
        with suppress(OSError, ValueError):
            while chunk := self._errors.read1(1 << 16):  # type: ignore[attr-defined]
                self._printed.add(chunk.decode("utf-8", "replace"))
                if self._printed.length > self.limits.output * 2**20 and not self._broke:
                    self.kill(f"The script printed more than {self.limits.output} MiB; print less.")

    def _watch(self) -> None:
        """Follow memory, processes and disk; only polling sees what engines really touch.

        Looking for children walks all processes of the machine, so it is done seldom.
        """
        children, looked = list[psutil.Process](), 0.0
        try:
            handle = psutil.Process(self.pid)  # its own: psutil's objects are not for two threads
        except psutil.Error:
            return
        while not self._closed.wait(_WATCH_SECONDS):
            try:
                if time.monotonic() - looked > _CHILDREN_SECONDS:
                    children, looked = self._others(handle), time.monotonic()
                    pids = [self.pid, *(child.pid for child in children)]
                    if problem := self._overdone(pids):
                        self.kill(problem)
                        return
            except psutil.Error:
                return
            self.peak = max(self.peak, memory.resident([handle, *children]), memory.high_water(self.pid))
            if self.peak > self.limits.memory:
                self.kill(
                    f"The script ran out of memory: more than {self.limits.memory} MiB; make it use less."
                )
                return

    def _overdone(self, pids: Sequence[int]) -> str:
        """What it has too much of: processes, memory of a device, bytes or files."""
        limits = self.limits
        if len(pids) > limits.processes:
            return f"The script started more than {limits.processes} processes; start none."
        if limits.gpu_memory and self._look_at_card(pids) > limits.gpu_memory:
            return f"The script took more than {limits.gpu_memory} MiB on the GPU; make it use less."
        size, count = memory.without_a_name(pids), 0
        for place, folders, files in os.walk(self.folder):
            count += len(folders) + len(files)
            for name in files:
                with suppress(OSError):
                    size += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118
            if size > limits.disk * 2**20:
                return f"The script wrote more than {limits.disk} MiB to its folder; write less."
            if count > limits.entries:
                return f"The script made more than {limits.entries} files; make fewer."
        return ""

    def _look_at_card(self, pids: Sequence[int]) -> float:
        """MiB that the processes hold on NVIDIA's devices now; peaks are kept.

        By the driver's count; where it does not count by process, by how much more is in use than before.
        """
        held, grown = graphics.used(pids), graphics.in_use() - self._card_before
        self._on_card = max(self._on_card, held)
        self._card_grown = max(self._card_grown, grown)
        return held if self._on_card or not self.answers_for_growth else grown

    @property
    def card_peak(self) -> float:
        """Most memory of NVIDIA's devices seen, MiB, where limits say that it is watched.

        By process as the driver counts it; where it does not, by how much more of the devices was in use,
        by whomever, than before the script was loaded.
        """
        return self._on_card or self._card_grown

    # -- its end ---------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop the process and its children, so that they take no time from others."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.suspend()

    def resume(self) -> None:
        """Go on after `pause`."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.resume()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        with suppress(psutil.Error):
            return (
                self._handle is not None
                and self._handle.is_running()
                and self._handle.status() != psutil.STATUS_ZOMBIE
            )
        return False

    def kill(self, why: str = "") -> None:
        """End it and all that it started, at once."""
        self._broke = self._broke or why
        for process in reversed(self.processes()):
            with suppress(psutil.Error):
                process.kill()
        self._kill(self.pid)

    def close(self) -> None:
        """Kill it and delete its folder."""
        import shutil

        self._closed.set()
        self.kill("It was closed.")
        with suppress(OSError, ValueError):
            self._requests.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5.0)
        # A stream that somebody still holds open cannot be closed under its reader.
        for thread, stream in zip(self._threads, (self._answers, self._errors), strict=False):
            if not thread.is_alive():
                with suppress(OSError, ValueError):
                    stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
