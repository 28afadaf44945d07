"""The server: a socket, the engine processes, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engines.errors import PackageError
from engines.package.serving.api import Api, Model, refuse
from engines.package.serving.controller import EVERY, Controller, Planner
from engines.package.serving.http import Door
from engines.package.serving.metrics import Metrics
from engines.package.serving.pool import Pool
from engines.package.serving.router import Router
from engines.package.serving.values import Refusal, Settings, busy

GRACE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a package is served."""

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8000
    deadline: float = 60.0
    """Seconds for a request that names none."""
    queue: int = 64
    """Pictures that may wait for each model."""
    grace: float = GRACE
    """Seconds for answers in flight when the server is told to stop."""
    patience: float = 120.0
    """Seconds after which a batch counts as hanging."""
    every: float = EVERY
    """Seconds between two plans."""


@dataclass(frozen=True, slots=True)
class Commands:
    """How the engine processes are started: from the largest batch to a command line."""

    heavy: Callable[[int], Sequence[str]]
    light: Callable[[int], Sequence[str]] | None = None
    greeting: bytes = b""
    """Given to each on its standard input before any request."""


@dataclass(eq=False)
class Server:
    """A running server; `start`, then `stop`.

    Args:
        planner: from measured load to settings; `None`: settings change by request only.
        say: where a person reads what happens.
    """

    model: Model
    commands: Commands
    options: Options
    planner: Planner | None = None
    say: Callable[[str], None] = lambda _text: None
    metrics: Metrics = field(default_factory=Metrics)
    port: int = 0

    async def start(self) -> None:
        """Listen, start the processes, wait until they are warm.

        Raises:
            PackageError: the port is taken, or an engine does not start.
        """
        options, settings = self.options, self.options.settings
        common: dict[str, Any] = {
            "queue": options.queue,
            "metrics": self.metrics,
            "patience": options.patience,
            "say": self.say,
            "greeting": self.commands.greeting,
        }
        heavy = Pool("heavy", self.commands.heavy, settings.heavy, **common)
        light = (
            None
            if self.commands.light is None
            else Pool("light", self.commands.light, settings.light, **common)
        )
        self.pools = (heavy,) if light is None else (light, heavy)
        self.router = Router(light, heavy, settings, self.metrics)
        self.api = Api(
            self.router,
            self.model,
            self.metrics,
            room=self._room,
            trouble=self._trouble,
            engines=self.engines,
            deadline=options.deadline,
        )
        self.door = Door(self.api, refuse)
        self._controlling: asyncio.Task[None] | None = None
        await self._listen()
        try:
            self.router.apply(settings)
            reasons = await asyncio.gather(*(pool.ready() for pool in self.pools))
            for pool, reason in zip(self.pools, reasons, strict=True):
                if reason:
                    raise PackageError(f"The {pool.name} engine does not start: {reason}.")
        except BaseException:
            await self.stop(0)
            raise
        if self.planner is not None:
            controller = Controller(self.api, self.planner, self.metrics, options.every)
            self._controlling = asyncio.create_task(controller.run())

    async def _listen(self) -> None:
        options = self.options
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self.door.protocol, options.host, options.port, backlog=512
            )
        except OSError as error:
            place = f"{options.host}:{options.port}"
            if error.errno == errno.EADDRINUSE:
                raise PackageError(f"{place} is in use; choose another port with --port.") from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise PackageError(f"{place} may not be used by you; choose a port above 1023.") from None
            raise PackageError(f"{place} cannot be listened on ({error.strerror or error}).") from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace: float | None = None) -> None:
        """No new connections, answers in flight are finished, then the processes end."""
        self.api.stopping = True
        self._server.close()
        if self._controlling is not None:
            self._controlling.cancel()
        await self.door.shut(self.options.grace if grace is None else grace)
        await asyncio.gather(*(pool.stop() for pool in self.pools))
        await self._server.wait_closed()

    def engines(self) -> dict[str, list[dict[str, Any]]]:
        """By model, which variants its processes run and why none before them (`Running.to_json`)."""
        return {pool.name: pool.running.to_json() for pool in self.pools}

    def _room(self, count: int) -> Refusal | None:
        first = self.pools[0]
        return None if first.room(count) else busy(first.waiting, first.estimate())

    def _trouble(self) -> str:
        for pool in self.pools:
            if pool.up == 0:
                return (
                    f"The {pool.name} engine {('died: ' + pool.trouble) if pool.trouble else 'is starting'}."
                )
        return ""


async def run_until_stopped(server: Server, *, announce: Callable[[Server], None]) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM; Ctrl-C)."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(name, ended.set)
        except NotImplementedError:  # Windows
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(ended.set))
    starting = asyncio.create_task(server.start())
    stopped = asyncio.create_task(ended.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    starting.result()
    announce(server)
    await stopped
    server.say("Stopping; answers in flight are finished.")
    await server.stop()


def serve(server: Server, *, as_json: bool) -> None:
    """Block until stopped; the first line on standard output says where it listens."""

    def announce(running: Server) -> None:
        url = f"http://{running.options.host}:{running.port}"
        if as_json:
            said = {"url": url, "model": running.model.name, "id": running.model.id}
            print(json.dumps(said | {"engines": running.engines()}), flush=True)
        else:
            counts = ", ".join(f"{pool.up} {pool.name}" for pool in running.pools)
            print(f"Serving {running.model.name} on {url} (processes: {counts}); Ctrl-C ends it.", flush=True)

    asyncio.run(run_until_stopped(server, announce=announce))


def engine_command(folder: Path, role: str, *extra: str) -> Callable[[int], Sequence[str]]:
    """How a package's own program becomes an engine process."""

    def command(batch: int) -> Sequence[str]:
        isolated = ("-I",) if sys.flags.isolated else ()
        return (
            sys.executable,
            *isolated,
            str(folder / "run.py"),
            "--engine",
            role,
            "--batch",
            str(batch),
            *extra,
        )

    return command
