"""The only module that speaks to Ray: where workers can be, started, asked, lost and ended."""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

from agent.candidate import Candidate, Verdict
from agent.errors import ClusterError
from agent.evaluate.worker import About, Wanted, Worker
from engines import installing

LOCAL: Final = "local:"
CLIENT: Final = "ray://"
"""Before the address of a cluster's client server; without it, of the cluster itself."""
_OPEN_SECONDS: Final = 900.0
"""For a worker to be placed, import everything, load the model and draw its baseline."""
_AGAIN_SECONDS: Final = 300.0
"""The same for a worker that was lost."""
_LOOK: Final = 0.5
"""Seconds between two looks at whether the user gave up."""
Check = Callable[[], None]


def _go_on() -> None:
    return


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker is or was."""

    name: str
    node: str
    """Ray's id of the machine; empty: anywhere."""
    cpus: float
    gpus: int = 0
    actor: Any = None


def check(workers: str) -> None:
    """Refuse what is no way to say where workers are, before anything is started.

    Raises:
        ClusterError: an address that cannot be one, or Ray is not installed.
    """
    number = workers.removeprefix(LOCAL)
    if workers.startswith(LOCAL) and not (number.isdigit() and 1 <= int(number) <= 64):
        raise ClusterError(f"{workers!r} names no workers; write local:2 for two on this machine.")
    host, colon, port = workers.removeprefix(CLIENT).rpartition(":")
    if not workers.startswith(LOCAL) and workers != "auto" and not (host and colon and port.isdigit()):
        raise ClusterError(
            f"{workers!r} is no cluster; write ray://HOST:10001, HOST:6379, auto, or local:2 to try it out."
        )
    if find_spec("ray") is None:
        raise ClusterError(
            f"Ray is not installed here; install it with: {installing.lacking(extra='cluster')}."
        )


class RayPool:
    """A connection to a cluster and the workers on it; close it.

    `workers`: `local:N` starts a cluster of N workers on this machine, all else
    is the address of one that runs: `ray://HOST:10001`, `HOST:6379`, `auto`.
    """

    def __init__(self, workers: str, device: str) -> None:
        """Raises `ClusterError`: the cluster does not answer, or has nothing of the device."""
        check(workers)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray: Any = importlib.import_module("ray")
        self._lost: Any = importlib.import_module("ray.exceptions")
        self._lock = threading.Lock()
        self._live: list[Any] = []
        own = int(workers.removeprefix(LOCAL)) if workers.startswith(LOCAL) else 0
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            with _own_signals():
                if own:
                    self._ray.init(num_cpus=own, include_dashboard=False, **quiet)
                else:
                    self._ray.init(address=workers, **quiet)
        except Exception as error:
            raise ClusterError(
                f"The cluster {workers} does not answer ({_last_line(error)}); "
                "start it with `ray start`, or check the address."
            ) from error
        self.places = self._found(device, own)
        if not self.places:
            self.close()
            raise ClusterError(f"No machine of the cluster {workers} has a device for {device}.")

    def _found(self, device: str, own: int) -> list[Place]:
        """One place for each machine, on CUDA for each GPU: two workers share nothing that is timed."""
        found = []
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        for number, node in enumerate(sorted(nodes, key=lambda node: str(node["NodeManagerAddress"]))):
            cpus, gpus = (float(node["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
            many = int(gpus) if device == "cuda" else own or int(cpus >= 1)
            host = str(node["NodeManagerHostname"] or node["NodeManagerAddress"])
            for at in range(min(many, own) if own else many):
                share = max(1.0, cpus // many)
                name = f"{host}/{number + 1}" if many == 1 else f"{host}/{number + 1}.{at + 1}"
                found.append(Place(name, str(node["NodeID"]), share, int(device == "cuda")))
        return found

    # -- workers ---------------------------------------------------------------------------------

    def open_all(self, wanted: Wanted, check: Check = _go_on) -> Iterator[tuple[Place, About | str]]:
        """Start a worker at every place; each with what it says of itself, or why it did not start.

        `check` is called while it takes; what it raises ends the wait.
        """
        started = [self._start(place, wanted) for place in self.places]
        asked = [place.actor.about.remote() for place in started]
        for place, about in zip(started, asked, strict=True):
            yield place, self._answer(about, _OPEN_SECONDS, check)

    def open(self, place: Place, wanted: Wanted) -> tuple[Place, About | str]:
        """Start a worker again, where it was or else where there is room."""
        started = self._start(place, wanted)
        return started, self._answer(started.actor.about.remote(), _AGAIN_SECONDS)

    def _start(self, place: Place, wanted: Wanted) -> Place:
        strategy: Any = None
        if place.node:
            strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
            strategy = strategies.NodeAffinitySchedulingStrategy(place.node, soft=True)
        kind = self._ray.remote(Worker).options(
            num_cpus=place.cpus,
            num_gpus=place.gpus,
            scheduling_strategy=strategy,
            max_restarts=0,
            max_task_retries=0,
        )
        actor = kind.remote(wanted)
        with self._lock:
            self._live.append(actor)
        return replace(place, actor=actor)

    def judge(self, place: Place, candidate: Candidate) -> tuple[Verdict, dict[str, bytes]] | str:
        """A worker's verdict with its pictures; a sentence where it was lost on the way."""
        found: tuple[Verdict, dict[str, bytes]] | str = self._answer(
            place.actor.judge.remote(candidate), None
        )
        return found

    def _answer(self, reference: Any, seconds: float | None, check: Check = _go_on) -> Any:
        """What a worker answers; a sentence where it does not."""
        began = time.monotonic()
        try:
            while not self._ray.wait([reference], timeout=_LOOK)[0]:
                check()
                if seconds is not None and time.monotonic() - began > seconds:
                    return f"it was not ready after {seconds:.0f} s"
            return self._ray.get(reference)
        except self._lost.RayTaskError as error:
            return " ".join(str(error.cause).split())[:300]
        except Exception as error:  # noqa: BLE001 - a cut connection shows as anything
            return _last_line(error)

    # -- their end -------------------------------------------------------------------------------

    def end(self, place: Place) -> None:
        """End a worker at once, with what it is doing."""
        with self._lock:
            if place.actor in self._live:
                self._live.remove(place.actor)
        with suppress(Exception):
            self._ray.kill(place.actor)

    def end_all(self) -> None:
        with self._lock:
            live, self._live = self._live, []
        for actor in live:
            with suppress(Exception):
                self._ray.kill(actor)

    def close(self) -> None:
        """Leave the cluster; one that was started for this ends."""
        self.end_all()
        with suppress(Exception):
            self._ray.shutdown()


def _last_line(error: Exception) -> str:
    """What Ray says is a traceback, or a paragraph whose end is the cause."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()[:300]}" if lines else type(error).__name__


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what ends a run is the run's business."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
