"""Where candidates' processes come from: the heavy imports are done before they are needed.

On Linux a server that has imported everything and run nothing forks a process
in milliseconds.  Elsewhere one process is always spawned ahead.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import psutil

from agent.errors import SandboxError
from agent.sandbox import account, macos, windows
from agent.sandbox.answer import CandidateFailure
from agent.sandbox.child import PRELOADED, Order, places
from agent.sandbox.forkserver import MESSAGE_BYTES
from agent.sandbox.limits import CONSENT, ISOLATION, RANK, Isolation, Limits, agreed, environment
from agent.sandbox.process import Process
from agent.sandbox.windows_token import WRITERS, Restricted

Method = Literal["fork", "spawn"]
_Ordered = Callable[[Path, Limits, bool], Order]
"""What a process is told: its folder, its limits, whether it is trusted."""


class Nursery:
    """Starts candidates' processes; close it to end them all.

    `readable` and `writable` are paths that they may use beside their own
    folder and the installation (where the system can wall off the rest);
    `preloaded` are the modules that no candidate has to wait for.  Below the
    level `least` no candidate is run; `None`: `limited`, unless the user has
    said in the environment that nothing is enough.  With a `card` they may use
    NVIDIA's devices.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        readable: Sequence[str | Path] = (),
        writable: Sequence[str | Path] = (),
        method: Method | None = None,
        preloaded: Sequence[str] = PRELOADED,
        least: Isolation | None = None,
        *,
        card: bool = False,
    ) -> None:
        self._least: Isolation = least or ("none" if agreed() else "limited")
        self.limits = limits or Limits()
        self.isolation: Isolation | None = None
        """Known after the first process."""
        self._readable = tuple(str(path) for path in readable)
        self._writable = tuple(str(path) for path in writable)
        self._preloaded, self._card = tuple(preloaded), card
        self._root = Path(tempfile.mkdtemp(prefix="pareto-candidates-"))
        if os.name == "posix":
            self._root.chmod(0o711)  # candidates pass through it to their own folder and see no other's
        self._live: list[Process] = []
        self._lock = threading.Lock()
        # A process that is forked after a library has looked for a card cannot use one.
        method = method or ("fork" if sys.platform.startswith("linux") and not card else "spawn")
        self._source: _Forks | _Spawns
        try:
            self._source = (
                _Forks(self._root, preloaded)
                if method == "fork"
                else _Spawns(self._root, self._order, self.limits)
            )
        except OSError as error:
            shutil.rmtree(self._root, ignore_errors=True)
            raise SandboxError(
                f"The process that candidates come from cannot be started ({error})."
            ) from error

    def _order(self, folder: Path, limits: Limits, trusted: bool) -> Order:
        return Order(
            str(folder),
            limits.to_json(),
            self._readable,
            self._writable,
            trusted,
            self._preloaded,
            self._card,
        )

    def start(self, *, trusted: bool = False, limits: Limits | None = None) -> Process:
        """A fresh process with a private folder, ready for `load`.

        A `trusted` process has limits and no walls: for the program's own code, which builds engines, and
        for a user's own script where he agrees to that (`agent.evaluate.given`).

        Raises:
            SandboxError: none can be started.
        """
        with self._lock:
            self._live = [process for process in self._live if process.alive]
            process = self._source.start(self._order, limits or self.limits, trusted)
            self._live.append(process)
        try:
            process.wait_ready()
        except CandidateFailure as failure:
            process.close()
            raise SandboxError(
                f"A candidate's process cannot be started: {failure} {failure.evidence[-2000:]}"
            ) from None
        if not trusted:
            self.isolation = process.isolation
            if RANK[process.isolation] < RANK[self._least]:
                process.close()
                raise SandboxError(f"{ISOLATION[process.isolation]} To run them so, set {CONSENT}=yes.")
        return process

    @property
    def level(self) -> str:
        """The walls reached, as a sentence; empty before the first process."""
        return ISOLATION[self.isolation] if self.isolation else ""

    def sweep(self) -> None:
        """End what closed candidates may have left behind."""
        with self._lock:
            self._source.sweep([process.pid for process in self._live if process.alive])

    def close(self) -> None:
        """End every process and delete all private folders."""
        with self._lock:
            for process in self._live:
                process.close()
            self._live = []
            self._source.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Forks:
    """Processes forked by `agent.sandbox.forkserver`."""

    def __init__(self, root: Path, preloaded: Sequence[str]) -> None:
        self._root = root
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = (root / "forkserver.log").open("w+b")
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-m", "agent.sandbox.forkserver", str(theirs.fileno()), *preloaded],
            env=environment(root),
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._ready = False
        self._lock = threading.Lock()
        self._pids: set[int] = set()

    def _await_ready(self) -> None:
        if not self._ready:
            self._channel.settimeout(600)
            self._read()
            self._ready = True
            self._channel.settimeout(30)

    def _read(self) -> dict[str, object]:
        try:
            message = self._channel.recv(MESSAGE_BYTES)
        except (TimeoutError, OSError) as error:
            raise SandboxError(f"The process that candidates come from does not answer ({error}).") from error
        if not message:
            self._log.seek(0)
            said = self._log.read()[-2000:].decode("utf-8", "replace")
            raise SandboxError(f"The process that candidates come from has ended: {said}")
        answer: dict[str, object] = json.loads(message)
        return answer

    def _ask(self, request: dict[str, object], descriptors: Sequence[int] = ()) -> dict[str, object]:
        with self._lock:
            self._await_ready()
            try:
                socket.send_fds(self._channel, [json.dumps(request).encode()], list(descriptors))
            except OSError as error:
                raise SandboxError(f"The process that candidates come from has ended ({error}).") from error
            return self._read()

    def start(self, order: _Ordered, limits: Limits, trusted: bool) -> Process:
        folder = Path(tempfile.mkdtemp(dir=self._root))
        requests, answers, errors = os.pipe(), os.pipe(), os.pipe()
        theirs = (requests[0], answers[1], errors[1])
        try:
            pid = self._ask({"op": "start", "order": order(folder, limits, trusted).to_json()}, theirs)["pid"]
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        assert isinstance(pid, int)
        streams = (os.fdopen(requests[1], "wb"), os.fdopen(answers[0], "rb"), os.fdopen(errors[0], "rb"))
        self._pids.add(pid)
        return Process(pid, streams, folder, limits, self._kill, lambda: self._code(pid))

    def _kill(self, pid: int) -> None:
        """The process's session, and what had left that for the server to adopt."""
        _kill_group(pid)
        self._pids.discard(pid)
        if self._ready:
            with suppress(SandboxError):
                self._ask({"op": "end", "pid": pid})
            self.sweep(sorted(self._pids))

    def _code(self, pid: int) -> int | None:
        with suppress(SandboxError):
            code = self._ask({"op": "status", "pid": pid})["code"]
            return code if isinstance(code, int) else None
        return None

    def sweep(self, keep: list[int]) -> None:
        with suppress(SandboxError):
            self._ask({"op": "sweep", "pids": keep})

    def close(self) -> None:
        self._channel.close()
        try:
            self._server.wait(5)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._log.close()


class _Spawns:
    """Processes spawned ahead: there is always one more than is used."""

    def __init__(self, root: Path, order: _Ordered, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._spare = self._spawn(order, limits)

    def _spawn(
        self, order: _Ordered, limits: Limits, trusted: bool = False
    ) -> tuple[subprocess.Popen[bytes] | Restricted, Path]:
        folder = Path(tempfile.mkdtemp(dir=self._root))
        command = [sys.executable, "-P", "-m", "agent.sandbox.child"]
        wanted = order(folder, limits, trusted)
        if sys.platform == "darwin" and not trusted:
            command = macos.wrapped(command, [*places(), *wanted.readable], [folder, *wanted.writable])
        process: subprocess.Popen[bytes] | Restricted
        if sys.platform == "win32" and not trusted:
            windows.prepare(folder, WRITERS)
            process = Restricted(command, environment(folder), folder, limits)
        else:
            process = subprocess.Popen(
                command,
                env=environment(folder),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=os.name == "posix",
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(wanted.to_json()).encode() + b"\n")
        process.stdin.flush()
        return process, folder

    def start(self, order: _Ordered, limits: Limits, trusted: bool) -> Process:
        # The spare has given up its rights already, so trusted code gets a process of its own.
        fresh = self._spawn(order, limits if trusted else self._limits, trusted)
        (process, folder), self._spare = (fresh, self._spare) if trusted else (self._spare, fresh)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        streams: tuple[IO[bytes], IO[bytes], IO[bytes]] = (process.stdin, process.stdout, process.stderr)

        # A restricted process has been in its job from before its first instruction.
        outside = sys.platform == "win32" and not isinstance(process, Restricted)
        job = windows.Job(process.pid, limits) if outside else None

        def kill(pid: int) -> None:
            if job is not None:
                job.close()
            process.kill()
            _kill_group(pid)
            if os.name == "posix":
                account.end_all(account.number(pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)

        return Process(process.pid, streams, folder, limits, kill, process.poll)

    def sweep(self, keep: list[int]) -> None:
        """Nothing to do: a candidate's user or job ends with it, and other orphans are the system's."""

    def close(self) -> None:
        process, folder = self._spare
        process.kill()
        if isinstance(process, Restricted):
            process.close()
        else:
            process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _kill_group(pid: int) -> None:
    """Kill the session that the process leads (POSIX)."""
    if os.name != "posix":
        return
    import signal

    with suppress(ProcessLookupError, PermissionError, psutil.Error):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
