"""The same package on a cluster: a Ray Serve application (extra `cluster`).

A deployment for each model, replicas and batch sizes as the plan has them, and
a front that is the server's own API and router, so that a request is answered
as one machine would.  The threshold is pushed by a method call, not by a
deployment: `handle.set_threshold.remote(0.4)`, or PUT /v1/threshold.

Every node finds the package at the same path.  Ray restarts a replica that
dies; the front asks again what it had.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engines.errors import PackageError
from engines.package.serving.api import Api, Model, refuse
from engines.package.serving.controller import EVERY, Controller
from engines.package.serving.engine import Engine, sizes_to_warm, warm_up
from engines.package.serving.http import BODY_LIMIT, Request
from engines.package.serving.metrics import SIZES, Metrics
from engines.package.serving.pool import ATTEMPTS
from engines.package.serving.router import Router
from engines.package.serving.running import Running
from engines.package.serving.values import Drawing, Refusal, Settings, Tuning, broken, busy, late
from engines.package.variants import Choice

NAME: Final = "pareto"
_ONGOING: Final = 10_000
"""Requests that a replica may hold: the front bounds them, not Ray."""
_WEIGHT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is deployed."""

    settings: Settings
    """Its `workers` are replicas."""
    deadline: float = 60.0
    queue: int = 256
    objective: float | None = None
    planner: str = ""
    """`module:function` that makes a planner; empty: settings change by request only."""
    engines: str = "engines.package.serving.cluster:open_engine"
    """`module:function` from package folder, role and largest batch to an engine."""
    cpus: float = 1.0
    """Of a node, for each replica."""


def open_engine(folder: str, role: str, batch: int) -> Engine:
    """One model of a package."""
    from engines.package.cascade import PackageEngine
    from engines.package.runner import Package

    return PackageEngine(Package(Path(folder)), role, batch)


def _named(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def application(folder: Path, model: Model, plan: Plan, facts: Mapping[str, Any] | None = None) -> Any:
    """The Ray Serve application of a package.

    Raises:
        PackageError: Ray Serve is not installed.
    """
    serve = _ray_serve()
    environment = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    actor = {"num_cpus": plan.cpus, "runtime_env": {"env_vars": environment}}

    class Replica:
        """One model in one process of the cluster."""

        def __init__(self, role: str, batch: int) -> None:
            begun = time.monotonic()
            self._name = f"{platform.node()}:{os.getpid()}"
            self._engine: Engine = _named(plan.engines)(str(folder), role, batch)
            self._sizes = sizes_to_warm(batch)
            self._seconds = warm_up(self._engine, self._sizes)
            self._start = time.monotonic() - begun

        def about(self) -> tuple[dict[int, float], float, str, tuple[Choice, ...]]:
            """Seconds by batch size and until it could draw; its name, and the variants that it runs."""
            return self._seconds, self._start, self._name, tuple(self._engine.choices)

        async def draw(self, prompt: str, seed: int, batch: int, wait: float) -> Drawing:
            # The plan's batch travels with each request: no deployment is changed for it.
            self._together.set_max_batch_size(batch)
            self._together.set_batch_wait_timeout_s(wait)
            found: Drawing = await self._together((prompt, seed, time.monotonic()))
            return found

        @serve.batch(max_batch_size=1, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
        async def _together(self, asked: list[tuple[str, int, float]]) -> list[Drawing]:
            begun = time.monotonic()
            count = len(asked)
            spare = next((size for size in self._sizes if size >= count), count) - count
            prompts = [one[0] for one in asked] + [asked[0][0]] * spare
            seeds = [one[1] for one in asked] + [asked[0][1]] * spare
            made = await asyncio.to_thread(self._engine.draw, prompts, seeds)
            scores = made.scores if made.scores is not None else [None] * len(prompts)
            ran = tuple(self._engine.choices)
            return [
                Drawing(png, score, begun - arrived, made.draw, made.score, count, 1, self._name, ran)
                for png, score, (_, _, arrived) in zip(made.pngs, scores, asked, strict=False)
            ]

    class Front:
        """The server's API and router before the replicas."""

        def __init__(self, heavy: Any, light: Any = None) -> None:
            metrics = Metrics()
            settings = plan.settings
            self._drawers = [Replicas("heavy", heavy, settings.heavy, plan.queue, metrics)]
            if light is not None:
                self._drawers.insert(0, Replicas("light", light, settings.light, plan.queue, metrics))
            self._router = Router(
                None if light is None else self._drawers[0], self._drawers[-1], settings, metrics
            )
            self._api = Api(
                self._router,
                model,
                metrics,
                room=self._room,
                engines=self._engines,
                deadline=plan.deadline,
            )
            self._controlling: asyncio.Task[None] | None = None
            if plan.planner and plan.objective is not None and facts is not None:
                planner = _named(plan.planner)(facts, plan.objective)
                controller = Controller(self._api, planner, metrics, EVERY)
                self._controlling = asyncio.get_running_loop().create_task(controller.run())

        def _room(self, count: int) -> Refusal | None:
            first = self._drawers[0]
            return None if first.waiting + count <= plan.queue else busy(first.waiting, first.estimate())

        def _engines(self) -> dict[str, Any]:
            return {drawer.name: drawer.running.to_json() for drawer in self._drawers}

        async def sentences(self) -> list[str]:
            """What a person is told: which variants run, and why none before them."""
            for drawer in self._drawers:
                await drawer.learn()
            return [text for drawer in self._drawers for text in drawer.said]

        async def __call__(self, request: Any) -> Any:
            for drawer in self._drawers:
                await drawer.learn()
            body = await _body(request)
            if body is None:
                text = f"The request is larger than {BODY_LIMIT >> 20} MiB; send less."
                answer = refuse(Refusal(413, "too_large", text))
            else:
                headers = {name.lower(): value for name, value in request.headers.items()}
                answer = await self._api(Request(request.method, request.url.path, headers, body))
            response = importlib.import_module("starlette.responses").Response
            return response(answer.body, answer.status, dict(answer.headers), answer.type)

        async def set_threshold(self, threshold: float | None) -> float:
            """Push a threshold live; `None` lets the plan decide again."""
            self._api.held = threshold is not None
            if threshold is not None:
                self._router.apply(self._router.settings.changed({"threshold": threshold}))
            return self._router.settings.threshold

        async def plan(self) -> dict[str, Any]:
            """Settings and measured load."""
            return {
                "settings": self._router.settings.to_json(),
                "load": self._router.load().to_json(),
                "note": self._api.note,
                "engines": self._engines(),
            }

    def deployed(role: str, tuning: Tuning) -> Any:
        made = serve.deployment(
            Replica,
            name=role,
            num_replicas=tuning.workers,
            max_ongoing_requests=_ONGOING,
            ray_actor_options=actor,
            health_check_period_s=2.0,
            health_check_timeout_s=60.0,
        )
        return made.bind(role, tuning.batch)

    front = serve.deployment(
        Front,
        name="front",
        num_replicas=1,
        max_ongoing_requests=_ONGOING,
        ray_actor_options={**actor, "num_cpus": 0.1},
    )
    heavy = deployed("heavy", plan.settings.heavy)
    if not model.cascade:
        return front.bind(heavy)
    return front.bind(heavy, deployed("light", plan.settings.light))


class Replicas:
    """The replicas of one model, as the router sees them."""

    def __init__(self, name: str, handle: Any, tuning: Tuning, queue: int, metrics: Metrics) -> None:
        self.name, self.tuning, self.limit, self.metrics = name, tuning, queue, metrics
        self.largest = tuning.batch
        self.seconds: dict[int, float] = {}
        self.start_seconds = 0.0
        self._handle, self._flying = handle, 0
        self.said: list[str] = []
        self.running = Running(name, metrics, self._say)
        metrics.gauge(
            "queue_length", "Pictures that wait or are drawn", lambda: float(self._flying), engine=name
        )
        metrics.histogram("batch_size", "Pictures in a batch", SIZES)
        metrics.histogram("batch_seconds", "Seconds of a batch")
        metrics.counter("retries_total", "Requests that were asked of another replica")

    @property
    def waiting(self) -> int:
        """Asked and not answered yet: Ray does not say which of them are being drawn."""
        return self._flying

    @property
    def up(self) -> int:
        return self.tuning.workers

    def tune(self, tuning: Tuning) -> None:
        """Batch and wait at once; replicas change by deploying again."""
        self.tuning = replace(tuning, batch=min(tuning.batch, self.largest), workers=self.tuning.workers)

    async def learn(self) -> None:
        """What a replica measured while it warmed up, once."""
        if not self.seconds:
            seconds, self.start_seconds, replica, choices = await self._handle.about.remote()
            self.running.note(replica, choices)
            self.seconds = {int(size): float(value) for size, value in seconds.items()}

    def estimate(self) -> float:
        """Seconds until one more request would be answered, taking the replicas as evenly busy."""
        batch = self.tuning.batch
        full = self.seconds.get(batch) or max(self.seconds.values(), default=1.0)
        rounds, rest = divmod(self._flying, batch * self.tuning.workers)
        last = min(batch, rest // self.tuning.workers + 1)
        known = [value for size, value in self.seconds.items() if size >= last]
        return rounds * full + (min(known) if known else full) + self.tuning.wait

    async def draw(self, prompt: str, seed: int, deadline: float, *, spare: bool = False) -> Drawing:
        """One picture; asked again where a replica died with it.

        Raises:
            Refusal: busy, late or broken.
        """
        del spare  # what waits in a replica cannot be taken back in time to matter
        if self._flying >= self.limit:
            raise busy(self._flying, self.estimate())
        self._flying += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await self._tried(prompt, seed)
        except TimeoutError:
            raise late() from None
        finally:
            self._flying -= 1

    async def _tried(self, prompt: str, seed: int) -> Drawing:
        reason = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                found: Drawing = await self._handle.draw.remote(
                    prompt, seed, self.tuning.batch, self.tuning.wait
                )
            except Exception as error:
                if not _died(error):
                    raise broken(self.name, " ".join(str(error).split())[-200:]) from error
                reason = type(error).__name__
                self.metrics.add("retries_total", engine=self.name)
                self.running.clear()  # Ray does not say which replica it was; each tells again when it draws
                continue
            self._note(found)
            return replace(found, attempts=attempt)
        raise broken(self.name, f"{ATTEMPTS} replicas died with it, the last by {reason}")

    def _say(self, text: str) -> None:
        self.said.append(text)
        print(text, file=sys.stderr, flush=True)  # into Ray's log of the front

    def _note(self, found: Drawing) -> None:
        self.running.note(found.made_by, found.choices)
        seconds = found.seconds + found.scoring
        known = self.seconds.get(found.batch, seconds)
        self.seconds[found.batch] = (1 - _WEIGHT) * known + _WEIGHT * seconds
        self.metrics.observe("batch_size", found.batch, engine=self.name)
        self.metrics.observe("batch_seconds", seconds, engine=self.name)


async def _body(request: Any) -> bytes | None:
    """What was sent, or `None` as soon as it is too much, whether its length was announced or not."""
    if int(request.headers.get("content-length", "0")) > BODY_LIMIT:
        return None
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)


def _died(error: Exception) -> bool:
    known = {"RayActorError", "WorkerCrashedError", "ReplicaUnavailableError", "DeploymentUnavailableError"}
    return any(kind.__name__ in known for kind in type(error).__mro__)


def _ray_serve() -> Any:
    try:
        return importlib.import_module("ray.serve")
    except ImportError as error:
        raise PackageError(
            f"Ray Serve is not installed ({error}); run `python -m pip install 'ray[serve]'`."
        ) from None


def run(application: Any, *, host: str, port: int, address: str | None = None) -> Any:
    """Deploy on a cluster (`address`), else on this machine; the application's handle.

    Raises:
        PackageError: Ray Serve is not installed.
    """
    serve = _ray_serve()
    ray = importlib.import_module("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": host, "port": port})
    return serve.run(application, name=NAME, route_prefix="/")


def packaged(folder: Path, planner: str = "", options: argparse.Namespace | None = None) -> Any:
    """The application of a package, as the options say (default: one replica of each model).

    Raises:
        PackageError: the package is not as it was made, or Ray Serve is not installed.
    """
    from engines.package.runner import Package
    from engines.package.serving.options import model_of, settings_of

    chosen = _parser().parse_args([]) if options is None else options
    package = Package(folder)
    plan = Plan(
        settings_of(package, chosen),
        deadline=chosen.deadline or chosen.objective or 60.0,
        queue=chosen.queue,
        objective=chosen.objective,
        planner=planner,
        cpus=chosen.cpus,
    )
    return application(folder, model_of(package), plan, package.facts)


def _parser() -> argparse.ArgumentParser:
    from engines.package.serving.options import add_arguments

    parser = argparse.ArgumentParser(prog="ray_app.py", description="Serves this package on a Ray cluster.")
    parser.add_argument(
        "--address", help="of a running cluster, or auto (default: a new one on this machine)"
    )
    parser.add_argument("--cpus", type=float, default=1.0, help="of a node, for each replica")
    add_arguments(parser)
    return parser


def main(folder: Path, planner: str = "", arguments: Sequence[str] | None = None) -> int:
    """`python ray_app.py --light-workers 2 --heavy-workers 4`: deploy, and serve until told to stop."""
    options = _parser().parse_args(arguments)
    try:
        made = packaged(folder, planner, options)
        handle = run(made, host=options.host, port=options.port, address=options.address)
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    for text in handle.sentences.remote().result():
        print(text, file=sys.stderr, flush=True)
    print(
        f"Serving {folder.name} on http://{options.host}:{options.port} by Ray; Ctrl-C ends it.", flush=True
    )
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    ended.wait()
    importlib.import_module("ray.serve").shutdown()
    return 0
