"""`python -m studio.setup`: the process that makes the engines' environment.

Without a command it is a worker: the window asks `state`, `space`,
`wheelhouse`, `make`, `collect`, `remove`, `cancel` and `shutdown` in the worker's
own lines (`studio.record.protocol`) and kills nothing when it closes.  With
`--make`, `--collect` or `--remove` it does that and says so in plain lines.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio import __version__
from studio.errors import Cancelled, ProtocolError, SetupError
from studio.record import folders
from studio.record.data import Data
from studio.record.events import JobDone, JobFailed, JobProgress, Notice, WorkerReady, event
from studio.record.protocol import PROTOCOL, Request, decode_request, encode
from studio.setup import environment, nearby
from studio.setup.bundle import Bundle, shipped
from studio.setup.collect import PYTHONS, SYSTEMS, Collect, here
from studio.setup.collect import Request as Wanted
from studio.setup.make import Order, Setup, space_needed


class SetupWorker:
    """Answers requests; `make` and `collect` go on in a thread of their own, one at a time."""

    def __init__(self, home: Path, bundle: Bundle) -> None:
        self._home, self._bundle = home, bundle
        self._lock = threading.Lock()
        self._making: tuple[int, Setup | Collect, threading.Thread] | None = None

    def tell(self, data: Data) -> None:
        with self._lock:
            try:
                sys.stdout.write(encode(event(data)))
                sys.stdout.flush()
            except (OSError, ValueError):
                # The window has gone; a setup that nobody watches is given up.
                if self._making is not None:
                    self._making[1].cancel()

    def take(self, request: Request) -> bool:
        """Answer one request; whether to go on."""
        answers: dict[str, Callable[..., dict[str, Any] | None]] = {
            "state": self._state,
            "space": self._space,
            "wheelhouse": lambda: self._wheelhouse(request.job),
            "make": lambda **given: self._make(request.job, **given),
            "collect": lambda **given: self._collect(request.job, **given),
            "remove": self._remove,
            "cancel": self._cancel,
            "shutdown": lambda **_: {},
        }
        try:
            result = answers[request.command](**request.arguments)
        except (KeyError, TypeError):
            self.tell(
                JobFailed(job=request.job, text=f"Setting up knows no such request: {request.command}.")
            )
        except SetupError as error:
            self.tell(JobFailed(job=request.job, text=str(error)))
        else:
            if result is not None:
                self.tell(JobDone(job=request.job, result=result))
        return request.command != "shutdown"

    def close(self) -> None:
        if self._making is not None:
            self._making[1].cancel()
            self._making[2].join()

    def _state(self) -> dict[str, Any]:
        return as_result(environment.state(self._home, self._bundle))

    def _space(self, folder: str, wheelhouse: str = "") -> dict[str, Any]:
        path, wheels = Path(folder).expanduser(), Path(wheelhouse).expanduser()
        return {
            "free": environment.free(path) if path.is_absolute() else 0,
            "needed": space_needed(
                self._bundle, wheels if wheels.is_absolute() and wheels.is_dir() else None
            ),
        }

    def _wheelhouse(self, job: int) -> None:
        """Looked for in a thread: a stick or a share may be slow, and the other questions are not."""

        def look() -> None:
            found = nearby.find(self._home, self._bundle)
            result = (
                {"folder": str(found.folder), "fits": found.fits} if found else {"folder": "", "fits": False}
            )
            self.tell(JobDone(job=job, result=result))

        threading.Thread(target=look, name="wheelhouse", daemon=True).start()

    def _make(
        self,
        job: int,
        folder: str,
        wheelhouse: str = "",
        proxy: str = "",
        torch: str = "auto",
        fresh: bool = False,
    ) -> None:
        order = Order(
            Path(folder).expanduser(),
            Path(wheelhouse).expanduser() if wheelhouse else None,
            fresh,
            proxy,
            torch,
        )
        setup = Setup(self._bundle, self._home, order, self._progress(job), _to_stderr)
        self._begin(job, setup, lambda: as_result(setup.run()))

    def _collect(
        self, job: int, folder: str, system: str, python: str = "", torch: str = "auto", proxy: str = ""
    ) -> None:
        wanted = Wanted(Path(folder).expanduser(), system, python, torch, proxy)
        collect = Collect(self._bundle, wanted, self._progress(job), _to_stderr)
        self._begin(job, collect, lambda: {"text": collect.run()})

    def _progress(self, job: int) -> Callable[[int, int, str], None]:
        return lambda done, total, doing: self.tell(JobProgress(job=job, done=done, total=total, doing=doing))

    def _begin(self, job: int, task: Setup | Collect, run: Callable[[], dict[str, Any]]) -> None:
        if self._making is not None and self._making[2].is_alive():
            raise SetupError("The engines are being set up or collected already.")

        def work() -> None:
            try:
                result = run()
            except (SetupError, Cancelled) as error:
                again = not isinstance(error, SetupError) or error.again
                self.tell(JobFailed(job=job, text=str(error), detail="" if again else "final"))
            except Exception as error:  # noqa: BLE001 - a sentence, whatever happens
                _to_stderr(f"{type(error).__name__}: {error}")
                self.tell(
                    JobFailed(
                        job=job, text=f"Setting up stopped ({type(error).__name__}: {error}); try again."
                    )
                )
            else:
                self.tell(JobDone(job=job, result=result))

        thread = threading.Thread(target=work, name="setup")
        self._making = (job, task, thread)
        thread.start()

    def _remove(self) -> dict[str, Any]:
        return {"removed": [str(path) for path in environment.remove(self._home)]}

    def _cancel(self, cancel: int) -> dict[str, Any]:
        if self._making is None or self._making[0] != cancel:
            return {"cancelled": False}
        self._making[1].cancel()
        return {"cancelled": True}


def as_result(found: environment.State) -> dict[str, Any]:
    """A state as a job's result."""
    return {
        "condition": found.condition,
        "text": found.text,
        "folder": str(found.folder),
        "python": str(found.python or ""),
    }


def _to_stderr(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return


def _serve(home: Path, bundle: Bundle) -> int:
    worker = SetupWorker(home, bundle)
    worker.tell(WorkerReady(version=__version__, protocol=PROTOCOL, pid=os.getpid()))
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            request = decode_request(line)
        except ProtocolError as error:
            worker.tell(Notice(level="error", text=str(error)))
            continue
        if not worker.take(request):
            break
    worker.close()
    return 0


def _now(run: Callable[[], str]) -> int:
    """Run to the end and print the sentence that it gives or ends with; the exit status."""
    try:
        print(run())
    except (SetupError, Cancelled) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; the same command goes on where it was.", file=sys.stderr)
        return 130
    return 0


def _in_lines() -> Callable[[int, int, str], None]:
    """Progress as a line for each thing that is done."""
    last = [""]

    def progress(done: int, total: int, doing: str) -> None:
        if doing != last[0]:
            last[0] = doing
            print(f"{100 * done // total:3d} %  {doing}", flush=True)

    return progress


def _collect_now(bundle: Bundle, given: argparse.Namespace) -> int:
    folder = given.collect.expanduser().absolute()
    wanted = Wanted(folder, given.system, given.python, given.torch, given.proxy)
    log = _to_stderr if given.verbose else lambda _: None
    return _now(Collect(bundle, wanted, _in_lines(), log).run)


def _make_now(home: Path, bundle: Bundle, given: argparse.Namespace) -> int:
    folder = given.folder or environment.chosen_folder(home)
    wheelhouse = given.wheelhouse and given.wheelhouse.expanduser().absolute()
    if wheelhouse is None and not given.network:
        before = nearby.last(home, bundle)
        wheelhouse = before.folder if before is not None and before.fits else None
    order = Order(folder.expanduser().absolute(), wheelhouse, given.fresh, given.proxy, given.torch)
    log = _to_stderr if given.verbose else lambda _: None
    setup = Setup(bundle, home, order, _in_lines(), log)
    return _now(lambda: setup.run().text)


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="pareto-studio setup", description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, default=None, help="folder of runs and settings")
    parser.add_argument("--bundle", type=Path, default=None, help="folder with bundle.json")
    parser.add_argument("--make", action="store_true", help="make or complete the environment, then end")
    parser.add_argument("--folder", type=Path, default=None, help="where the environment goes")
    parser.add_argument(
        "--from", dest="wheelhouse", type=Path, default=None,
        help="a wheelhouse: no network (default: that of the last time, where it still is and fits)",
    )  # fmt: skip
    parser.add_argument("--network", action="store_true", help="fetch all the same")
    parser.add_argument(
        "--collect", type=Path, default=None, metavar="FOLDER",
        help="make a wheelhouse for a machine without a network, then end",
    )  # fmt: skip
    parser.add_argument("--system", choices=SYSTEMS, default=here(), help="of that machine (default: this)")
    parser.add_argument(
        "--python", choices=PYTHONS, default="", help="of that machine (default: that of this one)"
    )
    parser.add_argument("--fresh", action="store_true", help="repair: make everything anew")
    parser.add_argument("--proxy", default="", metavar="URL")
    parser.add_argument("--torch", default="auto", metavar="BUILD", help="auto, cpu, cu130 ...")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument(
        "--remove", action="store_true", help="remove the environment and settings, keep runs"
    )
    parser.add_argument("--state", action="store_true", help="say what is there")
    given = parser.parse_args(arguments)
    home = (given.home or folders.home()).expanduser().absolute()
    if given.remove:
        for path in environment.remove(home, everything=True):
            print(f"removed {path}")
        return 0
    try:
        place = given.bundle or shipped()
        if place is None:
            raise SetupError(
                "This program runs from its sources and needs no setup; use ./start.", again=False
            )
        bundle = Bundle(place.expanduser().absolute())
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    if given.state:
        found = environment.state(home, bundle)
        print(f"{found.condition}: {found.text}")
        return 0 if found.condition == "ready" else 1
    if given.collect:
        return _collect_now(bundle, given)
    if given.make:
        return _make_now(home, bundle, given)
    return _serve(home, bundle)


if __name__ == "__main__":
    raise SystemExit(main())
