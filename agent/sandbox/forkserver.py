"""The process that candidates are forked from (Linux).

It imports what scripts need and then only waits: no torch operation ever runs
here, because a process forked after one hangs in its first parallel region.

Messages are datagrams on a socket pair; `start` brings the three pipe ends of
the new process's stdin, stdout and stderr.

    {"op": "start", "order": {...}} + 3 descriptors   {"pid": 123}
    {"op": "status", "pid": 123}                      {"code": null | exit code, -9 for signal 9}
    {"op": "end", "pid": 123}                         {}  all processes of its user are killed
    {"op": "sweep", "pids": [live ones]}              {"killed": n}
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

from agent.sandbox import account
from agent.sandbox.child import Order, enter, hello, preload

MESSAGE_BYTES = 1 << 16


class _Forkserver:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._codes: dict[int, int | None] = {}

    def run(self) -> None:
        """Serve until the other end closes, then end every child."""
        try:
            while True:
                message, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 3)
                if not message:
                    return
                self._reap()
                self._channel.send(json.dumps(self._answer(json.loads(message), descriptors)).encode())
        finally:
            self._sweep(keep=())

    def _answer(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        match request["op"]:
            case "start":
                pid = self._fork(Order(**request["order"]), descriptors)
                self._codes[pid] = None
                return {"pid": pid}
            case "status":
                return {"code": self._codes.get(request["pid"])}
            case "end":
                account.end_all(account.number(request["pid"]))
                return {}
            case _:
                return {"killed": self._sweep(keep=tuple(request["pids"]))}

    def _fork(self, order: Order, descriptors: list[int]) -> int:
        pid = os.fork()
        if pid:
            for descriptor in descriptors:
                os.close(descriptor)
            return pid
        code = 1
        try:
            self._child(order, descriptors)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may return into the server's loop
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def _child(self, order: Order, descriptors: list[int]) -> None:
        from engines.harness import private_streams, serve

        self._channel.close()
        _die_with_parent()
        os.setsid()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        requests, answers = private_streams()
        isolation = enter(order)
        _die_with_parent()  # forgotten when the user changed
        hello(answers, isolation)
        serve(requests, answers)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in self._codes:
                    self._codes[pid] = os.waitstatus_to_exitcode(status)

    def _sweep(self, keep: tuple[int, ...]) -> int:
        """Kill children that nobody knows: what ended candidates left behind comes to this process."""
        import psutil

        strays = [child for child in psutil.Process().children() if child.pid not in keep]
        for stray in strays:
            for process in (*stray.children(recursive=True), stray):
                with suppress(psutil.Error):
                    process.kill()
        return len(strays)


def _adopt_orphans() -> None:
    """Become the parent of whatever a candidate's process leaves behind (PR_SET_CHILD_SUBREAPER)."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _die_with_parent() -> None:
    """Be killed when this server dies, so that nothing is left behind (PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)


def main() -> None:
    """`python -m agent.sandbox.forkserver DESCRIPTOR MODULE...`: import, then serve on that socket."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    _adopt_orphans()
    missing = preload(["assets", *sys.argv[2:]])
    gc.collect()
    gc.freeze()
    channel.send(json.dumps({"ready": True, "missing": missing}).encode())
    with suppress(ConnectionError, KeyboardInterrupt):
        _Forkserver(channel).run()


if __name__ == "__main__":
    main()
